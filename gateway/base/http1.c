/* Heads of requests and responses, and the framing they announce. */
#include "base/http1.h"

#include <stddef.h>
#include <string.h>

#include "base/http1_bytes.h"

/* What the fields of a head say about the message, gathered while they are split. */
struct facts {
	unsigned hosts, lengths, expects;	/* lines of these names */
	bool host_bad, length_bad, expect_bad;
	uint64_t length;
	unsigned coding_lines, chunked, other_codings;	/* of Transfer-Encoding */
	bool coding_bad;			/* an empty element, or something behind chunked */
	bool close, keep_alive, other_options;	/* of Connection */
};

const char *
http1_fault_text(enum http1_fault fault)
{
	static const char *const texts[] = {
		[HTTP1_OK] = "No fault",
		[HTTP1_SYNTAX] = "The start line or a field line is malformed",
		[HTTP1_BAD_HOST] = "HTTP/1.1 needs exactly one well-formed Host",
		[HTTP1_BAD_LENGTH] = "Content-Length is malformed or repeated",
		[HTTP1_BAD_CODING] = "Transfer-Encoding is malformed, comes with Content-Length or in HTTP/1.0, "
		    "or does not end in one chunked",
		[HTTP1_UNKNOWN_CODING] = "A transfer coding other than chunked is not implemented",
		[HTTP1_UNKNOWN_METHOD] = "The method is not implemented",
		[HTTP1_BAD_VERSION] = "The version is not HTTP/1.1",
		[HTTP1_BAD_EXPECTATION] = "The expectation is not 100-continue",
		[HTTP1_TARGET_TOO_LONG] = "The request target is too long",
		[HTTP1_HEAD_TOO_LARGE] = "The head is too large or has too many fields",
		[HTTP1_BAD_CHUNK] = "The chunked coding is malformed",
		[HTTP1_BODY_TOO_LARGE] = "The body is too large",
		[HTTP1_BAD_BODY_METHOD] = "A GET or HEAD may not have a body",
	};

	return texts[fault];
}

/* Forget an earlier message; the fields themselves are behind field_count and stay. */
static void
reset_head(struct http1_head *out)
{
	memset(out, 0, offsetof(struct http1_head, fields));
}

/* The line at AT without its CRLF; *NEXT is the place behind. False where no CRLF ends it. */
static bool
take_line(struct str head, size_t at, struct str *line, size_t *next)
{
	struct str rest = str_sub(head, at, head.n);
	size_t end = str_find_char(rest, '\n');

	if (end == rest.n || end == 0 || rest.p[end - 1] != '\r')
		return false;
	*line = str_sub(rest, 0, end - 1);
	*next = at + end + 1;
	return true;
}

/* Note a Content-Length: digits alone, at most 2^63 - 1, so that sums with it cannot overflow. */
static void
note_length(struct facts *facts, struct str value)
{
	facts->lengths++;
	if (!str_to_u64(value, &facts->length) || facts->length > INT64_MAX)
		facts->length_bad = true;
}

/* Note the codings of one Transfer-Encoding line; lines of the same name are one list (RFC 9110 5.3). */
static void
note_codings(struct facts *facts, struct str value)
{
	struct str coding;

	facts->coding_lines++;
	while (str_next(&value, ',', &coding)) {
		coding = str_trim(coding);
		if (coding.n == 0 || facts->chunked > 0)
			facts->coding_bad = true;
		if (str_eq_nocase(coding, STR("chunked")))
			facts->chunked++;
		else
			facts->other_codings++;
	}
}

/* Note the options of one Connection line: those that decide whether it lives on, and whether there are others. */
static void
note_connection(struct facts *facts, struct str value)
{
	struct str option;

	while (str_next(&value, ',', &option)) {
		option = str_trim(option);
		if (str_eq_nocase(option, STR("close")))
			facts->close = true;
		else if (str_eq_nocase(option, STR("keep-alive")))
			facts->keep_alive = true;
		else
			facts->other_options = true;
	}
}

/* Note a field that bears on framing; its length tells nearly all others apart at once. */
static void
note_field(struct facts *facts, const struct http1_field *field)
{
	switch (field->name.n) {
	case 4:
		if (str_eq_nocase(field->name, STR("Host"))) {
			facts->hosts++;
			facts->host_bad |= !http1_is_authority(field->value);
		}
		break;
	case 6:
		if (str_eq_nocase(field->name, STR("Expect"))) {
			facts->expects++;
			facts->expect_bad |= !str_eq_nocase(field->value, STR("100-continue"));
		}
		break;
	case 10:
		if (str_eq_nocase(field->name, STR("Connection")))
			note_connection(facts, field->value);
		break;
	case 14:
		if (str_eq_nocase(field->name, STR("Content-Length")))
			note_length(facts, field->value);
		break;
	case 17:
		if (str_eq_nocase(field->name, STR("Transfer-Encoding")))
			note_codings(facts, field->value);
		break;
	default:
		break;
	}
}

/* Split the field line at *AT in one pass: name, colon, value, CRLF. False where it is anything else. */
static bool
take_field(struct str head, size_t *at, struct http1_field *field)
{
	size_t i = *at, name = i, value;

	while (i < head.n && http1_byte_is(head.p[i], HTTP1_BYTE_TOKEN))
		i++;
	if (i == name || i == head.n || head.p[i] != ':')
		return false;
	value = ++i;
	i = http1_skip_text(head.p, i, head.n, HTTP1_BYTE_VALUE);
	if (head.n - i < 2 || head.p[i] != '\r' || head.p[i + 1] != '\n')
		return false;
	field->name = (struct str){ head.p + name, value - 1 - name };
	field->value = str_trim((struct str){ head.p + value, i - value });
	*at = i + 2;
	return true;
}

/* Split the fields from AT to the empty line, which must be the end of HEAD. */
static enum http1_fault
take_fields(struct str head, size_t at, struct http1_head *out, struct facts *facts)
{
	*facts = (struct facts){ 0 };
	while (!str_eq(str_sub(head, at, head.n), STR("\r\n"))) {
		struct http1_field field;

		if (!take_field(head, &at, &field))
			return HTTP1_SYNTAX;
		if (out->field_count == HTTP1_FIELDS_MAX)
			return HTTP1_HEAD_TOO_LARGE;
		note_field(facts, &field);
		out->fields[out->field_count++] = field;
	}
	/* "close" might be a field's name too; Keep-Alive is of this hop in any case. */
	out->names_fields = facts->close || facts->other_options;
	return HTTP1_OK;
}

/* Read "HTTP/1.x"; what calls itself HTTP but is not that is another version, all else is no HTTP. */
static enum http1_fault
take_version(struct str version, int *minor)
{
	if (!str_starts(version, STR("HTTP/")))
		return HTTP1_SYNTAX;
	for (size_t i = 0; i < version.n; i++)
		if (!http1_byte_is(version.p[i], HTTP1_BYTE_VISIBLE))
			return HTTP1_SYNTAX;
	if (version.n != 8 || !str_starts(version, STR("HTTP/1.")) || version.p[7] < '0' || version.p[7] > '9')
		return HTTP1_BAD_VERSION;
	*minor = version.p[7] - '0';
	return HTTP1_OK;
}

/* The framing that the fields announce, the same for requests and responses; HTTP1_NO_BODY where they do not. */
static enum http1_fault
find_framing(const struct facts *facts, struct http1_head *out)
{
	if (facts->lengths > 1 || facts->length_bad)
		return HTTP1_BAD_LENGTH;
	if (facts->lengths == 1) {
		out->framing = HTTP1_LENGTH;
		out->content_length = facts->length;
	}
	if (facts->coding_lines == 0)
		return HTTP1_OK;
	if (facts->lengths > 0 || out->minor == 0 || facts->coding_bad)
		return HTTP1_BAD_CODING;
	if (facts->other_codings > 0)
		return HTTP1_UNKNOWN_CODING;
	out->framing = HTTP1_CHUNKED;
	return HTTP1_OK;
}

/* Whether METHOD is one that this gateway has heard of; what may be done with it is the router's business. */
static bool
is_known_method(struct str method)
{
	static const struct str known[] = { STR_INIT("GET"), STR_INIT("POST"), STR_INIT("HEAD"), STR_INIT("DELETE"),
		STR_INIT("PATCH"), STR_INIT("PUT"), STR_INIT("OPTIONS") };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (str_eq(method, known[i]))
			return true;
	return false;
}

/* Whether TARGET is one in a form that METHOD may have (RFC 9112 3.2); METHOD is known. */
static bool
is_target(struct str method, struct str target)
{
	if (str_eq(target, STR("*")))
		return str_eq(method, STR("OPTIONS"));
	return str_starts(target, STR("/")) || str_starts_nocase(target, STR("http://")) ||
	    str_starts_nocase(target, STR("https://"));
}

/* Split a request line at its two spaces. */
static enum http1_fault
take_request_line(struct str line, const struct http1_limits *limits, struct http1_head *out)
{
	size_t space = str_find_char(line, ' ');
	struct str rest = str_sub(line, space + 1, line.n), method = str_sub(line, 0, space), target;
	enum http1_fault fault;

	if (!http1_is_token(method))
		return HTTP1_SYNTAX;
	out->method = method;
	if (method.n > HTTP1_METHOD_BYTES_MAX)
		return HTTP1_UNKNOWN_METHOD;
	target = str_sub(rest, 0, str_find_char(rest, ' '));
	/* No space is in it: the rest of what a line may have is visible. */
	if (http1_skip_text(target.p, 0, target.n, HTTP1_BYTE_LINE) < target.n || str_find_char(target, '#') < target.n)
		return HTTP1_SYNTAX;
	if (target.n == 0 || target.n == rest.n)
		return HTTP1_SYNTAX;
	out->target = target;
	fault = take_version(str_sub(rest, target.n + 1, rest.n), &out->minor);
	if (fault == HTTP1_OK && target.n > limits->target_bytes)
		return HTTP1_TARGET_TOO_LONG;
	return fault;
}

/* Whether the framing of a request announces a body that is not empty. */
static bool
has_body(const struct http1_head *head)
{
	return head->framing == HTTP1_CHUNKED || (head->framing == HTTP1_LENGTH && head->content_length > 0);
}

/* Judge a request whose lines are well-formed: target, Host, framing, then what it wants. */
static enum http1_fault
judge_request(const struct facts *facts, struct http1_head *out)
{
	bool known = is_known_method(out->method);
	bool bodyless = str_eq(out->method, STR("GET")) || str_eq(out->method, STR("HEAD"));
	enum http1_fault fault;

	if (known && !is_target(out->method, out->target))
		return HTTP1_SYNTAX;
	if (facts->hosts > 1 || facts->host_bad || (facts->hosts == 0 && out->minor > 0))
		return HTTP1_BAD_HOST;
	fault = find_framing(facts, out);
	if (fault != HTTP1_OK)
		return fault;
	if (!known)
		return HTTP1_UNKNOWN_METHOD;
	if (bodyless && has_body(out))
		return HTTP1_BAD_BODY_METHOD;
	if (out->minor > 0 && (facts->expect_bad || facts->expects > 1))
		return HTTP1_BAD_EXPECTATION;
	out->expect_continue = out->minor > 0 && facts->expects == 1 && has_body(out);
	out->keep_alive = out->minor > 0 && !facts->close;
	return HTTP1_OK;
}

enum http1_fault
http1_parse_request(struct str head, const struct http1_limits *limits, struct http1_head *out)
{
	struct facts facts;
	struct str line;
	size_t at;
	enum http1_fault fault;

	reset_head(out);
	if (!take_line(head, 0, &line, &at))
		return HTTP1_SYNTAX;
	fault = take_request_line(line, limits, out);
	if (fault != HTTP1_OK)
		return fault;
	if (head.n > limits->head_bytes)
		return HTTP1_HEAD_TOO_LARGE;
	fault = take_fields(head, at, out, &facts);
	return fault == HTTP1_OK ? judge_request(&facts, out) : fault;
}

/* Read "HTTP/1.x 202 Accepted"; the space before an empty reason may be missing, as it is in the wild. */
static enum http1_fault
take_status_line(struct str line, struct http1_head *out)
{
	size_t space = str_find_char(line, ' ');
	struct str rest = str_sub(line, space + 1, line.n);
	enum http1_fault fault = take_version(str_sub(line, 0, space), &out->minor);
	uint64_t status;

	if (fault != HTTP1_OK)
		return fault;
	if (rest.n < 3 || (rest.n > 3 && rest.p[3] != ' ') || !str_to_u64(str_sub(rest, 0, 3), &status) ||
	    status < 100 || status > 599)
		return HTTP1_SYNTAX;
	out->status = (int)status;
	out->reason = str_sub(rest, 4, rest.n);
	return http1_is_value(out->reason) ? HTTP1_OK : HTTP1_SYNTAX;
}

/* Find a response's body (RFC 9112 6.3) and whether its connection lives on. */
static enum http1_fault
judge_response(const struct facts *facts, struct str request_method, struct http1_head *out)
{
	bool bodyless = out->status < 200 || out->status == 204 || out->status == 304;
	/* A sender that announces a body where none can be may well send it. */
	bool doubtful = bodyless && out->status != 304 && (facts->coding_lines > 0 || facts->length > 0);
	enum http1_fault fault = find_framing(facts, out);

	if (fault != HTTP1_OK)
		return fault;
	if (bodyless || str_eq(request_method, STR("HEAD"))) {
		out->framing = HTTP1_NO_BODY;
		out->content_length = 0;
	} else if (out->framing == HTTP1_NO_BODY)
		out->framing = HTTP1_UNTIL_CLOSE;
	out->keep_alive = !facts->close && (out->minor > 0 || facts->keep_alive) && !doubtful &&
	    out->framing != HTTP1_UNTIL_CLOSE && out->status != 101;
	return HTTP1_OK;
}

enum http1_fault
http1_parse_response(struct str head, struct str request_method, const struct http1_limits *limits,
    struct http1_head *out)
{
	struct facts facts;
	struct str line;
	size_t at;
	enum http1_fault fault;

	reset_head(out);
	if (head.n > limits->head_bytes)
		return HTTP1_HEAD_TOO_LARGE;
	if (!take_line(head, 0, &line, &at))
		return HTTP1_SYNTAX;
	fault = take_status_line(line, out);
	if (fault == HTTP1_OK)
		fault = take_fields(head, at, out, &facts);
	return fault == HTTP1_OK ? judge_response(&facts, request_method, out) : fault;
}

const struct http1_field *
http1_find(const struct http1_head *head, struct str name)
{
	for (size_t i = 0; i < head->field_count; i++)
		if (str_eq_nocase(head->fields[i].name, name))
			return &head->fields[i];
	return NULL;
}

size_t
http1_count(const struct http1_head *head, struct str name)
{
	size_t count = 0;

	for (size_t i = 0; i < head->field_count; i++)
		if (str_eq_nocase(head->fields[i].name, name))
			count++;
	return count;
}

bool
http1_list_has(const struct http1_head *head, struct str name, struct str token)
{
	for (size_t i = 0; i < head->field_count; i++) {
		struct str rest = head->fields[i].value, part;

		if (!str_eq_nocase(head->fields[i].name, name))
			continue;
		while (str_next(&rest, ',', &part))
			if (str_eq_nocase(str_trim(part), token))
				return true;
	}
	return false;
}
