/* UUIDs (RFC 9562): making version 7, recognising any. */
#ifndef JOBGATE_RULES_UUID_H
#define JOBGATE_RULES_UUID_H

#include "base/clock.h"

#define UUID_BYTES 36

/* Version 7 from the time and ten random bytes; writes 36 characters, no NUL. */
void uuid_v7(struct wall_time now, const uint8_t random[10], char out[UUID_BYTES]);

/* 8-4-4-4-12 hexadecimal digits in any case, no braces. */
bool uuid_is(struct str s);

/* Copy a UUID in lower case; S must satisfy uuid_is. */
void uuid_lower(struct str s, char out[UUID_BYTES]);

#endif
