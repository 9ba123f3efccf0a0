/*
 * A client assertion: the JWT by which a certificate's holder authenticates to a token endpoint (RFC 7523 3, fabric.md 7).
 *
 * PS256 with the thumbprint x5t#S256. Files are read at each call, so that a renewed certificate is used without a restart. Blocks for the
 * files and about 1 ms for the signature: for main's loop, seldom.
 */
#ifndef JOBGATE_IO_ASSERTION_H
#define JOBGATE_IO_ASSERTION_H

#include "base/buf.h"
#include "base/clock.h"

struct assertion {
	const char *cert_file, *key_file;	/* PEM; an RSA key of at least 2048 bits, without a passphrase */
	struct str audience;			/* the token endpoint */
	struct str client_id;			/* iss and sub */
	struct wall_time now;			/* good from now, ten minutes long less a margin */
};

/* Append the signed token to OUT. False with a sentence in ERROR ("FILE: ..."), without any of the key. */
bool assertion_make(const struct assertion *assertion, struct buf *out, struct buf *error);

#endif
