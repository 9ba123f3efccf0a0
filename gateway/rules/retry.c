/* Retry-After in time. */
#include "rules/retry.h"

#define RETRY_DEFAULT_US (5 * (int64_t)CLOCK_SECOND)
#define RETRY_MIN_US (1 * (int64_t)CLOCK_SECOND)
/* Longer, and one mistaken answer would stop an identity for hours; who means it says so again. */
#define RETRY_MAX_US (300 * (int64_t)CLOCK_SECOND)

int64_t
retry_after_us(struct str value, struct wall_time now)
{
	struct wall_time date;
	int64_t us = 0;

	if (value.p == NULL || value.n == 0)
		return RETRY_DEFAULT_US;
	if (clock_parse_http(value, &date)) {
		us = date.us - now.us;
	} else {
		for (size_t i = 0; i < value.n; i++) {
			if (value.p[i] < '0' || value.p[i] > '9')
				return RETRY_DEFAULT_US;
			if (us < RETRY_MAX_US)
				us = us * 10 + (value.p[i] - '0') * (int64_t)CLOCK_SECOND;
		}
	}
	return us < RETRY_MIN_US ? RETRY_MIN_US : us > RETRY_MAX_US ? RETRY_MAX_US : us;
}
