/*
 * Key sets of issuers (JWK sets, RFC 7517 5): which of their keys may check a token, and with which algorithm.
 *
 * Issuers publish keys for many purposes in one document, so that what is not for us is left aside, not refused.
 */
#ifndef JOBGATE_RULES_JWKS_H
#define JOBGATE_RULES_JWKS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/jwa.h"

/* Entra publishes about ten keys; a document beyond these bounds is no key set. */
#define JWKS_BYTES_MAX (256u << 10)
#define JWKS_KEYS_MAX 100

struct jwks {
	struct jwa_key *keys;	/* in the arena, no two of one id */
	size_t count;		/* at least one */
};

/*
 * The public keys of DOCUMENT that sign with one of ALGORITHMS (bits 1u << enum jwa). Left aside: keys without `kid`,
 * for anything but checking signatures (`use`, `key_ops`), of other kinds, curves or algorithms, private and symmetric
 * ones, RSA keys under 2048 or over 8192 bits or whose exponent is even, below 3 or over 64 bits. A key without `alg`
 * signs with RS256 (RSA; with PS256 where ALGORITHMS has that and not RS256) or ES256 (P-256). False with a sentence in
 * ERROR, which shows nothing of the document, where it is no such set, two of its usable keys have one `kid`, or none
 * is usable.
 */
bool jwks_parse(struct arena *arena, struct str document, unsigned algorithms, struct jwks *out, struct buf *error);

#endif
