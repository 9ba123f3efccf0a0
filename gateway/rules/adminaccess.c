/* Who may ask what on the admin listener. */
#include "rules/adminaccess.h"

#include <string.h>

/* 16 characters of base64 are 96 bits; what is longer than a header field of use is a file named by mistake. */
#define TOKEN_MIN 16
#define TOKEN_MAX 4096

bool
adminaccess_is_open(struct str path)
{
	return str_eq(path, STR("/healthz")) || str_eq(path, STR("/readyz")) || str_eq(path, STR("/metrics"));
}

struct str
adminaccess_token(const struct http1_head *head)
{
	const struct http1_field *field = http1_find(head, STR("Authorization"));

	if (field == NULL || http1_count(head, STR("Authorization")) != 1 || !str_starts_nocase(field->value, STR("Bearer ")))
		return (struct str){ NULL, 0 };
	return str_trim(str_sub(field->value, 7, field->value.n));
}

bool
adminaccess_is_token(struct str text)
{
	if (text.n < TOKEN_MIN || text.n > TOKEN_MAX)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = str_lower(text.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || strchr("-._~+/=", c) == NULL))
			return false;
	}
	return true;
}

/* Whether HOST, of a Host field, names this machine: by an address, which no name server can lend, or by a name of its own. */
static bool
is_own_host(struct str host, struct str instance)
{
	struct network_address address;
	struct str name = host;
	size_t colon = str_find_char(host, ':');

	if (network_parse_hop(host, &address, &name))
		return true;
	name = str_sub(host, 0, colon);
	return str_eq_nocase(name, STR("localhost")) || (instance.n && str_eq_nocase(name, instance));
}

/* Whether PEER is on this machine. */
static bool
is_loopback(struct str peer)
{
	static const uint8_t four[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127 }, six[NETWORK_BYTES] = { [15] = 1 };
	struct network_address address;
	struct str host;

	return network_parse_hop(peer, &address, &host)
	    && (memcmp(address.bytes, four, sizeof(four)) == 0 || memcmp(address.bytes, six, sizeof(six)) == 0);
}

/* Whether the request says that its body is JSON. */
static bool
is_json(const struct http1_head *head)
{
	const struct http1_field *type = http1_find(head, STR("Content-Type"));
	struct str media = type ? str_trim(str_sub(type->value, 0, str_find_char(type->value, ';'))) : (struct str){ NULL, 0 };

	return http1_count(head, STR("Content-Type")) == 1 && str_eq_nocase(media, STR("application/json"));
}

/* Judge what is read where there is no token, and what is changed. */
static enum refusal
judge_without_token(const struct adminaccess *access, bool reads, const char **why)
{
	if (reads && is_loopback(access->peer))
		return REFUSAL_NONE;
	*why = reads ? "Without admin.token in the configuration this is for this machine's own addresses alone."
		     : "Nothing can be changed here: there is no admin.token in the configuration.";
	return REFUSAL_FORBIDDEN;
}

enum refusal
adminaccess_judge(const struct adminaccess *access, const char **why)
{
	const struct http1_head *head = access->head;
	const struct http1_field *host = http1_find(head, STR("Host"));
	bool reads = str_eq(head->method, STR("GET")) || str_eq(head->method, STR("HEAD"));
	enum refusal refusal = REFUSAL_NONE;

	if (reads && adminaccess_is_open(str_sub(head->target, 0, str_find_char(head->target, '?'))))
		return REFUSAL_NONE;
	if (host == NULL || !is_own_host(host->value, access->instance)) {
		*why = "Host must be an address, localhost or the name of this instance.";
		return REFUSAL_BAD_REQUEST;
	}
	if (!access->has_token)
		refusal = judge_without_token(access, reads, why);
	else if (!access->token_fits) {
		*why = "This takes the token of admin.token, as Authorization: Bearer TOKEN.";
		refusal = REFUSAL_UNAUTHENTICATED;
	}
	if (refusal == REFUSAL_NONE && str_eq(head->method, STR("POST")) && !is_json(head)) {
		*why = "The body must be application/json.";
		refusal = REFUSAL_MEDIA_TYPE;
	}
	return refusal;
}
