/* API keys. */
#include "rules/apikey.h"

#include <string.h>

#define APIKEY_PREFIX "jg_"
#define APIKEY_PREFIX_BYTES 3
/* 62^43 is just over 2^256. */
#define APIKEY_RANDOM_DIGITS 43
/* 62^6 is over 2^32. */
#define APIKEY_CHECK_DIGITS 6

static const char apikey_digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* CRC-32 of IEEE 802.3, bit by bit: 46 bytes need no table. */
static uint32_t
apikey_crc32(const char *p, size_t n)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		crc ^= (uint8_t)p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xEDB88320) : 0);
	}
	return ~crc;
}

/* Write the big-endian NUMBER, which is used up, as COUNT digits. */
static void
apikey_base62(uint8_t *number, size_t n, char *out, size_t count)
{
	while (count-- > 0) {
		unsigned rest = 0;

		for (size_t i = 0; i < n; i++) {
			unsigned value = rest << 8 | number[i];

			number[i] = (uint8_t)(value / 62);
			rest = value % 62;
		}
		out[count] = apikey_digits[rest];
	}
}

/* Write the checksum of the text before it. */
static void
apikey_checksum(const char *text, char out[APIKEY_CHECK_DIGITS])
{
	uint32_t crc = apikey_crc32(text, APIKEY_BYTES - APIKEY_CHECK_DIGITS);
	uint8_t number[4] = { (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc };

	apikey_base62(number, sizeof(number), out, APIKEY_CHECK_DIGITS);
}

void
apikey_format(const uint8_t random[APIKEY_RANDOM_BYTES], char out[APIKEY_BYTES + 1])
{
	uint8_t number[APIKEY_RANDOM_BYTES];

	memcpy(number, random, sizeof(number));
	memcpy(out, APIKEY_PREFIX, APIKEY_PREFIX_BYTES);
	apikey_base62(number, sizeof(number), out + APIKEY_PREFIX_BYTES, APIKEY_RANDOM_DIGITS);
	apikey_checksum(out, out + APIKEY_BYTES - APIKEY_CHECK_DIGITS);
	out[APIKEY_BYTES] = '\0';
	explicit_bzero(number, sizeof(number));
}

bool
apikey_is_wellformed(struct str s)
{
	char checksum[APIKEY_CHECK_DIGITS];

	if (s.n != APIKEY_BYTES || !str_starts(s, STR(APIKEY_PREFIX)))
		return false;
	for (size_t i = APIKEY_PREFIX_BYTES; i < s.n; i++)
		if (s.p[i] == '\0' || strchr(apikey_digits, s.p[i]) == NULL)
			return false;
	apikey_checksum(s.p, checksum);
	return memcmp(checksum, s.p + s.n - sizeof(checksum), sizeof(checksum)) == 0;
}
