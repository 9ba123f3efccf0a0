/* The lines of the journal: built, read and checked. */
#include "io/journal_chain.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "base/jsonw.h"
#include "io/tls.h"

#define LINE_BEGIN "{\"v\":1,\"journal\":\""
#define PREV_KEY ",\"prev\":\""
#define HASH_KEY ",\"hash\":\""
/* `,"prev":"` 64 digits `"` and `,"hash":"` 64 digits `"}`: the exact form of every line's end. */
#define PREV_BYTES (sizeof(PREV_KEY) - 1 + JOURNAL_HASH_HEX + 1)
#define HASH_BYTES (sizeof(HASH_KEY) - 1 + JOURNAL_HASH_HEX + 2)

void
journal_head_init(struct journal_head *head)
{
	head->seq = 0;
	memset(head->hash, '0', JOURNAL_HASH_HEX);
}

void
journal_line_prefix(struct buf *out, struct str uuid, struct str instance)
{
	check(uuid.n == JOURNAL_UUID_BYTES);
	buf_add_z(out, LINE_BEGIN);
	buf_add(out, uuid);
	buf_add_z(out, "\",\"instance\":\"");
	jsonw_escape(out, instance);
	buf_add_z(out, "\",\"seq\":");
}

/* Write the hash of BYTES as hexadecimal digits. */
static void
line_hash(struct str bytes, char hex[JOURNAL_HASH_HEX])
{
	uint8_t digest[JOURNAL_HASH_HEX / 2];

	digest_sha256(bytes, digest);
	str_hex_encode(digest, sizeof(digest), hex);
}

void
journal_line_build(struct buf *out, struct str prefix, struct journal_head *head, struct wall_time time,
    struct str members)
{
	size_t start = out->n;
	char text[CLOCK_RFC3339_BYTES];

	clock_format_rfc3339(time, text);
	buf_add(out, prefix);
	buf_add_int(out, (int64_t)(head->seq + 1));
	buf_add_z(out, ",\"time\":\"");
	buf_add_z(out, text);
	buf_add_z(out, "\",");
	buf_add(out, members);
	buf_add_z(out, PREV_KEY);
	buf_add(out, (struct str){ head->hash, JOURNAL_HASH_HEX });
	buf_add_char(out, '"');
	line_hash(str_sub(buf_str(out), start, out->n), head->hash);
	head->seq++;
	buf_add_z(out, HASH_KEY);
	buf_add(out, (struct str){ head->hash, JOURNAL_HASH_HEX });
	buf_add_z(out, "\"}\n");
}

/* Whether S is 64 hexadecimal digits in lower case. */
static bool
hex_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (str_hex_value(s.p[i]) < 0 || (s.p[i] >= 'A' && s.p[i] <= 'F'))
			return false;
	return s.n == JOURNAL_HASH_HEX;
}

/* Take `,"KEY":"HEX"` off the end of what is in front of END bytes; false where it has another form. */
static bool
line_end_member(struct str part, struct str key, struct str *hex)
{
	*hex = str_sub(part, key.n, key.n + JOURNAL_HASH_HEX);
	return str_starts(part, key) && hex_valid(*hex);
}

/* Check the exact form of the line's end and give out PREV and HASH. */
static bool
line_end(struct str line, struct journal_line *out)
{
	struct str prev, hash;

	if (line.n < PREV_BYTES + HASH_BYTES)
		return false;
	hash = str_sub(line, line.n - HASH_BYTES, line.n);
	prev = str_sub(line, line.n - HASH_BYTES - PREV_BYTES, line.n - HASH_BYTES);
	return line_end_member(hash, STR(HASH_KEY), &out->hash) &&
	    str_eq(str_sub(hash, hash.n - 2, hash.n), STR("\"}")) &&
	    line_end_member(prev, STR(PREV_KEY), &out->prev) && prev.p[prev.n - 1] == '"';
}

/* Whether the hash at the line's end is that of the bytes in front of it. */
static bool
line_hash_matches(struct str line, struct str hash)
{
	char hex[JOURNAL_HASH_HEX];

	line_hash(str_sub(line, 0, line.n - HASH_BYTES), hex);
	return memcmp(hex, hash.p, JOURNAL_HASH_HEX) == 0;
}

bool
journal_line_whole(struct str line)
{
	struct journal_line l;

	return line_end(line, &l) && line_hash_matches(line, l.hash);
}

/* The first "time" of a line is its own: in the label before it quotes are escaped. */
bool
journal_line_time(struct str line, struct wall_time *time)
{
	static const char key[] = "\"time\":\"";
	const char *at = memmem(line.p, line.n, key, sizeof(key) - 1);
	size_t from = at ? (size_t)(at - line.p) + sizeof(key) - 1 : line.n;

	return line.n - from >= CLOCK_RFC3339_BYTES - 1 &&
	    clock_parse_rfc3339((struct str){ line.p + from, CLOCK_RFC3339_BYTES - 1 }, time);
}

bool
journal_uuid_valid(struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text.p[i] != '-' : str_hex_value(text.p[i]) < 0 || (text.p[i] >= 'A' && text.p[i] <= 'F'))
			return false;
	}
	return text.n == JOURNAL_UUID_BYTES;
}

/* The kind by its name; kinds that came later are events. */
static enum journal_kind
kind_from(struct str name)
{
	if (str_eq(name, STR("intent")))
		return JOURNAL_INTENT;
	if (str_eq(name, STR("outcome")))
		return JOURNAL_OUTCOME;
	if (str_eq(name, STR("refusal")))
		return JOURNAL_REFUSAL;
	return str_eq(name, STR("anchor")) ? JOURNAL_ANCHOR : JOURNAL_EVENT;
}

/* "2026-08-01T12:34:56.123456Z": digits and marks in their places. */
static bool
time_valid(struct str t)
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";

	for (size_t i = 0; i < t.n && i < sizeof(form) - 1; i++)
		if (form[i] == '0' ? t.p[i] < '0' || t.p[i] > '9' : t.p[i] != form[i])
			return false;
	return t.n == sizeof(form) - 1;
}

/* Read the next member, which must be KEY with a value of type WANT. */
static bool
scan_member(struct json_scan *s, const char *key, enum json_token want)
{
	return json_scan_next(s) == JSON_KEY && str_eq(s->text, str_from(key)) && json_scan_next(s) == want;
}

/* Read the members that every line begins with, in their order. */
static const char *
scan_begin(struct json_scan *s, struct journal_line *out)
{
	if (json_scan_next(s) != JSON_OBJECT || !scan_member(s, "v", JSON_NUMBER))
		return "it does not begin as a record does";
	if (!str_eq(s->text, STR("1")))
		return "its version is not 1";
	if (!scan_member(s, "journal", JSON_STRING) || !journal_uuid_valid(s->text))
		return "no journal UUID";
	out->uuid = s->text;
	if (!scan_member(s, "instance", JSON_STRING))
		return "no instance";
	if (!scan_member(s, "seq", JSON_NUMBER) || !str_to_u64(s->text, &out->seq))
		return "no seq";
	if (!scan_member(s, "time", JSON_STRING) || !time_valid(s->text))
		return "no time";
	if (!scan_member(s, "kind", JSON_STRING))
		return "no kind";
	out->kind = kind_from(s->text);
	return NULL;
}

/* Read the other members to the end; a request_id is kept, twice is refused. */
static const char *
scan_rest(struct json_scan *s, struct journal_line *out)
{
	bool id = false;

	for (;;) {
		enum json_token t = json_scan_next(s);

		if (t == JSON_FAULT)
			return "no JSON";
		if (t == JSON_END)
			return NULL;
		if (t != JSON_KEY || s->depth != 1 || !str_eq(s->text, STR("request_id")))
			continue;
		if (id)
			return "request_id twice";
		id = true;
		t = json_scan_next(s);
		if (t == JSON_STRING)
			out->request_id = s->text;
		else if (t != JSON_NULL)
			return "request_id is no string";
	}
}

const char *
journal_line_parse(struct str line, struct journal_line *out)
{
	struct json_scan s;
	const char *fault;

	*out = (struct journal_line){ .seq = 0 };
	if (!line_end(line, out))
		return "it does not end as a record does";
	if (!line_hash_matches(line, out->hash))
		return "its hash does not match";
	json_scan_init(&s, line);
	fault = scan_begin(&s, out);
	if (fault == NULL)
		fault = scan_rest(&s, out);
	if (fault == NULL && out->request_id.p == NULL && (out->kind == JOURNAL_INTENT || out->kind == JOURNAL_OUTCOME))
		fault = "no request_id";
	return fault;
}

const char *
journal_line_follows(const struct journal_line *line, const struct journal_head *head, struct str uuid)
{
	if (uuid.n > 0 && !str_eq(line->uuid, uuid))
		return "it belongs to another journal";
	if (line->seq <= head->seq)
		return "its seq comes again";
	if (line->seq != head->seq + 1)
		return "records are missing in front of it";
	if (memcmp(line->prev.p, head->hash, JOURNAL_HASH_HEX) != 0)
		return "its prev is not the hash of the record before";
	return NULL;
}

void
journal_head_set(struct journal_head *head, const struct journal_line *line)
{
	head->seq = line->seq;
	memcpy(head->hash, line->hash.p, JOURNAL_HASH_HEX);
}

/* Take KEY and the string behind it off the front of REST; false where they are not there, or the string has escapes. */
static bool
members_take(struct str *rest, struct str key, struct str *value)
{
	size_t end;

	if (!str_starts(*rest, key))
		return false;
	*rest = str_sub(*rest, key.n, rest->n);
	end = str_find_char(*rest, '"');
	*value = str_sub(*rest, 0, end);
	*rest = str_sub(*rest, end + 1, rest->n);
	return str_find_char(*value, '\\') == value->n;
}

struct str
journal_members_request_id(struct str members)
{
	const struct str none = { NULL, 0 };
	struct str kind, id;

	if (!members_take(&members, STR("\"kind\":\""), &kind) || !members_take(&members, STR(",\"request_id\":\""), &id))
		return none;
	return id;
}

struct str
journal_line_request_id(struct str line)
{
	struct json_scan s;
	enum json_token t;

	json_scan_init(&s, line);
	while ((t = json_scan_next(&s)) != JSON_END && t != JSON_FAULT)
		if (t == JSON_KEY && s.depth == 1 && str_eq(s.text, STR("request_id")))
			return json_scan_next(&s) == JSON_STRING ? s.text : (struct str){ NULL, 0 };
	return (struct str){ NULL, 0 };
}

bool
journal_tail_is_torn(struct str tail)
{
	struct str begin = STR(LINE_BEGIN);
	size_t n = tail.n < begin.n ? tail.n : begin.n;

	/* Behind a whole record only its newline can come: another byte there was put in its place. */
	return memcmp(tail.p, begin.p, n) == 0 && !journal_line_whole(str_sub(tail, 0, tail.n - 1));
}
