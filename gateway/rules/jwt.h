/*
 * Tokens of callers: a signed JWT in its compact form, read and judged (RFC 7519, RFC 7515 3.1, best practice RFC 8725).
 *
 * Here are form, header and claims; the signature is io/jose's. Nothing of a token chooses how it is checked: the key is
 * one of ours, found by `kid`, and `alg` must be that key's. Until the signature holds, all that stands here is only what
 * somebody claims.
 */
#ifndef JOBGATE_RULES_JWT_H
#define JOBGATE_RULES_JWT_H

#include "base/arena.h"
#include "base/clock.h"

/* Entra's tokens have 1 to 6 KB; a longer one is not looked at. */
#define JWT_BYTES_MAX 8192
/* Tokens for one service name one audience or two. */
#define JWT_AUDIENCES_MAX 16
/* How far the clocks of issuer and gate may be apart, for `nbf` and `iat`. `exp` has no grace. */
#define JWT_LEEWAY_S 60

enum jwt_fault {
	JWT_OK,
	/* Of the form: jwt_parse. */
	JWT_TOO_LARGE,		/* over JWT_BYTES_MAX */
	JWT_BAD_FORM,		/* not three parts of strict base64url */
	JWT_BAD_JSON,		/* header or claims are no JSON object, have a member twice, or over 100 */
	JWT_BAD_HEADER,		/* `alg`, `kid` or `typ` is missing or wrong */
	JWT_FORBIDDEN_HEADER,	/* `crit`, `b64`, or one that brings a key along */
	JWT_BAD_CLAIM,		/* a claim is missing, of another type, or no date */
	/* Of key and signature: set by who looks at them. */
	JWT_UNKNOWN_KEY,
	JWT_BAD_ALGORITHM,	/* not that of the key */
	JWT_BAD_SIGNATURE,
	/* Of the claims: jwt_judge. */
	JWT_BAD_ISSUER,		/* another issuer, or another tenant than its issuer's */
	JWT_BAD_AUDIENCE,
	JWT_EXPIRED,
	JWT_NOT_YET,		/* `nbf` or `iat` lies in the future */
	JWT_FAULT_COUNT
};

/* A sentence for people, which shows nothing of the token. */
const char *jwt_fault_text(enum jwt_fault fault);

/* What a token says; p is NULL where it says nothing, dates are -1. Everything lives in the arena it was parsed into. */
struct jwt {
	struct str algorithm, key_id;	/* `alg`, `kid` */
	struct str issuer;		/* `iss` */
	struct str audiences[JWT_AUDIENCES_MAX];	/* `aud` */
	size_t audience_count;
	int64_t expires_s, not_before_s, issued_s;	/* `exp`, `nbf`, `iat`; since 1970 */
	struct str subject;		/* `sub` */
	struct str tenant, object;	/* Entra's `tid`, `oid` */
	struct str application;		/* Entra's `appid` (v1) or `azp` (v2) */
	struct str scopes;		/* `scp`: a user's token has it, an application's has not */
	struct str id;			/* `jti`, else Entra's `uti`: what a log may show */
};

/* The token of an Authorization field's VALUE (RFC 6750 2.1); p NULL where it is of another scheme. */
struct str jwt_of_authorization(struct str value);

/*
 * Read TOKEN into OUT. JWT_OK, or the first fault that was found; OUT->issuer is then set wherever the claims could be
 * read, so that a broken token of an issuer of ours can be told from another's.
 */
enum jwt_fault jwt_parse(struct arena *arena, struct str token, struct jwt *out);

/* What a token must say. */
struct jwt_expected {
	struct str issuer;		/* to the letter */
	struct str tenant;		/* of an issuer of Entra, in lower case; empty: any or none */
	const struct str *audiences;	/* one of them, to the letter */
	size_t audience_count;
};

/* Judge the claims at NOW: the faults of the last group above, in their order. */
enum jwt_fault jwt_judge(const struct jwt *jwt, const struct jwt_expected *expected, struct wall_time now);

/*
 * The tenant of an issuer of Entra, `https://sts.windows.net/{tid}/` or `https://login.microsoftonline.com/{tid}/v2.0`
 * (or that of a national cloud), as a slice of ISSUER; p NULL where it is none.
 */
struct str jwt_tenant_of_issuer(struct str issuer);

#endif
