/* Values of a status: read from its JSON, written for people. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "rules/report_private.h"

const struct json_t *
report_get(const struct json_t *object, const char *key)
{
	return json_object_get(object, key);
}

const char *
report_string(const struct json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int64_t
report_int(const struct json_t *object, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool
report_bool(const struct json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

bool
report_is(const struct json_t *object, const char *key, const char *text)
{
	return strcmp(report_string(object, key), text) == 0;
}

void
report_add(struct buf *out, const char *text)
{
	for (; *text; text++)
		buf_add_char(out, *text >= ' ' && *text <= '~' ? *text : '?');
}

void
report_add_member(struct buf *out, const struct json_t *object, const char *key)
{
	report_add(out, report_string(object, key));
}

void
report_add_ms(struct buf *out, int64_t ms)
{
	int64_t s = ms / 1000, min = s / 60, h = min / 60;

	if (ms < 0)
		buf_add_z(out, "0 ms");
	else if (ms < 1000)
		buf_printf(out, "%" PRId64 " ms", ms);
	else if (ms < 10000)
		buf_printf(out, ms % 1000 < 50 ? "%.0f s" : "%.1f s", (double)ms / 1000);
	else if (s < 120)
		buf_printf(out, "%" PRId64 " s", s);
	else if (min < 120)
		buf_printf(out, "%" PRId64 " min", min);
	else if (h < 48)
		buf_printf(out, "%" PRId64 " h %" PRId64 " min", h, min % 60);
	else
		buf_printf(out, "%" PRId64 " d %" PRId64 " h", h / 24, h % 24);
}

void
report_add_time(struct buf *out, const struct json_t *object, const char *key)
{
	struct str time = str_from(report_string(object, key));
	char text[sizeof("2026-08-01 12:34:56")];

	if (time.n < sizeof(text))
		return;
	memcpy(text, time.p, sizeof(text) - 1);
	text[10] = ' ';
	text[sizeof(text) - 1] = '\0';
	report_add(out, text);
	buf_add_z(out, " UTC");
}

void
report_add_rate(struct buf *out, const struct json_t *object)
{
	buf_printf(out, "%" PRId64 " in ", report_int(object, "requests", 0));
	report_add_ms(out, report_int(object, "window_ms", 0));
}
