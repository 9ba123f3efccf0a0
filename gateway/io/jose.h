/*
 * Signatures of tokens, by cjose (RFC 7515). It knows no claims and no documents: keys come as rules/jwks has judged
 * them, tokens as rules/jwt has read them.
 *
 * A set of keys never changes once it is made, and is counted: any thread may look keys up and verify with one set at
 * the same time, since cjose and OpenSSL only read a public key there.
 */
#ifndef JOBGATE_IO_JOSE_H
#define JOBGATE_IO_JOSE_H

#include "base/buf.h"
#include "base/jwa.h"

struct jose_keys;
struct jose_key;

/*
 * A set of COUNT keys, one reference. One that is no key (a point beside its curve) is left out; NULL with a sentence in
 * ERROR where none is left.
 */
struct jose_keys *jose_keys_new(const struct jwa_key *keys, size_t count, struct buf *error);

/* Any thread. */
struct jose_keys *jose_keys_ref(struct jose_keys *keys);
void jose_keys_unref(struct jose_keys **keys);

size_t jose_keys_count(const struct jose_keys *keys);
/* The key of that `kid`, or NULL; lives as long as KEYS. */
const struct jose_key *jose_keys_find(const struct jose_keys *keys, struct str kid);
enum jwa jose_key_algorithm(const struct jose_key *key);

/*
 * Whether KEY, by its own algorithm, made the signature of TOKEN, a compact JWS that rules/jwt has read. False too where
 * the token's `alg` is another. Any thread; takes 30 to 100 us.
 */
bool jose_verify(const struct jose_key *key, struct str token);

#endif
