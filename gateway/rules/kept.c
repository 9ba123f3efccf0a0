/* Kept answers: "202 ERRORCODE\nName: value\n...". */
#include "rules/kept.h"

#include "base/jsonw.h"

/* A line beside its name and value. */
#define KEPT_LINE 3
#define KEPT_FIELDS_MAX 100
#define KEPT_CODE_MAX 128
/* The first line: the status, a space, the code. */
#define KEPT_FIRST_BYTES (5 + KEPT_CODE_MAX)

/* What clients of this API read (reference: fabric.md 3 and 6). */
static const struct str needed[] = { STR_INIT("Location"), STR_INIT("Retry-After"), STR_INIT("RequestId"), STR_INIT("x-ms-job-id"),
	STR_INIT("x-ms-public-api-error-code"), STR_INIT("WWW-Authenticate") };

/* Whether clients of this API read that field. */
static bool
kept_is_needed(struct str name)
{
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (str_eq_nocase(name, needed[i]))
			return true;
	return false;
}

/* Whether a field tells of the body or of the moment. */
static bool
kept_is_of_body(struct str name)
{
	static const struct str names[] = { STR_INIT("ETag"), STR_INIT("Last-Modified"), STR_INIT("Accept-Ranges"),
		STR_INIT("Digest"), STR_INIT("Repr-Digest"), STR_INIT("Transfer-Encoding") };

	if (str_starts_nocase(name, STR("Content-")))
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq_nocase(name, names[i]))
			return true;
	return false;
}

/* Whether FIELD of an answer is kept, where only those that are NEEDED are, or all. */
static bool
kept_keeps(const struct http1_field *field, bool has_body, bool only_needed)
{
	if (str_eq_nocase(field->name, STR("Date")) || str_eq_nocase(field->name, STR("Content-Length")))
		return false;
	if (has_body && kept_is_of_body(field->name))
		return false;
	return !only_needed || kept_is_needed(field->name);
}

/* How many bytes the fields take that are kept. */
static size_t
kept_bytes(const struct kept_answer *answer, bool has_body)
{
	size_t n = 0;

	for (size_t i = 0; i < answer->field_count; i++)
		if (kept_keeps(&answer->fields[i], has_body, false))
			n += answer->fields[i].name.n + answer->fields[i].value.n + KEPT_LINE;
	return n;
}

/* The part of an error code that fits in its line: the upstream's body may say anything. */
static struct str
kept_code(struct str code)
{
	size_t n = 0;

	while (n < code.n && n < KEPT_CODE_MAX && (unsigned char)code.p[n] >= 0x20)
		n++;
	return str_sub(code, 0, n);
}

void
kept_write(struct buf *out, const struct kept_answer *answer, bool has_body)
{
	struct str code = kept_code(answer->error_code);
	size_t start = out->n, wanted = kept_bytes(answer, has_body);
	bool only_needed;

	buf_room(out, KEPT_FIRST_BYTES + (wanted < KEPT_BYTES_MAX ? wanted : KEPT_BYTES_MAX));	/* memory is taken once */
	buf_add_int(out, answer->status);
	buf_add_char(out, ' ');
	buf_add(out, code);
	buf_add_char(out, '\n');
	only_needed = out->n - start + wanted > KEPT_BYTES_MAX;
	for (size_t i = 0; i < answer->field_count; i++) {
		const struct http1_field *field = &answer->fields[i];

		if (!kept_keeps(field, has_body, only_needed)
		    || out->n - start + field->name.n + field->value.n + KEPT_LINE > KEPT_BYTES_MAX)
			continue;
		buf_add(out, field->name);
		buf_add(out, STR(": "));
		buf_add(out, field->value);
		buf_add_char(out, '\n');
	}
}

bool
kept_read(struct arena *arena, struct str text, struct kept_answer *out)
{
	struct http1_field *fields = arena_alloc(arena, KEPT_FIELDS_MAX * sizeof(*fields));
	struct str line;
	uint64_t status;

	if (!str_next(&text, '\n', &line) || line.n < 4 || line.p[3] != ' ' || !str_to_u64(str_sub(line, 0, 3), &status) || status < 200)
		return false;
	*out = (struct kept_answer){ (int)status, str_sub(line, 4, line.n), fields, 0 };
	while (str_next(&text, '\n', &line) && line.n > 0 && out->field_count < KEPT_FIELDS_MAX) {
		size_t colon = str_find(line, STR(": "));

		if (colon == 0 || colon == line.n)
			return false;
		fields[out->field_count++] = (struct http1_field){ str_sub(line, 0, colon), str_sub(line, colon + 2, line.n) };
	}
	return true;
}

void
kept_error_body(struct buf *out, const struct kept_answer *answer, struct str request_id)
{
	struct jsonw w = { .out = out };
	struct buf message = BUF_EMPTY;

	buf_printf(&message, "The upstream answered the first request %d; its words were not kept.", answer->status);
	jsonw_object(&w, NULL);
	jsonw_string(&w, "requestId", request_id);
	jsonw_string(&w, "errorCode", answer->error_code.n ? answer->error_code : STR("JobgateReplayed"));
	jsonw_string(&w, "message", buf_str(&message));
	jsonw_bool(&w, "isRetriable", false);
	jsonw_end_object(&w);
	buf_fini(&message);
}
