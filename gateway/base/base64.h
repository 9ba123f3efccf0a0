/* Base64 of RFC 4648: its own alphabet with padding (4), and the one for URLs without (5), as credentials and tokens have it. */
#ifndef JOBGATE_BASE_BASE64_H
#define JOBGATE_BASE_BASE64_H

#include "base/buf.h"

/* Append BYTES, encoded and padded. */
void base64_encode(struct buf *out, struct str bytes);
/* Append BYTES in the alphabet for URLs, without padding (RFC 7515 2). */
void base64_encode_url(struct buf *out, struct str bytes);

/* What N characters decode to, at most. */
#define BASE64_DECODED(n) ((n) / 4 * 3 + 2)

/* Append what TEXT encodes, padded; false, with OUT as it was, on any other byte, length or a trailing bit that is not zero. */
bool base64_decode(struct buf *out, struct str text);

/*
 * Decode TEXT, of the alphabet for URLs, into OUT, which has room for BASE64_DECODED(TEXT.n) bytes; *N of them were written. False on
 * padding, white space, any other foreign byte, a length that no bytes have, and bits behind the last byte that are not zero.
 */
bool base64_decode_url(struct str text, uint8_t *out, size_t *n);

/* How many bytes TEXT without padding decodes to, where it decodes. */
size_t base64_decoded(struct str text);

#endif
