/* identities[].credential: as whom the gateway calls the upstream. */
#include "rules/config_private.h"

#include <jansson.h>

#define AUTHORITY_DEFAULT "https://login.microsoftonline.com"
#define SCOPE_DEFAULT "https://api.fabric.microsoft.com/.default"
/* Tenants and applications are UUIDs or domain names. */
#define PRINCIPAL_MAX 253
#define SCOPE_MAX 1024

/* A tenant or client: it stands in a URL's path and in a token's claims, where nothing may need quoting. */
static void
read_principal(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, PRINCIPAL_MAX, &s))
		return;
	for (size_t i = 0; i < s.n; i++) {
		char c = str_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && (c != '.' || i == 0)) {
			config_error_is(r, "must be a UUID or a domain name", value);
			return;
		}
	}
	*(struct str *)out = arena_copy(&r->config->arena, s);
}

/* Keep a URL without the slashes at its end. */
static void
keep_url(struct config_reader *r, struct json_t *value, void *out)
{
	struct str s = str_from(json_string_value(value));

	while (s.n > 0 && s.p[s.n - 1] == '/')
		s.n--;
	*(struct str *)out = arena_copy(&r->config->arena, s);
}

/* Secrets and assertions are sent there. */
static void
read_authority(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_url url;

	(void)rule;
	if (!config_read_url(r, value, &url))
		return;
	if (str_eq_nocase(url.scheme, STR("https")))
		keep_url(r, value, out);
	else
		config_error_is(r, "must begin with https:// (secrets are never sent in the clear)", value);
}

/* The machine's own endpoint, which is spoken to in the clear. */
static void
read_endpoint(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_url url;

	(void)rule;
	if (!config_read_url(r, value, &url))
		return;
	if (str_eq_nocase(url.scheme, STR("https")) || str_eq_nocase(url.scheme, STR("http")))
		keep_url(r, value, out);
	else
		config_error_is(r, "must begin with http:// or https://", value);
}

static void
read_scope(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, SCOPE_MAX, &s))
		return;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~') {
			config_error_is(r, "must be one scope, as \"" SCOPE_DEFAULT "\"", value);
			return;
		}
	*(struct str *)out = arena_copy(&r->config->arena, s);
}

#define TENANT CONFIG_NEED("tenant", read_principal, struct config_credential, tenant, 0, 0)
#define CLIENT CONFIG_NEED("client_id", read_principal, struct config_credential, client_id, 0, 0)
#define AUTHORITY CONFIG_KEY("authority", read_authority, struct config_credential, authority, 0, 0)
#define CA_FILE CONFIG_KEY("ca_file", config_read_path, struct config_credential, ca_file, 0, 0)

static const struct config_rule client_secret_rules[] = {
	TENANT,
	CLIENT,
	CONFIG_NEED("secret", config_read_secret, struct config_credential, secret, 0, 0),
	AUTHORITY,
	CA_FILE,
	CONFIG_END,
};

static const struct config_rule certificate_rules[] = {
	TENANT,
	CLIENT,
	CONFIG_NEED("cert_file", config_read_path, struct config_credential, cert_file, 0, 0),
	CONFIG_NEED("key_file", config_read_path, struct config_credential, key_file, 0, 0),
	AUTHORITY,
	CA_FILE,
	CONFIG_END,
};

static const struct config_rule managed_identity_rules[] = {
	CONFIG_KEY("client_id", read_principal, struct config_credential, client_id, 0, 0),
	CONFIG_KEY("endpoint", read_endpoint, struct config_credential, endpoint, 0, 0),
	CONFIG_END,
};

/* What is not given the environment tells, when a token is asked for. */
static const struct config_rule workload_identity_rules[] = {
	CONFIG_KEY("tenant", read_principal, struct config_credential, tenant, 0, 0),
	CONFIG_KEY("client_id", read_principal, struct config_credential, client_id, 0, 0),
	CONFIG_KEY("token_file", config_read_path, struct config_credential, token_file, 0, 0),
	AUTHORITY,
	CA_FILE,
	CONFIG_END,
};

static const struct {
	const struct config_rule *rules;
	enum config_credential_kind kind;
} kinds[] = {
	{ client_secret_rules, CONFIG_CREDENTIAL_CLIENT_SECRET },
	{ certificate_rules, CONFIG_CREDENTIAL_CERTIFICATE },
	{ managed_identity_rules, CONFIG_CREDENTIAL_MANAGED_IDENTITY },
	{ workload_identity_rules, CONFIG_CREDENTIAL_WORKLOAD_IDENTITY },
};

/* Read one kind, whose table the rule names. */
static void
read_kind(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_credential *credential = out;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].rules == rule->members)
			credential->kind = kinds[i].kind;
	config_read_object(r, value, rule->members, credential);
}

static const struct config_rule credential_rules[] = {
	{ STR_INIT("client_secret"), read_kind, 0, 0, 0, false, client_secret_rules },
	{ STR_INIT("certificate"), read_kind, 0, 0, 0, false, certificate_rules },
	{ STR_INIT("managed_identity"), read_kind, 0, 0, 0, false, managed_identity_rules },
	{ STR_INIT("workload_identity"), read_kind, 0, 0, 0, false, workload_identity_rules },
	CONFIG_KEY("scope", read_scope, struct config_credential, scope, 0, 0),
	CONFIG_END,
};

/* How many of the kinds are given. */
static size_t
count_kinds(struct json_t *value)
{
	size_t count = 0;

	for (const struct config_rule *rule = credential_rules; rule->name.p; rule++)
		count += rule->members != NULL && json_object_get(value, rule->name.p) != NULL;
	return count;
}

void
config_read_credential(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_credential *credential = out;

	(void)rule;
	credential->scope = STR(SCOPE_DEFAULT);
	config_read_object(r, value, credential_rules, credential);
	if (json_is_object(value) && count_kinds(value) != 1)
		config_error(r, "must have exactly one of \"client_secret\", \"certificate\", \"managed_identity\" and "
		    "\"workload_identity\"");
	if (credential->authority.n == 0 && (credential->kind == CONFIG_CREDENTIAL_CLIENT_SECRET
	    || credential->kind == CONFIG_CREDENTIAL_CERTIFICATE))
		credential->authority = STR(AUTHORITY_DEFAULT);
}
