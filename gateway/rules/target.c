/* The strict split of a request target. */
#include "rules/target.h"

#include <string.h>

#include "base/http1.h"

/* The byte at *AT, %XX read as one, and *AT moved behind it; -1 for a broken or NUL encoding. */
static int
take_byte(struct str raw, size_t *at)
{
	int high, low;

	if (raw.p[*at] != '%')
		return (unsigned char)raw.p[(*at)++];
	if (raw.n - *at < 3)
		return -1;
	high = str_hex_value(raw.p[*at + 1]);
	low = str_hex_value(raw.p[*at + 2]);
	*at += 3;
	return high < 0 || low < 0 || (high | low) == 0 ? -1 : high << 4 | low;
}

bool
target_decode(struct arena *arena, struct str raw, struct str *out)
{
	char *bytes;
	size_t n = 0;

	*out = raw;
	if (str_find_char(raw, '%') == raw.n)
		return true;
	bytes = arena_alloc(arena, raw.n);
	for (size_t at = 0; at < raw.n;) {
		int byte = take_byte(raw, &at);

		if (byte < 0)
			return false;
		bytes[n++] = (char)byte;
	}
	*out = (struct str){ bytes, n };
	return true;
}

enum { IN_PATH = 1, IN_QUERY = 2 };

/*
 * Where each byte may stand as it is, one row for 16: visible ASCII in a query but for '#', in a path without what RFC 3986 has in none,
 * "<>\^`{|} (a backslash is a slash to some). tests/unit/test_target.c holds it against that.
 */
static const uint8_t target_bytes[256] = {
	[0x20] = 0, 3, 2, 0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	[0x30] = 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 3, 2, 3,
	[0x40] = 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	[0x50] = 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 3, 2, 3,
	[0x60] = 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	[0x70] = 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 3, 0,
};

/* Whether all of S may stand as it is WHERE. */
static bool
is_plain(struct str s, unsigned where)
{
	for (const char *p = s.p, *end = s.p + s.n; p < end; p++)
		if ((target_bytes[(uint8_t)*p] & where) == 0)
			return false;
	return true;
}

/* What is wrong with a path segment, or NULL. Judged decoded, since the upstream will decode it. */
static const char *
check_segment(struct str raw)
{
	size_t bytes = 0, dots = 0;

	if (str_find_char(raw, '%') == raw.n)	/* as nearly always; what else is looked for stands plain in no path */
		return str_eq(raw, STR(".")) || str_eq(raw, STR("..")) ? "The path has a dot segment" : NULL;
	for (size_t at = 0; at < raw.n; bytes++) {
		int byte = take_byte(raw, &at);

		if (byte < 0)
			return "The path has a broken percent-encoding";
		if (byte < ' ' || byte == 0x7f)
			return "The path has an encoded control byte";
		if (byte == '/' || byte == '\\')
			return "The path has an encoded slash or backslash";
		dots += byte == '.';
	}
	return bytes > 0 && bytes == dots && bytes <= 2 ? "The path has a dot segment" : NULL;
}

/* Split the path behind its first slash; only the last segment may be empty (a trailing slash). */
static const char *
split_path(struct target *out)
{
	struct str rest = str_sub(out->path, 1, out->path.n), segment;

	if (!is_plain(out->path, IN_PATH))
		return "The path has a byte that must be percent-encoded";
	while (str_next(&rest, '/', &segment)) {
		const char *fault = check_segment(segment);

		if (fault != NULL)
			return fault;
		if (segment.n == 0 && rest.p != NULL)
			return "The path has an empty segment";
		if (out->segment_count == TARGET_SEGMENTS_MAX)
			return "The path has too many segments";
		out->segments[out->segment_count++] = segment;
	}
	return NULL;
}

/* Split one parameter at its first '='. */
static bool
split_parameter(struct arena *arena, struct str raw, struct target_parameter *out)
{
	size_t equals = str_find_char(raw, '=');

	out->raw = raw;
	out->value = (struct str){ NULL, 0 };
	if (!target_decode(arena, str_sub(raw, 0, equals), &out->key))
		return false;
	return equals == raw.n || target_decode(arena, str_sub(raw, equals + 1, raw.n), &out->value);
}

/* Split the query at '&' alone; an empty query has no parameters. */
static const char *
split_query(struct arena *arena, struct target *out)
{
	struct str rest = out->query, raw;

	if (!is_plain(out->query, IN_QUERY))
		return "The query has a byte that must be percent-encoded";
	if (rest.n == 0)
		return NULL;
	while (str_next(&rest, '&', &raw)) {
		if (out->parameter_count == TARGET_PARAMETERS_MAX)
			return "The query has too many parameters";
		if (!split_parameter(arena, raw, &out->parameters[out->parameter_count++]))
			return "The query has a broken percent-encoding";
	}
	return NULL;
}

const char *
target_split(struct arena *arena, struct str target, struct target *out)
{
	size_t question = str_find_char(target, '?');
	const char *fault;

	out->path = str_sub(target, 0, question);
	out->query = (struct str){ NULL, 0 };
	out->segment_count = out->parameter_count = 0;
	if (!str_starts(target, STR("/")))
		return "The target does not begin with a slash";
	fault = split_path(out);
	if (fault != NULL || question == target.n)
		return fault;
	out->query = str_sub(target, question + 1, target.n);
	return split_query(arena, out);
}

bool
target_split_absolute(struct str target, struct str *authority, struct str *rest)
{
	struct str behind;
	size_t end = 0;

	if (str_starts_nocase(target, STR("http://")))
		behind = str_sub(target, 7, target.n);
	else if (str_starts_nocase(target, STR("https://")))
		behind = str_sub(target, 8, target.n);
	else
		return false;
	while (end < behind.n && strchr("/?#", behind.p[end]) == NULL)
		end++;
	if (end < behind.n && behind.p[end] != '/')
		return false;
	*authority = str_sub(behind, 0, end);
	*rest = end < behind.n ? str_sub(behind, end, behind.n) : STR("/");
	return target_is_authority(*authority);
}

bool
target_is_authority(struct str s)
{
	return http1_is_authority(s);
}
