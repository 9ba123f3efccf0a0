/* Base64 of RFC 4648: its own alphabet with padding (4), and the one for URLs without (5), as credentials and tokens have it. */
#ifndef JOBGATE_BASE_BASE64_H
#define JOBGATE_BASE_BASE64_H

#include "base/buf.h"

/* Append BYTES, encoded and padded. */
void base64_encode(struct buf *out, struct str bytes);
/* Append BYTES in the alphabet for URLs, without padding (RFC 7515 2). */
void base64_encode_url(struct buf *out, struct str bytes);

/* Append what TEXT encodes, padded; false, with OUT as it was, on any other byte, length or a trailing bit that is not zero. */
bool base64_decode(struct buf *out, struct str text);
/* The same for the alphabet for URLs, where padding is an error. */
bool base64_decode_url(struct buf *out, struct str text);

#endif
