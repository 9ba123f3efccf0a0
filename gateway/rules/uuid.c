/* UUIDs: the text form, and version 7. */
#include "rules/uuid.h"

#include <string.h>

#include "base/check.h"

/* Whether a UUID has its dash at I. */
static bool
is_dash_place(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

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
	for (size_t i = 0, digit = 0; i < UUID_BYTES; i++)
		out[i] = is_dash_place(i) ? '-' : digits[digit++];
}

bool
uuid_is(struct str s)
{
	if (s.n != UUID_BYTES)
		return false;
	for (size_t i = 0; i < UUID_BYTES; i++)
		if (is_dash_place(i) ? s.p[i] != '-' : str_hex_value(s.p[i]) < 0)
			return false;
	return true;
}

void
uuid_lower(struct str s, char out[UUID_BYTES])
{
	check(s.n == UUID_BYTES);
	for (size_t i = 0; i < UUID_BYTES; i++)
		out[i] = str_lower(s.p[i]);
}
