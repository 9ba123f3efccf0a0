/* Signatures of tokens. */
#include "io/jose.h"

#include <cjose/cjose.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"

/* r and s of P-256 (RFC 7518 3.4). */
#define JOSE_ES256_BYTES 64

struct jose_key {
	char *id;		/* owned */
	size_t id_bytes;
	enum jwa algorithm;
	size_t signature_bytes;	/* of every signature by it */
	cjose_jwk_t *jwk;	/* owned; nobody changes it */
};

struct jose_keys {
	struct jose_key *keys;
	size_t count;
	int refs;		/* atomic */
};

/* Write KEY as the JWK that cjose reads; its members need no quoting. */
static void
jose_write_jwk(struct buf *out, const struct jwa_key *key)
{
	if (key->algorithm == JWA_ES256)
		buf_printf(out, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%.*s\",\"y\":\"%.*s\"}", STR_ARG(key->x),
		    STR_ARG(key->y));
	else
		buf_printf(out, "{\"kty\":\"RSA\",\"n\":\"%.*s\",\"e\":\"%.*s\"}", STR_ARG(key->n), STR_ARG(key->e));
}

/*
 * No cjose_err is handed to cjose: to fill in its message cjose would write into a buffer that OpenSSL has for the whole
 * process, whatever thread it is.
 */

/* Make OUT of KEY; false where OpenSSL does not take it. */
static bool
jose_import(const struct jwa_key *key, struct jose_key *out)
{
	struct buf text = BUF_EMPTY;

	jose_write_jwk(&text, key);
	out->jwk = cjose_jwk_import(text.p, text.n, NULL);
	buf_fini(&text);
	ERR_clear_error();
	if (out->jwk == NULL)
		return false;
	out->algorithm = key->algorithm;
	out->signature_bytes = key->algorithm == JWA_ES256 ? JOSE_ES256_BYTES : base64_decoded(key->n);
	out->id_bytes = key->id.n;
	out->id = strndup(key->id.p, key->id.n);
	check(out->id != NULL);
	return true;
}

struct jose_keys *
jose_keys_new(const struct jwa_key *keys, size_t count, struct buf *error)
{
	struct jose_keys *set = calloc(1, sizeof(*set));

	check(set != NULL);
	set->refs = 1;
	set->keys = calloc(count ? count : 1, sizeof(*set->keys));
	check(set->keys != NULL);
	for (size_t i = 0; i < count; i++)
		if (jose_import(&keys[i], &set->keys[set->count]))
			set->count++;
	if (set->count)
		return set;
	buf_add_z(error, "has no key that OpenSSL accepts");
	jose_keys_unref(&set);
	return NULL;
}

struct jose_keys *
jose_keys_ref(struct jose_keys *keys)
{
	check(__atomic_fetch_add(&keys->refs, 1, __ATOMIC_RELAXED) > 0);
	return keys;
}

void
jose_keys_unref(struct jose_keys **slot)
{
	struct jose_keys *keys = *slot;

	*slot = NULL;
	if (keys == NULL || __atomic_sub_fetch(&keys->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < keys->count; i++) {
		cjose_jwk_release(keys->keys[i].jwk);
		free(keys->keys[i].id);
	}
	free(keys->keys);
	free(keys);
}

size_t
jose_keys_count(const struct jose_keys *keys)
{
	return keys->count;
}

const struct jose_key *
jose_keys_find(const struct jose_keys *keys, struct str kid)
{
	for (size_t i = 0; i < keys->count; i++)
		if (str_eq((struct str){ keys->keys[i].id, keys->keys[i].id_bytes }, kid))
			return &keys->keys[i];
	return NULL;
}

enum jwa
jose_key_algorithm(const struct jose_key *key)
{
	return key->algorithm;
}

/* The signature's part of TOKEN. */
static struct str
jose_signature(struct str token)
{
	size_t at = token.n;

	while (at > 0 && token.p[at - 1] != '.')
		at--;
	return str_sub(token, at, token.n);
}

/* Whether the token says the algorithm of KEY: cjose would go by what the token says. */
static bool
jose_says(const struct jose_key *key, cjose_jws_t *jws)
{
	const char *says = cjose_header_get(cjose_jws_get_protected(jws), CJOSE_HDR_ALG, NULL);

	return says && str_eq(str_from(says), jwa_name(key->algorithm));
}

bool
jose_verify(const struct jose_key *key, struct str token)
{
	cjose_jws_t *jws;
	bool good;

	/* cjose reads as many bytes of a signature as its key has, however many there are. */
	if (base64_decoded(jose_signature(token)) != key->signature_bytes)
		return false;
	jws = cjose_jws_import(token.p, token.n, NULL);
	if (jws == NULL)
		return false;
	good = jose_says(key, jws) && cjose_jws_verify(jws, key->jwk, NULL);
	cjose_jws_release(jws);
	if (!good)
		ERR_clear_error();	/* the queue is the thread's, and TLS reads it too */
	return good;
}
