/* Issuers of tokens, and the tokens by which callers are known. */
#include "rules/config_private.h"

#include <jansson.h>

#include "base/jwa.h"
#include "rules/jwt.h"
#include "rules/uuid.h"

/* Each is looked up one by one, and has its keys read again and again. */
#define ISSUERS_MAX 100

/* Read a text of visible ASCII, as issuers, audiences and subjects are: they are compared to the letter. */
static void
read_claim(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~') {
			config_error_is(r, "must be a text of visible ASCII characters without spaces", value);
			return;
		}
	*(struct str *)out = arena_copy(&r->config->arena, s);
}

static void
read_audience(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	(void)i;
	read_claim(r, value, NULL, out);
}

static void
read_audiences(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_issuer *issuer = out;

	(void)rule;
	config_read_list(r, value, 1, JWT_AUDIENCES_MAX, sizeof(*issuer->audiences), (void **)&issuer->audiences,
	    &issuer->audience_count, read_audience);
}

/* Read an algorithm as its bit. */
static void
read_algorithm(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	enum jwa algorithm;

	(void)i;
	if (json_is_string(value) && jwa_from(str_from(json_string_value(value)), &algorithm))
		*(unsigned *)out = 1u << algorithm;
	else
		config_error_is(r, "must be \"RS256\", \"PS256\" or \"ES256\"", value);
}

static void
read_algorithms(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_issuer *issuer = out;
	unsigned *bits = NULL, all = 0;
	size_t count = 0;

	(void)rule;
	config_read_list(r, value, 1, JWA_COUNT, sizeof(*bits), (void **)&bits, &count, read_algorithm);
	for (size_t i = 0; i < count; i++)
		all |= bits[i];
	issuer->algorithms = all;	/* 0 where the list is wrong, which is an error by now */
}

/* Read an https URL, which may have a query: Entra's keys of an application are asked for by one. */
static void
read_jwks_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_url url;
	const char *why;
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_URL_MAX, &s))
		return;
	if (!config_is_url_text(s) || str_find_char(s, '#') < s.n || str_find_char(s, '@') < s.n)
		why = "must be a URL of visible ASCII characters without user and fragment";
	else
		why = config_url_split(str_sub(s, 0, str_find_char(s, '?')), &url);
	if (why == NULL && (!str_eq_nocase(url.scheme, STR("https")) || url.path.n == 0))
		why = "must begin with https:// and have a path (whoever changes the keys on their way can be anybody)";
	if (why)
		config_error_is(r, why, value);
	else
		*(struct str *)out = arena_copy(&r->config->arena, s);
}

static const struct config_rule jwks_rules[] = {
	CONFIG_KEY("url", read_jwks_url, struct config_issuer, jwks_url, 0, 0),
	CONFIG_KEY("file", config_read_path, struct config_issuer, jwks_file, 0, 0),
	CONFIG_END,
};

static void
read_jwks(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	(void)rule;
	config_read_object(r, value, jwks_rules, out);
	if (json_is_object(value) && (json_object_get(value, "url") != NULL) == (json_object_get(value, "file") != NULL))
		config_error(r, "must have exactly one of \"url\" and \"file\"");
}

static const struct config_rule issuer_rules[] = {
	CONFIG_NEED("issuer", read_claim, struct config_issuer, issuer, 0, 0),
	{ STR_INIT("audiences"), read_audiences, 0, 0, 0, true, NULL },
	{ STR_INIT("algorithms"), read_algorithms, 0, 0, 0, false, NULL },
	{ STR_INIT("jwks"), read_jwks, 0, 0, 0, true, NULL },
	CONFIG_KEY("ca_file", config_read_path, struct config_issuer, ca_file, 0, 0),
	CONFIG_END,
};

/* Read one issuer; one of Entra is known by its form. */
static void
read_issuer(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_issuer *issuer = out;

	(void)i;
	issuer->algorithms = 1u << JWA_RS256;
	config_read_object(r, value, issuer_rules, issuer);
	if (json_object_get(value, "ca_file") && json_object_get(json_object_get(value, "jwks"), "file"))
		config_error(r, "\"ca_file\" is for \"jwks\" with a \"url\"");
	issuer->tenant = config_lower(r, jwt_tenant_of_issuer(issuer->issuer));
}

void
config_read_issuers(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config *config = out;

	(void)rule;
	config_read_list(r, value, 1, ISSUERS_MAX, sizeof(*config->issuers), (void **)&config->issuers,
	    &config->issuer_count, read_issuer);
}

/* Read a UUID as Entra's claims have it. */
static void
read_principal(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s = { json_string_value(value), json_string_length(value) };

	(void)rule;
	if (json_is_string(value) && uuid_is(s))
		*(struct str *)out = config_lower(r, s);
	else
		config_error_is(r, "must be a UUID (8-4-4-4-12 hexadecimal digits)", value);
}

static const struct config_rule token_rules[] = {
	CONFIG_KEY("id", config_read_name, struct config_token, id, 0, 0),
	CONFIG_KEY("issuer", read_claim, struct config_token, issuer, 0, 0),
	CONFIG_KEY("tenant", read_principal, struct config_token, tenant, 0, 0),
	CONFIG_KEY("object", read_principal, struct config_token, object, 0, 0),
	CONFIG_KEY("application", read_principal, struct config_token, application, 0, 0),
	CONFIG_KEY("subject", read_claim, struct config_token, subject, 0, 0),
	CONFIG_END,
};

/* Whether VALUE names a principal in exactly one way. */
static bool
is_one_principal(struct json_t *value)
{
	bool tenant = json_object_get(value, "tenant"), object = json_object_get(value, "object");
	bool application = json_object_get(value, "application"), subject = json_object_get(value, "subject");

	if (subject)
		return json_object_get(value, "issuer") && !tenant && !object && !application;
	return tenant && object != application;
}

/* Read one token; without an id of its own, digits of what it names tell it from the others. */
static void
read_token(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_token *token = out;
	size_t errors = r->error_count;

	(void)i;
	config_read_object(r, value, token_rules, token);
	if (json_is_object(value) && !is_one_principal(value))
		config_error(r, "must have \"tenant\" and one of \"object\" and \"application\" (Entra), or \"issuer\" and "
		    "\"subject\"");
	if (r->error_count != errors)
		token->subject = token->tenant = (struct str){ NULL, 0 };	/* nothing to be found by */
	else if (token->id.p == NULL && token->subject.n)
		token->id = arena_printf(&r->config->arena, "%08x", (unsigned)config_token_hash(token->issuer, token->subject));
	else if (token->id.p == NULL)
		token->id = arena_copy(&r->config->arena, str_sub(token->object.n ? token->object : token->application, 0, 8));
}

void
config_read_tokens(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_caller *caller = out;

	(void)rule;
	config_read_list(r, value, 1, CONFIG_MANY, sizeof(*caller->tokens), (void **)&caller->tokens,
	    &caller->token_count, read_token);
}
