/* A key of ours in Authorization. */
#include "gate/identify.h"

#include "base/base64.h"
#include "io/tls.h"
#include "rules/policy.h"

/* Append what one Authorization shows: the token of Bearer, the password of Basic (RFC 7617 2). */
static void
authorization_shown(struct str value, struct buf *shown)
{
	static const struct str bearer = STR_INIT("Bearer "), basic = STR_INIT("Basic ");
	struct buf pair = BUF_EMPTY;
	struct str s;

	if (str_starts_nocase(value, bearer))
		buf_add(shown, str_trim(str_sub(value, bearer.n, value.n)));
	if (str_starts_nocase(value, basic) && base64_decode(&pair, str_trim(str_sub(value, basic.n, value.n)))) {
		s = buf_str(&pair);
		buf_add(shown, str_sub(s, str_find_char(s, ':') + 1, s.n));
	}
	buf_wipe(&pair);
}

void
identify_shown(const struct http1_head *head, struct buf *shown)
{
	const struct http1_field *field = http1_find(head, STR("X-API-Key"));

	if (field != NULL) {
		buf_add(shown, field->value);
		return;
	}
	field = http1_find(head, STR("Authorization"));
	if (field != NULL)
		authorization_shown(field->value, shown);
	if (str_find_char(buf_str(shown), '.') < shown->n)
		buf_wipe(shown);
}

/* Whose key SHOWN is; NULL: nobody's. */
static const struct config_caller *
authorization_caller(const struct request *request, const struct buf *shown)
{
	const struct config_key *key;
	uint8_t digest[32];

	if (shown->n == 0)
		return NULL;
	digest_sha256(buf_str(shown), digest);
	return policy_find_key(request->config, digest, &key);
}

bool
identify_authorization(struct request *request, struct buf *key)
{
	const struct http1_head *head = front_head(request->client);
	const struct config_caller *caller = NULL;

	for (size_t i = 0; i < head->field_count && caller == NULL; i++) {
		if (!str_eq_nocase(head->fields[i].name, STR("Authorization")))
			continue;
		buf_wipe(key);
		authorization_shown(head->fields[i].value, key);
		caller = authorization_caller(request, key);
	}
	if (caller == NULL)
		buf_wipe(key);
	request->key_in_authorization = caller != NULL;
	return caller && request->config->identities[caller->identity].credential.kind != CONFIG_CREDENTIAL_NONE;
}
