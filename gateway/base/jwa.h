/*
 * The signature algorithms of tokens that are accepted (RFC 7518 3.1). `none` and those with a shared secret have no
 * name here, so nothing can ask for them.
 */
#ifndef JOBGATE_BASE_JWA_H
#define JOBGATE_BASE_JWA_H

#include "base/str.h"

enum jwa {
	JWA_RS256,	/* RSASSA-PKCS1-v1_5 with SHA-256 */
	JWA_PS256,	/* RSASSA-PSS with SHA-256 */
	JWA_ES256,	/* ECDSA on P-256 with SHA-256 */
	JWA_COUNT
};

struct str jwa_name(enum jwa algorithm);
/* By its name, to the letter; false where it is none of these. */
bool jwa_from(struct str name, enum jwa *out);

/* A public key that signs tokens: its members are base64url without padding (RFC 7518 6). */
struct jwa_key {
	struct str id;			/* `kid` */
	enum jwa algorithm;		/* the only one that it is used with */
	struct str n, e;		/* RSA: modulus and exponent */
	struct str x, y;		/* ES256: the point on P-256 */
};

#endif
