/* Points in time from their text. */
#include "base/clock.h"

#include <string.h>

/* Read N digits at P; negative where they are not all digits. */
static int
parse_digits(const char *p, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		value = value * 10 + (p[i] - '0');
	}
	return value;
}

/* Days from 1970-01-01 to a civil date of the Gregorian calendar (years counted from March, so that leap days come last). */
static int64_t
parse_days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Put the parts together; false where one is out of its bounds. */
static bool
parse_combine(int year, int month, int day, int hour, int minute, int second, struct wall_time *out)
{
	/* Some years ago is as good as long ago; a leap second is the next second. */
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0
	    || minute > 59 || second < 0 || second > 60)
		return false;
	out->us = (((parse_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * CLOCK_SECOND;
	return true;
}

bool
clock_parse_rfc3339(struct str text, struct wall_time *out)
{
	const char *p = text.p;
	int us;

	if (text.n != CLOCK_RFC3339_BYTES - 1 || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':'
	    || p[19] != '.' || p[26] != 'Z')
		return false;
	us = parse_digits(p + 20, 6);
	if (us < 0 || !parse_combine(parse_digits(p, 4), parse_digits(p + 5, 2), parse_digits(p + 8, 2),
	    parse_digits(p + 11, 2), parse_digits(p + 14, 2), parse_digits(p + 17, 2), out))
		return false;
	out->us += us;
	return true;
}

bool
clock_parse_http(struct str text, struct wall_time *out)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *p = text.p;
	int month = 0;

	if (text.n != CLOCK_HTTP_BYTES - 1 || memcmp(p + 3, ", ", 2) != 0 || memcmp(p + 25, " GMT", 4) != 0 || p[7] != ' '
	    || p[11] != ' ' || p[16] != ' ' || p[19] != ':' || p[22] != ':')
		return false;
	while (month < 12 && memcmp(p + 8, months + 3 * month, 3) != 0)
		month++;
	return parse_combine(parse_digits(p + 12, 4), month + 1, parse_digits(p + 5, 2), parse_digits(p + 17, 2),
	    parse_digits(p + 20, 2), parse_digits(p + 23, 2), out);
}

/* How many days MONTH has. */
static int
parse_month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (month < 1 || month > 12)
		return 0;
	return days[month - 1] + (month == 2 && leap);
}

/* Read a fraction of a second at *P up to END, if there is one; the microseconds, or -1 where it has no digit. */
static int
parse_fraction(const char **p, const char *end)
{
	int us = 0, digits = 0;

	if (*p == end || **p != '.')
		return 0;
	for (++*p; *p < end && **p >= '0' && **p <= '9'; ++*p, digits++)
		if (digits < 6)
			us = us * 10 + (**p - '0');
	for (int i = digits; i < 6; i++)
		us *= 10;
	return digits ? us : -1;
}

/* Read the offset from UTC that ends a date-time, in minutes. */
static bool
parse_offset(const char *p, size_t n, int *minutes)
{
	int hour, minute;

	*minutes = 0;
	if (n == 1)
		return *p == 'Z' || *p == 'z';
	if (n != 6 || (*p != '+' && *p != '-') || p[3] != ':')
		return false;
	hour = parse_digits(p + 1, 2);
	minute = parse_digits(p + 4, 2);
	*minutes = (hour * 60 + minute) * (*p == '-' ? -1 : 1);
	return hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59;
}

bool
clock_parse_date_time(struct str text, struct wall_time *out)
{
	const char *p = text.p, *end = text.p + text.n;
	int year, month, day, us, minutes;
	struct wall_time t;

	if (text.n < 20 || p[4] != '-' || p[7] != '-' || (p[10] != 'T' && p[10] != 't') || p[13] != ':' || p[16] != ':')
		return false;
	year = parse_digits(p, 4);
	month = parse_digits(p + 5, 2);
	day = parse_digits(p + 8, 2);
	if (day > parse_month_days(year, month) || !parse_combine(year, month, day, parse_digits(p + 11, 2),
	    parse_digits(p + 14, 2), parse_digits(p + 17, 2), &t))
		return false;
	p += 19;
	us = parse_fraction(&p, end);
	if (us < 0 || !parse_offset(p, (size_t)(end - p), &minutes))
		return false;
	t.us += us - minutes * INT64_C(60) * CLOCK_SECOND;
	if (t.us > 0)
		*out = t;
	return t.us > 0;
}
