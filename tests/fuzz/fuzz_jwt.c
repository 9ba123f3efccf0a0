/*
 * Fuzz target: the reader of tokens, on any bytes; and, where they begin with '{', on the token whose header and claims
 * are the first two lines, so that mutations reach the JSON behind the base64url.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/check.h"
#include "rules/jwt.h"

/* Append S as base64url. */
static void
encode(struct buf *out, struct str s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	int held = 0;

	for (size_t i = 0; i < s.n; i++) {
		bits = bits << 8 | (uint8_t)s.p[i];
		for (held += 8; held >= 6; held -= 6)
			buf_add_char(out, digits[bits >> (held - 6) & 63]);
	}
	if (held)
		buf_add_char(out, digits[bits << (6 - held) & 63]);
}

/* Check what the header promises of a token that was read. */
static void
check_token(struct str token, enum jwt_fault fault, const struct jwt *jwt)
{
	check((unsigned)fault <= JWT_BAD_CLAIM && jwt_fault_text(fault)[0] == 'T');
	check(token.n <= JWT_BYTES_MAX || fault == JWT_TOO_LARGE);
	check(jwt->audience_count <= JWT_AUDIENCES_MAX);
	if (fault != JWT_OK)
		return;
	check(jwt->algorithm.n && jwt->key_id.n && jwt->issuer.n && jwt->audience_count > 0 && jwt->expires_s >= 0);
	check(jwt->not_before_s >= -1 && jwt->issued_s >= -1);
	for (size_t i = 0; i < token.n; i++)
		check(token.p[i] != '=' && token.p[i] > ' ');
}

/* Read a token, and judge it by what it says itself. */
static void
run(struct str token)
{
	struct arena arena;
	struct jwt jwt;
	enum jwt_fault fault;

	arena_init(&arena);
	fault = jwt_parse(&arena, token, &jwt);
	check_token(token, fault, &jwt);
	if (fault == JWT_OK) {
		struct jwt_expected expected = { jwt.issuer, jwt_tenant_of_issuer(jwt.issuer), jwt.audiences,
			jwt.audience_count };
		struct wall_time now = { (jwt.expires_s - 1) * CLOCK_SECOND }, end = { jwt.expires_s * CLOCK_SECOND };
		enum jwt_fault verdict = jwt_judge(&jwt, &expected, now);

		check(verdict == JWT_OK || verdict == JWT_NOT_YET || (verdict == JWT_BAD_ISSUER && expected.tenant.n));
		check(jwt_judge(&jwt, &expected, end) != JWT_OK);
	}
	arena_fini(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str input = { (const char *)data, size }, header, claims;
	struct buf token = BUF_EMPTY;

	run(input);
	if (size == 0 || data[0] != '{' || !str_next(&input, '\n', &header) || !str_next(&input, '\n', &claims))
		return 0;
	encode(&token, header);
	buf_add_char(&token, '.');
	encode(&token, claims);
	buf_add_z(&token, ".c2lnbmF0dXJl");
	run(buf_str(&token));
	buf_fini(&token);
	return 0;
}
