/*
 * API keys: `jg_`, 32 random bytes in base62, and a checksum, so that secret scanners can tell a leaked key
 * from other text (a form made known by GitHub's tokens).
 *
 * The random part is 43 digits of 0-9A-Za-z, big-endian, padded with zeros; the checksum is the CRC-32 (IEEE 802.3) of
 * everything before it as 6 digits. The checksum protects nothing: a key is looked up by its SHA-256 alone.
 */
#ifndef JOBGATE_RULES_APIKEY_H
#define JOBGATE_RULES_APIKEY_H

#include "base/str.h"

#define APIKEY_RANDOM_BYTES 32
/* 3 + 43 + 6, without a NUL. */
#define APIKEY_BYTES 52

/* Write the key of RANDOM and a NUL. */
void apikey_format(const uint8_t random[APIKEY_RANDOM_BYTES], char out[APIKEY_BYTES + 1]);

/* Whether S has the form and the checksum of such a key. */
bool apikey_is_wellformed(struct str s);

#endif
