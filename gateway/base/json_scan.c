/* JSON reader without a tree. */
#include "base/json_scan.h"

#include <string.h>

#include "base/check.h"
#include "base/eight.h"
#include "base/utf8.h"

/* What may stand at `at`, white space aside. */
enum {
	EXPECT_VALUE,		/* at the top, behind a colon, behind a comma of an array */
	EXPECT_VALUE_OR_END,	/* behind '[' */
	EXPECT_KEY,		/* behind a comma of an object */
	EXPECT_KEY_OR_END,	/* behind '{' */
	EXPECT_MORE,		/* behind a member or an element: a comma or the end */
	EXPECT_NOTHING,		/* behind the value */
};

_Static_assert(JSON_SCAN_DEPTH_MAX <= 32, "`arrays` has one bit per depth");

void
json_scan_init(struct json_scan *s, struct str input)
{
	*s = (struct json_scan){ .input = input, .expect = EXPECT_VALUE };
}

/* Stop for good at the present byte. */
static enum json_token
scan_fault(struct json_scan *s, const char *fault)
{
	s->fault = fault;
	s->text = (struct str){ NULL, 0 };
	return JSON_FAULT;
}

/* Return the byte at `at`, or NUL at the end: NUL is nowhere allowed, so the two need no telling apart. */
static char
scan_peek(const struct json_scan *s)
{
	return s->at < s->input.n ? s->input.p[s->at] : '\0';
}

/* Pass over white space (RFC 8259 2). */
static void
scan_space(struct json_scan *s)
{
	while (s->at < s->input.n) {
		char c = s->input.p[s->at];

		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			return;
		s->at++;
	}
}

/* Tell whether the innermost open thing is an array. */
static bool
scan_in_array(const struct json_scan *s)
{
	return s->arrays >> (s->depth - 1) & 1;
}

/* Note that a value is complete. */
static enum json_token
scan_value_done(struct json_scan *s, enum json_token token)
{
	s->expect = s->depth ? EXPECT_MORE : EXPECT_NOTHING;
	return token;
}

/* Go down into an object or array. */
static enum json_token
scan_open(struct json_scan *s, bool array)
{
	if (s->depth == JSON_SCAN_DEPTH_MAX)
		return scan_fault(s, "depth over 32");
	s->at++;
	s->arrays = (s->arrays & ~(UINT32_C(1) << s->depth)) | (uint32_t)array << s->depth;
	s->depth++;
	s->expect = array ? EXPECT_VALUE_OR_END : EXPECT_KEY_OR_END;
	return array ? JSON_ARRAY : JSON_OBJECT;
}

/* Come up out of the innermost object or array, whose closing bracket has been seen. */
static enum json_token
scan_close(struct json_scan *s)
{
	enum json_token token = scan_in_array(s) ? JSON_ARRAY_END : JSON_OBJECT_END;

	s->at++;
	s->depth--;
	return scan_value_done(s, token);
}

/* Read the four hexadecimal digits of a `\u` at the front of REST; -1 where there are none. */
static long
unicode_escape(struct str rest)
{
	long value = 0;

	if (rest.n < 6 || rest.p[0] != '\\' || rest.p[1] != 'u')
		return -1;
	for (size_t i = 2; i < 6; i++) {
		int digit = str_hex_value(rest.p[i]);

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

static bool
is_high_surrogate(long unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static bool
is_low_surrogate(long unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Return the length of the escape at the front of REST, or 0 with what is wrong with it. */
static size_t
scan_escape(struct str rest, const char **fault)
{
	long unit;

	if (rest.n >= 2 && rest.p[1] != '\0' && strchr("\"\\/bfnrt", rest.p[1]) != NULL)
		return 2;
	*fault = "a broken escape in a string";
	if ((unit = unicode_escape(rest)) < 0)
		return 0;
	*fault = "the character \\u0000 in a string";
	if (unit == 0)
		return 0;
	*fault = "a lone surrogate in a string";
	if (is_low_surrogate(unit))
		return 0;
	if (!is_high_surrogate(unit))
		return 6;
	return is_low_surrogate(unicode_escape(str_sub(rest, 6, rest.n))) ? 12 : 0;
}

/* Return the length of what stands at the front of REST inside a string and is no plain ASCII, or 0 with the fault. */
static size_t
scan_special(struct json_scan *s, struct str rest, const char **fault)
{
	if (rest.p[0] == '\\') {
		s->escaped = true;
		return scan_escape(rest, fault);
	}
	*fault = "a control character in a string";
	if ((unsigned char)rest.p[0] < 0x20)
		return 0;
	*fault = "bytes that are no UTF-8 in a string";
	return utf8_length(rest);
}

/* Find the end of the run of plain ASCII that begins at FROM. */
static size_t
scan_plain(struct str input, size_t from)
{
	for (; input.n - from >= 8; from += 8) {
		uint64_t word = eight_load(input.p + from);
		uint64_t special = eight_not_plain(word) | eight_is(word, '"') | eight_is(word, '\\');

		if (special != 0)
			return from + eight_first(special);
	}
	while (from < input.n) {
		unsigned char c = (unsigned char)input.p[from];

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
		from++;
	}
	return from;
}

/* Read a string whose opening quote has been seen into `text`; false on a fault. */
static bool
scan_string(struct json_scan *s)
{
	size_t start = s->at + 1;
	const char *fault = NULL;

	s->at = scan_plain(s->input, start);
	while (s->at < s->input.n && s->input.p[s->at] != '"') {
		size_t n = scan_special(s, str_sub(s->input, s->at, s->input.n), &fault);

		if (n == 0) {
			scan_fault(s, fault);
			return false;
		}
		s->at = scan_plain(s->input, s->at + n);
	}
	if (s->at == s->input.n) {
		scan_fault(s, "a string without end");
		return false;
	}
	s->text = str_sub(s->input, start, s->at);
	s->at++;
	return true;
}

/* Read a key and its colon. */
static enum json_token
scan_key(struct json_scan *s)
{
	if (scan_peek(s) != '"')
		return scan_fault(s, s->at < s->input.n ? "something that is no key in an object" :
		    "an object without end");
	if (!scan_string(s))
		return JSON_FAULT;
	scan_space(s);
	if (scan_peek(s) != ':')
		return scan_fault(s, "no colon behind a key");
	s->at++;
	s->expect = EXPECT_VALUE;
	return JSON_KEY;
}

/* Pass over decimal digits; false where there is none. */
static bool
scan_digits(struct json_scan *s)
{
	size_t start = s->at;

	while (scan_peek(s) >= '0' && scan_peek(s) <= '9')
		s->at++;
	return s->at > start;
}

/* Pass over a fraction and an exponent where there are any; false where one is broken. */
static bool
scan_fraction(struct json_scan *s)
{
	if (scan_peek(s) == '.') {
		s->at++;
		if (!scan_digits(s))
			return false;
	}
	if (scan_peek(s) != 'e' && scan_peek(s) != 'E')
		return true;
	s->at++;
	if (scan_peek(s) == '+' || scan_peek(s) == '-')
		s->at++;
	return scan_digits(s);
}

/* Read a number (RFC 8259 6); what may not stand behind it is found by the next call. */
static enum json_token
scan_number(struct json_scan *s)
{
	size_t start = s->at;

	if (scan_peek(s) == '-')
		s->at++;
	if (scan_peek(s) == '0')
		s->at++;
	else if (!scan_digits(s))
		return scan_fault(s, "a malformed number");
	if (!scan_fraction(s))
		return scan_fault(s, "a malformed number");
	s->text = str_sub(s->input, start, s->at);
	return scan_value_done(s, JSON_NUMBER);
}

/* Read `true`, `false` or `null`, or say why nothing can be read here. */
static enum json_token
scan_word(struct json_scan *s)
{
	static const struct {
		struct str word;
		enum json_token token;
	} words[] = {
		{ STR_INIT("true"), JSON_TRUE }, { STR_INIT("false"), JSON_FALSE }, { STR_INIT("null"), JSON_NULL },
	};
	struct str rest = str_sub(s->input, s->at, s->input.n);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_starts(rest, words[i].word)) {
			s->at += words[i].word.n;
			return scan_value_done(s, words[i].token);
		}
	if (rest.n == 0)
		return scan_fault(s, "the end where a value should be");
	if (str_starts(rest, STR("\xef\xbb\xbf")))
		return scan_fault(s, "a byte order mark");
	return scan_fault(s, "something that is no value");
}

/* Read the beginning of a value, or all of it where it is a scalar. */
static enum json_token
scan_value(struct json_scan *s)
{
	char c = scan_peek(s);

	if (c == '{' || c == '[')
		return scan_open(s, c == '[');
	if (c == '"')
		return scan_string(s) ? scan_value_done(s, JSON_STRING) : JSON_FAULT;
	if (c == '-' || (c >= '0' && c <= '9'))
		return scan_number(s);
	return scan_word(s);
}

/* Read what stands behind a member or an element: the end of its object or array, or a comma and the next one. */
static enum json_token
scan_more(struct json_scan *s)
{
	bool array = scan_in_array(s);
	char c = scan_peek(s);

	if (c == (array ? ']' : '}'))
		return scan_close(s);
	if (c != ',')
		return scan_fault(s, s->at < s->input.n ? "no comma or end behind a value" :
		    array ? "an array without end" : "an object without end");
	s->at++;
	scan_space(s);
	s->expect = array ? EXPECT_VALUE : EXPECT_KEY;
	return array ? scan_value(s) : scan_key(s);
}

enum json_token
json_scan_next(struct json_scan *s)
{
	char c;

	s->text = (struct str){ NULL, 0 };
	s->escaped = false;
	if (s->fault)
		return JSON_FAULT;
	scan_space(s);
	c = scan_peek(s);
	switch (s->expect) {
	case EXPECT_MORE:
		return scan_more(s);
	case EXPECT_KEY_OR_END:
		return c == '}' ? scan_close(s) : scan_key(s);
	case EXPECT_KEY:
		return scan_key(s);
	case EXPECT_VALUE_OR_END:
		return c == ']' ? scan_close(s) : scan_value(s);
	case EXPECT_VALUE:
		return scan_value(s);
	default:
		return s->at == s->input.n ? JSON_END : scan_fault(s, "bytes behind the value");
	}
}

bool
json_scan_skip(struct json_scan *s)
{
	unsigned outside = s->depth - 1;
	enum json_token token = JSON_NULL;

	check(s->depth > 0);
	while (s->depth > outside && token != JSON_FAULT)
		token = json_scan_next(s);
	return token != JSON_FAULT;
}

/* Write CODE in UTF-8; returns the length. */
static size_t
put_utf8(long code, char *out)
{
	size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	out[0] = (char)(lead[n] | code);
	return n;
}

/* Undo the escape at the front of REST, which the scanner has passed; *USED is its length. Returns what was written. */
static size_t
undo_escape(struct str rest, char *out, size_t *used)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	long unit = unicode_escape(rest), low;
	const char *hit;

	check(rest.n >= 2);
	if (unit < 0) {
		*used = 2;
		hit = strchr(from, rest.p[1]);
		*out = hit ? to[hit - from] : rest.p[1];
		return 1;
	}
	*used = 6;
	if (!is_high_surrogate(unit))
		return put_utf8(unit, out);
	low = unicode_escape(str_sub(rest, 6, rest.n));
	check(is_low_surrogate(low));
	*used = 12;
	return put_utf8(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
}

size_t
json_unescape(struct str text, char *out)
{
	size_t n = 0;

	while (text.n) {
		size_t plain = str_find_char(text, '\\'), used = 0;

		memmove(out + n, text.p, plain);
		n += plain;
		text = str_sub(text, plain, text.n);
		if (text.n)
			n += undo_escape(text, out + n, &used);
		text = str_sub(text, used, text.n);
	}
	return n;
}
