/*
 * base64url without padding (RFC 4648 5), as JOSE uses it (RFC 7515 2): one text for each run of bytes.
 */
#ifndef JOBGATE_BASE_BASE64URL_H
#define JOBGATE_BASE_BASE64URL_H

#include "base/str.h"

/* What N characters decode to, at most. */
#define BASE64URL_DECODED(n) ((n) / 4 * 3 + 2)

/*
 * Decode S into OUT, which has room for BASE64URL_DECODED(S.n) bytes; *N of them were written. False on padding, white
 * space, any other foreign byte, a length that no bytes have, and bits behind the last byte that are not zero.
 */
bool base64url_decode(struct str s, uint8_t *out, size_t *n);

/* How many bytes S decodes to, where it decodes. */
size_t base64url_size(struct str s);

#endif
