/* JSON writer. */
#include "base/jsonw.h"

#include <string.h>

#include "base/eight.h"

/* Write the separator and, inside an object, the key; returns where MORE bytes, for which there is room, go. */
static char *
jsonw_begin(struct jsonw *w, struct str key, size_t more)
{
	char *start = buf_room(w->out, key.n + 4 + more), *p = start;

	if (w->comma)
		*p++ = ',';
	w->comma = true;
	if (key.p) {
		*p++ = '"';
		p = mempcpy(p, key.p, key.n);
		*p++ = '"';
		*p++ = ':';
	}
	w->out->n += (size_t)(p - start);
	return p;
}

void
jsonw_put_raw(struct jsonw *w, struct str key, struct str value)
{
	char *p = jsonw_begin(w, key, value.n);

	if (value.n)
		memcpy(p, value.p, value.n);
	w->out->n += value.n;
}

void
jsonw_put_open(struct jsonw *w, struct str key, char bracket)
{
	*jsonw_begin(w, key, 1) = bracket;
	w->out->n++;
	w->comma = false;
}

void
jsonw_end_object(struct jsonw *w)
{
	buf_add_char(w->out, '}');
	w->comma = true;
}

void
jsonw_end_array(struct jsonw *w)
{
	buf_add_char(w->out, ']');
	w->comma = true;
}

/* Append one ASCII byte, escaped where JSON wants it. */
static void
jsonw_escape_ascii(struct buf *out, char c)
{
	if (c == '"' || c == '\\') {
		buf_add_char(out, '\\');
		buf_add_char(out, c);
	} else if ((unsigned char)c < 0x20 || c == 0x7f) {
		buf_printf(out, "\\u%04x", (unsigned)c);
	} else {
		buf_add_char(out, c);
	}
}

/* Copy eight bytes, and mark those that do not stand for themselves. */
static inline uint64_t
jsonw_copy_eight(char *out, const char *p)
{
	uint64_t word = eight_load(p);

	eight_store(out, word);
	return eight_not_text(word) | eight_is(word, '"') | eight_is(word, '\\');
}

/* Whether one byte stands for itself. */
static bool
jsonw_is_plain(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/*
 * Copy the bytes at the front of S that stand for themselves to OUT, which has room for all of S; returns how many. Most of what is
 * written are identifiers and times: they are looked at while they are copied, and are done at once.
 */
static size_t
jsonw_copy_plain(char *out, struct str s)
{
	uint64_t odd = 0;
	size_t i = 0;

	for (; s.n - i >= 8; i += 8)
		if ((odd = jsonw_copy_eight(out + i, s.p + i)) != 0)
			return i + eight_first(odd);
	if (i > 0 && i < s.n) {
		i = s.n - 8;	/* the last eight, of which some are done already */
		odd = jsonw_copy_eight(out + i, s.p + i);
		return odd ? i + eight_first(odd) : s.n;
	}
	for (; i < s.n && jsonw_is_plain(s.p[i]); i++)
		out[i] = s.p[i];
	return i;
}

/* Append what stands at the front of S and not for itself; returns how many bytes of S that are. */
static size_t
jsonw_escape_one(struct buf *out, struct str s)
{
	size_t n = utf8_length(s);

	if (n == 1)
		jsonw_escape_ascii(out, s.p[0]);
	else if (n > 1)
		buf_add(out, str_sub(s, 0, n));
	else
		buf_add_z(out, "\\ufffd");
	return n ? n : 1;
}

void
jsonw_escape(struct buf *out, struct str value)
{
	while (value.n > 0) {
		size_t plain = jsonw_copy_plain(buf_room(out, value.n), value);

		out->n += plain;
		value = str_sub(value, plain, value.n);	/* nearly always nothing is left */
		if (value.n > 0)
			value = str_sub(value, jsonw_escape_one(out, value), value.n);
	}
}

size_t
jsonw_put_string(struct jsonw *w, struct str key, struct str value)
{
	char *p = jsonw_begin(w, key, value.n + 2);
	size_t plain = jsonw_copy_plain(p + 1, value), start = ++w->out->n;

	*p = '"';
	w->out->n += plain;
	if (plain < value.n)	/* hardly ever */
		jsonw_escape(w->out, str_sub(value, plain, value.n));
	buf_add_char(w->out, '"');
	return w->out->n - 1 - start;
}

void
jsonw_put_int(struct jsonw *w, struct str key, int64_t value)
{
	jsonw_begin(w, key, STR_INT_BYTES);
	buf_add_int(w->out, value);
}
