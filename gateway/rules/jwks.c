/* Key sets of issuers: the keys that may check a token. */
#include "rules/jwks.h"

#include <jansson.h>

#include "base/base64.h"

/* Below, a signature can be forged by the rich; above, one costs milliseconds to check. */
#define RSA_BYTES_MIN 256
#define RSA_BYTES_MAX 1024
/* Exponents are 3 or 65537 in practice; OpenSSL takes 64 bits with a large modulus. */
#define RSA_EXPONENT_BYTES_MAX 8
/* A coordinate on P-256 (RFC 7518 6.2.1.2). */
#define P256_BYTES 32

/* The text NAME of KEY; p NULL where there is none. */
static struct str
jwks_text(json_t *key, const char *name)
{
	json_t *value = json_object_get(key, name);

	return (struct str){ json_string_value(value), json_string_length(value) };
}

/* Decode a member into ROOM bytes; false where it is not there, no base64url, or longer. */
static bool
jwks_bytes(json_t *key, const char *name, uint8_t *out, size_t room, size_t *n)
{
	struct str text = jwks_text(key, name);

	return text.n > 0 && BASE64_DECODED(text.n) <= room && base64_decode_url(text, out, n);
}

/* Whether KEY, of kind RSA, is strong enough and sound. */
static bool
jwks_is_rsa(json_t *key)
{
	uint8_t n[RSA_BYTES_MAX + 4], e[RSA_EXPONENT_BYTES_MAX + 4];
	size_t n_bytes, e_bytes;

	if (!jwks_bytes(key, "n", n, sizeof(n), &n_bytes) || !jwks_bytes(key, "e", e, sizeof(e), &e_bytes))
		return false;
	/* Numbers have no leading zero (RFC 7518 2, Base64urlUInt), so the first byte tells the size. */
	if (n_bytes < RSA_BYTES_MIN || n_bytes > RSA_BYTES_MAX || (n_bytes == RSA_BYTES_MIN && n[0] < 0x80) || n[0] == 0)
		return false;
	if (e_bytes > RSA_EXPONENT_BYTES_MAX || e[0] == 0 || e[e_bytes - 1] % 2 == 0)
		return false;
	return n[n_bytes - 1] % 2 == 1 && (e_bytes > 1 || e[0] >= 3);
}

/* Whether KEY, of kind EC, has two coordinates of P-256; that they are a point of it is seen when it is imported. */
static bool
jwks_is_p256(json_t *key)
{
	uint8_t coordinate[BASE64_DECODED(43)];
	size_t x_bytes, y_bytes;

	return str_eq(jwks_text(key, "crv"), STR("P-256")) &&
	    jwks_bytes(key, "x", coordinate, sizeof(coordinate), &x_bytes) &&
	    jwks_bytes(key, "y", coordinate, sizeof(coordinate), &y_bytes) && x_bytes == P256_BYTES &&
	    y_bytes == P256_BYTES;
}

/* Whether KEY is published to check signatures, as far as it says (RFC 7517 4.2, 4.3), and nothing but public. */
static bool
jwks_is_for_us(json_t *key)
{
	static const char *const secret[] = { "d", "p", "q", "dp", "dq", "qi", "oth", "k" };
	json_t *use = json_object_get(key, "use"), *operations = json_object_get(key, "key_ops"), *operation;
	bool verifies = operations == NULL;
	size_t i;

	for (i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		if (json_object_get(key, secret[i]))
			return false;
	json_array_foreach(operations, i, operation)
		if (str_eq((struct str){ json_string_value(operation), json_string_length(operation) }, STR("verify")))
			verifies = true;
	return verifies && (use == NULL || str_eq(jwks_text(key, "use"), STR("sig")));
}

/* The algorithm of a key of a kind that has the algorithms OF_KIND, where it is one of ALGORITHMS. */
static bool
jwks_algorithm(json_t *key, unsigned of_kind, unsigned algorithms, enum jwa *out)
{
	unsigned may = of_kind & algorithms;

	if (json_object_get(key, "alg"))
		return jwa_from(jwks_text(key, "alg"), out) && (may & 1u << *out) != 0;
	for (unsigned i = 0; i < JWA_COUNT; i++)	/* RS256 comes before PS256 */
		if (may & 1u << i) {
			*out = (enum jwa)i;
			return true;
		}
	return false;
}

/* Take KEY where it is usable. */
static bool
jwks_take(struct arena *arena, json_t *key, unsigned algorithms, struct jwa_key *out)
{
	struct str kind = jwks_text(key, "kty"), id = jwks_text(key, "kid");
	bool rsa = str_eq(kind, STR("RSA")), ec = str_eq(kind, STR("EC"));
	unsigned of_kind = rsa ? 1u << JWA_RS256 | 1u << JWA_PS256 : 1u << JWA_ES256;

	if (id.n == 0 || !(rsa || ec) || !jwks_is_for_us(key) || !jwks_algorithm(key, of_kind, algorithms, &out->algorithm))
		return false;
	if (rsa ? !jwks_is_rsa(key) : !jwks_is_p256(key))
		return false;
	out->id = arena_copy(arena, id);
	if (rsa) {
		out->n = arena_copy(arena, jwks_text(key, "n"));
		out->e = arena_copy(arena, jwks_text(key, "e"));
	} else {
		out->x = arena_copy(arena, jwks_text(key, "x"));
		out->y = arena_copy(arena, jwks_text(key, "y"));
	}
	return true;
}

/* Whether one of the keys taken so far has the id of KEY. */
static bool
jwks_has(const struct jwks *set, const struct jwa_key *key)
{
	for (size_t i = 0; i < set->count; i++)
		if (str_eq(set->keys[i].id, key->id))
			return true;
	return false;
}

/* Take the usable ones of KEYS; NULL, or a sentence about what is wrong. */
static const char *
jwks_take_all(struct arena *arena, json_t *keys, unsigned algorithms, struct jwks *out)
{
	json_t *key;
	size_t i;

	if (!json_is_array(keys) || json_array_size(keys) > JWKS_KEYS_MAX)
		return "has no list \"keys\" of at most 100";
	out->keys = arena_alloc(arena, json_array_size(keys) * sizeof(*out->keys));
	json_array_foreach(keys, i, key) {
		if (!json_is_object(key))
			return "has an element of \"keys\" that is no object";
		if (!jwks_take(arena, key, algorithms, &out->keys[out->count]))
			continue;
		if (jwks_has(out, &out->keys[out->count]))
			return "has two keys with one \"kid\"";
		out->count++;
	}
	return out->count ? NULL : "has no key that can check a token's signature with the algorithms that are configured";
}

bool
jwks_parse(struct arena *arena, struct str document, unsigned algorithms, struct jwks *out, struct buf *error)
{
	const char *wrong = "is no JSON object, or has a member twice";
	json_t *root = NULL;

	*out = (struct jwks){ NULL, 0 };
	if (document.n > JWKS_BYTES_MAX)
		wrong = "has more than 256 KiB";
	else
		root = json_loadb(document.n ? document.p : "", document.n, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(root))
		wrong = jwks_take_all(arena, json_object_get(root, "keys"), algorithms, out);
	json_decref(root);
	if (wrong)
		buf_add_z(error, wrong);
	return wrong == NULL;
}
