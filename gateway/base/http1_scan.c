/* The search for the end of a head, as its bytes arrive. */
#include "base/http1.h"

#include <string.h>

#include "base/http1_bytes.h"

/* " HTTP/1.1" without its CRLF: what may follow a target. */
#define VERSION_BYTES 9

void
http1_scan_init(struct http1_scan *s, bool request)
{
	*s = (struct http1_scan){ .first_line = true, .request = request };
}

/*
 * Say early that a request line, finished or not, is none that would be served: its method, its
 * target or what follows is too long already.
 */
static enum http1_fault
check_request_line(struct str line, const struct http1_limits *limits)
{
	size_t method = str_find_char(str_sub(line, 0, HTTP1_METHOD_BYTES_MAX + 1), ' ');
	struct str rest = str_sub(line, method + 1, line.n);
	size_t target;

	if (method > HTTP1_METHOD_BYTES_MAX)
		return HTTP1_UNKNOWN_METHOD;
	if (rest.n <= limits->target_bytes)
		return HTTP1_OK;
	target = str_find_char(str_sub(rest, 0, limits->target_bytes + 1), ' ');
	if (target > limits->target_bytes)
		return HTTP1_TARGET_TOO_LONG;
	/* Its CRLF may be there already; everything longer names no version. */
	return rest.n - target > VERSION_BYTES + 2 ? HTTP1_SYNTAX : HTTP1_OK;
}

/* The fault of a head that is not complete: too much already, or none yet. */
static enum http1_fault
check_unfinished(const struct http1_scan *s, struct str bytes, const struct http1_limits *limits)
{
	enum http1_fault fault = HTTP1_OK;

	if (s->first_line && s->request)
		fault = check_request_line(str_sub(bytes, 0, s->at), limits);
	if (fault != HTTP1_OK)
		return fault;
	return s->at >= limits->head_bytes ? HTTP1_HEAD_TOO_LARGE : HTTP1_OK;
}

/* Whether C may begin a line: a method, "HTTP/", a field name, or the CR of the empty line. */
static bool
may_begin_line(const struct http1_scan *s, char c)
{
	if (s->first_line)
		return s->request ? http1_byte_is(c, HTTP1_BYTE_TOKEN) : c == 'H';
	return c == '\r' || http1_byte_is(c, HTTP1_BYTE_TOKEN);
}

/* Skip the bytes from AT on that are ordinary in this line; returns the place of the first other. */
static size_t
skip_ordinary(const struct http1_scan *s, struct str bytes, size_t at, size_t end)
{
	return http1_skip_text(bytes.p, at, end, s->first_line && s->request ? HTTP1_BYTE_LINE : HTTP1_BYTE_VALUE);
}

/* Take the CR and the LF at s->at, as far as they have come. *ENDED: they ended the empty line. False where either stands alone. */
static bool
take_line_end(struct http1_scan *s, struct str bytes, size_t end, bool *ended)
{
	if (!s->cr) {
		if (bytes.p[s->at] != '\r')
			return false;
		s->cr = true;
		if (++s->at == end)
			return true;
	}
	if (bytes.p[s->at] != '\n')
		return false;
	s->at++;
	s->cr = false;
	*ended = s->at - s->line_start == 2;
	s->line_start = s->at;
	s->first_line = false;
	return true;
}

size_t
http1_scan_head(struct http1_scan *s, struct str bytes, const struct http1_limits *limits, enum http1_fault *fault)
{
	size_t end = bytes.n < limits->head_bytes ? bytes.n : limits->head_bytes;
	bool ended = false;

	while (s->at < end) {
		bool first_line = s->first_line;

		*fault = HTTP1_SYNTAX;
		if (s->at == s->line_start && !may_begin_line(s, bytes.p[s->at]))
			return 0;
		if (!s->cr)
			s->at = skip_ordinary(s, bytes, s->at, end);
		if (s->at == end)
			break;
		if (!take_line_end(s, bytes, end, &ended))
			return 0;
		*fault = HTTP1_OK;
		if (ended)
			return s->at;
		/* The same answer as if the line had come slowly. */
		if (first_line && !s->first_line && s->request)
			*fault = check_request_line(str_sub(bytes, 0, s->at), limits);
		if (*fault != HTTP1_OK)
			return 0;
	}
	*fault = check_unfinished(s, bytes, limits);
	return 0;
}
