/* UUIDs: the text form, and version 7. */
#include "rules/uuid.h"

#include <string.h>

#include "base/check.h"
#include "base/eight.h"

void
uuid_v7(struct wall_time now, const uint8_t random[10], char out[UUID_BYTES])
{
	uint64_t ms = (uint64_t)(now.us / CLOCK_MS);
	uint8_t bytes[16];
	char digits[32];

	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
	memcpy(bytes + 6, random, 10);
	bytes[6] = (uint8_t)(0x70 | (bytes[6] & 0x0f));	/* version 7 */
	bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));	/* variant of RFC 9562 */
	str_hex_encode(bytes, sizeof bytes, digits);
	memcpy(out, digits, 8);
	memcpy(out + 9, digits + 8, 4);
	memcpy(out + 14, digits + 12, 4);
	memcpy(out + 19, digits + 16, 4);
	memcpy(out + 24, digits + 20, 12);
	out[8] = out[13] = out[18] = out[23] = '-';
}

bool
uuid_is(struct str s)
{
	char digits[32];

	if (s.n != UUID_BYTES || s.p[8] != '-' || s.p[13] != '-' || s.p[18] != '-' || s.p[23] != '-')
		return false;
	memcpy(digits, s.p, 8);
	memcpy(digits + 8, s.p + 9, 4);
	memcpy(digits + 12, s.p + 14, 4);
	memcpy(digits + 16, s.p + 19, 4);
	memcpy(digits + 20, s.p + 24, 12);
	return eight_is_hex(eight_load(digits)) && eight_is_hex(eight_load(digits + 8)) && eight_is_hex(eight_load(digits + 16))
	    && eight_is_hex(eight_load(digits + 24));
}

void
uuid_lower(struct str s, char out[UUID_BYTES])
{
	check(s.n == UUID_BYTES);
	str_lower_copy(s, out);
}
