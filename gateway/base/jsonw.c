/* JSON writer. */
#include "base/jsonw.h"

#include "base/utf8.h"

/* Write the separator and, inside an object, the key. */
static void
jsonw_begin(struct jsonw *w, const char *key)
{
	if (w->comma)
		buf_add_char(w->out, ',');
	w->comma = true;
	if (key) {
		buf_add_char(w->out, '"');
		buf_add_z(w->out, key);
		buf_add(w->out, STR("\":"));
	}
}

void
jsonw_object(struct jsonw *w, const char *key)
{
	jsonw_begin(w, key);
	buf_add_char(w->out, '{');
	w->comma = false;
}

void
jsonw_end_object(struct jsonw *w)
{
	buf_add_char(w->out, '}');
	w->comma = true;
}

void
jsonw_array(struct jsonw *w, const char *key)
{
	jsonw_begin(w, key);
	buf_add_char(w->out, '[');
	w->comma = false;
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

#define EACH_BYTE(value) (UINT64_MAX / 255 * (value))

/* Not 0 where a byte of WORD is 0 ("Bit Twiddling Hacks", S. E. Anderson). */
static inline uint64_t
jsonw_zero_bytes(uint64_t word)
{
	return (word - EACH_BYTE(1)) & ~word & EACH_BYTE(0x80);
}

/* Whether the eight bytes at P stand for themselves: most of what is written are identifiers and times. */
static inline bool
jsonw_plain_word(const char *p)
{
	uint64_t word, odd;

	memcpy(&word, p, sizeof(word));
	odd = word | ((word - EACH_BYTE(0x20)) & ~word);	/* not ASCII, or below space */
	odd |= jsonw_zero_bytes(word ^ EACH_BYTE('"')) | jsonw_zero_bytes(word ^ EACH_BYTE('\\'));
	odd |= jsonw_zero_bytes(word ^ EACH_BYTE(0x7f));
	return (odd & EACH_BYTE(0x80)) == 0;
}

/* How many bytes at the front of S stand for themselves. */
static size_t
jsonw_plain_length(struct str s)
{
	size_t i = 0;

	while (s.n - i >= 8 && jsonw_plain_word(s.p + i))
		i += 8;
	while (i < s.n && (unsigned char)s.p[i] >= 0x20 && (unsigned char)s.p[i] < 0x7f && s.p[i] != '"' && s.p[i] != '\\')
		i++;
	return i;
}

void
jsonw_escape(struct buf *out, struct str value)
{
	for (size_t i = 0; i < value.n;) {
		struct str rest = str_sub(value, i, value.n);
		size_t plain = jsonw_plain_length(rest), n;

		buf_add(out, str_sub(rest, 0, plain));	/* nearly always all of it */
		i += plain;
		if (i == value.n)
			break;
		rest = str_sub(value, i, value.n);
		n = utf8_length(rest);

		if (n == 1)
			jsonw_escape_ascii(out, rest.p[0]);
		else if (n > 1)
			buf_add(out, str_sub(rest, 0, n));
		else
			buf_add_z(out, "\\ufffd");
		i += n ? n : 1;
	}
}

void
jsonw_string(struct jsonw *w, const char *key, struct str value)
{
	jsonw_begin(w, key);
	buf_add_char(w->out, '"');
	jsonw_escape(w->out, value);
	buf_add_char(w->out, '"');
}

void
jsonw_string_max(struct jsonw *w, const char *key, struct str value, size_t max)
{
	jsonw_string(w, key, utf8_cut(value, max));
}

void
jsonw_string_or_null(struct jsonw *w, const char *key, struct str value)
{
	if (value.p)
		jsonw_string(w, key, value);
	else
		jsonw_null(w, key);
}

void
jsonw_int(struct jsonw *w, const char *key, int64_t value)
{
	jsonw_begin(w, key);
	buf_add_int(w->out, value);
}

void
jsonw_bool(struct jsonw *w, const char *key, bool value)
{
	jsonw_begin(w, key);
	buf_add_z(w->out, value ? "true" : "false");
}

void
jsonw_null(struct jsonw *w, const char *key)
{
	jsonw_begin(w, key);
	buf_add_z(w->out, "null");
}

void
jsonw_raw(struct jsonw *w, const char *key, struct str value)
{
	jsonw_begin(w, key);
	buf_add(w->out, value);
}
