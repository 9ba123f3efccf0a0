/* Errors of the configuration: where, what must be, what is. */
#include "rules/config_private.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"

/* How much of a wrong value is shown: enough to find it, too little to flood a terminal. */
#define CONFIG_SHOWN_MAX 60

/* How many names a sentence lists before it counts. */
#define CONFIG_NAMES_SHOWN 10

/* Longer keys than this are no misspelling of ours. */
#define CONFIG_KEY_MAX 32

size_t
config_enter(struct config_reader *r, struct str key)
{
	size_t mark = r->path.n;

	if (mark)
		buf_add_char(&r->path, '.');
	jsonw_escape(&r->path, str_sub(key, 0, CONFIG_SHOWN_MAX));
	return mark;
}

size_t
config_enter_index(struct config_reader *r, size_t i, struct str name)
{
	size_t mark = r->path.n;

	buf_printf(&r->path, "[%zu]", i);
	if (name.n) {
		buf_add_z(&r->path, " (\"");
		jsonw_escape(&r->path, str_sub(name, 0, CONFIG_SHOWN_MAX));
		buf_add_z(&r->path, "\")");
	}
	return mark;
}

size_t
config_enter_item(struct config_reader *r, const char *list, size_t i, struct str name)
{
	size_t mark = config_enter(r, str_from(list));

	config_enter_index(r, i, name);
	return mark;
}

void
config_leave(struct config_reader *r, size_t mark)
{
	r->path.n = mark;
}

/* Begin a line: "FILE: PATH: ", or "FILE: " at the top. */
static void
config_error_begin(struct config_reader *r)
{
	r->error_count++;
	jsonw_escape(r->errors, r->config->file);
	buf_add_z(r->errors, ": ");
	if (r->path.n) {
		buf_add(r->errors, buf_str(&r->path));
		buf_add_z(r->errors, ": ");
	}
}

/* Format into OUT. */
static void __attribute__((format(printf, 2, 0)))
config_vprintf(struct buf *out, const char *format, va_list args)
{
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	if (n > 0) {
		vsnprintf(buf_room(out, (size_t)n + 1), (size_t)n + 1, format, again);
		out->n += (size_t)n;
	}
	va_end(again);
}

void
config_error(struct config_reader *r, const char *format, ...)
{
	va_list args;

	config_error_begin(r);
	va_start(args, format);
	config_vprintf(r->errors, format, args);
	va_end(args);
	buf_add_char(r->errors, '\n');
}

/* Show a text, cut before a UTF-8 continuation byte; one with '@' may be a URL with a password and is not shown. */
static void
config_show_text(struct buf *out, struct str s)
{
	size_t n = s.n;

	if (str_find_char(s, '@') < s.n) {
		buf_add_z(out, "another text");
		return;
	}
	if (n > CONFIG_SHOWN_MAX)
		for (n = CONFIG_SHOWN_MAX; n > 0 && ((unsigned char)s.p[n] & 0xC0) == 0x80; n--)
			;
	buf_add_char(out, '"');
	jsonw_escape(out, str_sub(s, 0, n));
	buf_add_z(out, n < s.n ? "...\"" : "\"");
}

/* Show VALUE as it stands in the file, objects and lists only by kind. */
static void
config_show(struct buf *out, struct json_t *value)
{
	char number[40];
	size_t n;

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		buf_add_z(out, "an object");
		break;
	case JSON_ARRAY:
		buf_add_z(out, json_array_size(value) ? "a list" : "an empty list");
		break;
	case JSON_STRING:
		config_show_text(out, (struct str){ json_string_value(value), json_string_length(value) });
		break;
	case JSON_INTEGER:
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:	/* "1000.0" for 1e3: what is wrong with it is that it is no integer */
		n = json_dumpb(value, number, sizeof(number), JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
		buf_add(out, (struct str){ number, n < sizeof(number) ? n : 0 });
		break;
	case JSON_TRUE:
		buf_add_z(out, "true");
		break;
	case JSON_FALSE:
		buf_add_z(out, "false");
		break;
	case JSON_NULL:
		buf_add_z(out, "null");
		break;
	}
}

void
config_error_is(struct config_reader *r, const char *must, struct json_t *value)
{
	config_error_begin(r);
	buf_add_z(r->errors, must);
	buf_add_z(r->errors, ", is ");
	config_show(r->errors, value);
	buf_add_char(r->errors, '\n');
}

static size_t
min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many letters must be added, taken, changed or swapped with their neighbour to make B of A (case is free). */
static size_t
config_key_distance(struct str a, struct str b)
{
	size_t d[CONFIG_KEY_MAX + 1][CONFIG_KEY_MAX + 1];

	for (size_t i = 0; i <= a.n; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= b.n; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= a.n; i++)
		for (size_t j = 1; j <= b.n; j++) {
			char x = str_lower(a.p[i - 1]), y = str_lower(b.p[j - 1]);

			d[i][j] = min_of(min_of(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (x != y));
			if (i > 1 && j > 1 && x == str_lower(b.p[j - 2]) && y == str_lower(a.p[i - 2]))
				d[i][j] = min_of(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[a.n][b.n];
}

/* The rule that KEY most likely means, or NULL: at most two slips, one in names of up to four letters. */
static const struct config_rule *
config_key_meant(struct str key, const struct config_rule *rules)
{
	const struct config_rule *best = NULL;
	size_t best_distance = 3;

	if (key.n > CONFIG_KEY_MAX)
		return NULL;
	for (; rules->name.p; rules++) {
		size_t distance = config_key_distance(key, rules->name);

		if (distance < best_distance && (rules->name.n > 4 || distance < 2)) {
			best = rules;
			best_distance = distance;
		}
	}
	return best;
}

void
config_error_unknown(struct config_reader *r, struct str key, const struct config_rule *rules)
{
	const struct config_rule *meant = config_key_meant(key, rules);
	size_t mark = config_enter(r, key);

	if (meant)
		config_error(r, "unknown key; did you mean \"%s\"?", meant->name.p);
	else
		config_error(r, "unknown key");
	config_leave(r, mark);
}

void
config_error_syntax(struct config_reader *r, int line, int column, const char *text)
{
	struct str what = str_from(text);

	what = str_sub(what, 0, str_find(what, STR(" near ")));
	config_error(r, "line %d, column %d: %.*s", line, column, STR_ARG(what));
}

void
config_warn(struct config_reader *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	config_vprintf(&r->warnings, format, args);
	va_end(args);
	buf_add_char(&r->warnings, '\n');
}

void
config_list_names(struct buf *out, const struct str *names, size_t count)
{
	size_t shown = count > CONFIG_NAMES_SHOWN ? CONFIG_NAMES_SHOWN : count;

	for (size_t i = 0; i < shown; i++) {
		if (i > 0)
			buf_add_z(out, i + 1 == count ? " and " : ", ");
		buf_printf(out, "\"%.*s\"", STR_ARG(names[i]));
	}
	if (count > shown)
		buf_printf(out, " and %zu more", count - shown);
}
