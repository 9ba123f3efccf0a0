/* Points in time and their text. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_SECONDS 86400

/* Read one of the machine's clocks. */
static int64_t
clock_read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * CLOCK_SECOND + ts.tv_nsec / 1000;
}

struct mono_time
clock_now_mono(void)
{
	return (struct mono_time){ clock_read_us(CLOCK_MONOTONIC) };
}

struct wall_time
clock_now_wall(void)
{
	return (struct wall_time){ clock_read_us(CLOCK_REALTIME) };
}

/* Days to year, month, day: the algorithm of H. Hinnant, "chrono-compatible low-level date algorithms". */
static void
clock_civil_date(int64_t days, struct civil_time *c)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	c->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	c->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	c->year = (int)((int64_t)yoe + era * 400) + (c->month <= 2);
	c->weekday = (int)(((days % 7) + 11) % 7);	/* 1970-01-01 was a Thursday */
}

struct civil_time
clock_civil(struct wall_time t)
{
	struct civil_time c = { 0 };
	int64_t seconds = t.us / CLOCK_SECOND, micro = t.us % CLOCK_SECOND, days, rest;

	if (micro < 0) {
		micro += CLOCK_SECOND;
		seconds--;
	}
	days = seconds / DAY_SECONDS;
	rest = seconds % DAY_SECONDS;
	if (rest < 0) {
		rest += DAY_SECONDS;
		days--;
	}
	clock_civil_date(days, &c);
	c.hour = (int)(rest / 3600);
	c.minute = (int)(rest / 60 % 60);
	c.second = (int)(rest % 60);
	c.microsecond = (int)micro;
	return c;
}

/* Put the last COUNT digits of VALUE. */
static void
clock_put_digits(char *out, int count, unsigned value)
{
	while (count-- > 0) {
		out[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* A moment to its second, in the same form. */
static void
clock_format_second(struct wall_time t, char out[CLOCK_RFC3339_BYTES])
{
	struct civil_time c = clock_civil(t);

	memcpy(out, "0000-00-00T00:00:00.000000Z", CLOCK_RFC3339_BYTES);	/* printf takes ten times as long */
	clock_put_digits(out, 4, (unsigned)c.year);
	clock_put_digits(out + 5, 2, (unsigned)c.month);
	clock_put_digits(out + 8, 2, (unsigned)c.day);
	clock_put_digits(out + 11, 2, (unsigned)c.hour);
	clock_put_digits(out + 14, 2, (unsigned)c.minute);
	clock_put_digits(out + 17, 2, (unsigned)c.second);
}

void
clock_format_rfc3339(struct wall_time t, char out[CLOCK_RFC3339_BYTES])
{
	/* One is asked for with each record and log line: of the second that this thread had last, only the rest is new. */
	static _Thread_local char text[CLOCK_RFC3339_BYTES] = "1970-01-01T00:00:00.000000Z";
	static _Thread_local int64_t from_us = 0;

	if ((uint64_t)t.us - (uint64_t)from_us >= CLOCK_SECOND) {
		from_us = t.us - clock_civil(t).microsecond;
		clock_format_second(t, text);
	}
	memcpy(out, text, sizeof(text));
	clock_put_digits(out + 20, 6, (unsigned)(t.us - from_us));
}

void
clock_format_http(struct wall_time t, char out[CLOCK_HTTP_BYTES])
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
		"Nov", "Dec" };
	struct civil_time c = clock_civil(t);

	snprintf(out, CLOCK_HTTP_BYTES, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days[c.weekday % 7],
	    (unsigned)c.day % 100, months[(c.month - 1) % 12], (unsigned)c.year % 10000, (unsigned)c.hour % 100,
	    (unsigned)c.minute % 100, (unsigned)c.second % 100);
}
