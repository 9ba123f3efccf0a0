/*
 * HTTP/1.1 grammar: heads, framing and chunked coding, as RFC 9112 has them, strictly.
 *
 * Pure functions over bytes: the front's guard and the upstream client both
 * parse with these, so that no two parsers can disagree. Everything that the RFC lets a
 * recipient repair is refused instead: bare LF, bare CR, NUL, obs-fold, space before a
 * colon, two Hosts, Content-Length with Transfer-Encoding, a repeated or listed
 * Content-Length, any coding but exactly one `chunked`. HTAB and obs-text in values pass;
 * 1.x is 1.1.
 */
#ifndef JOBGATE_BASE_HTTP1_H
#define JOBGATE_BASE_HTTP1_H

#include "base/str.h"

/* Room for so many fields in a head. A front allows its callers fewer, since a gateway adds some of its own on the way. */
#define HTTP1_FIELDS_MAX 128
/* Longer than any registered method (RFC 9110 16.1 has 17 at most): 501, also before the line's end. */
#define HTTP1_METHOD_BYTES_MAX 32

enum http1_fault {
	HTTP1_OK,
	HTTP1_SYNTAX,			/* 400: start line, field line, control byte, bare CR or LF, fold */
	HTTP1_BAD_HOST,			/* 400: none, two, or malformed on 1.1 */
	HTTP1_BAD_LENGTH,		/* 400: Content-Length malformed, repeated, listed, over UINT63 */
	HTTP1_BAD_CODING,		/* 400: coding beside Content-Length, on 1.0; chunked twice, not last */
	HTTP1_UNKNOWN_CODING,		/* 501: a transfer coding other than chunked */
	HTTP1_UNKNOWN_METHOD,		/* 501: not GET HEAD POST PUT PATCH DELETE OPTIONS (CONNECT, TRACE too) */
	HTTP1_BAD_VERSION,		/* 505: not HTTP/1.x with one digit */
	HTTP1_BAD_EXPECTATION,		/* 417: Expect other than 100-continue */
	HTTP1_TARGET_TOO_LONG,		/* 414 */
	HTTP1_HEAD_TOO_LARGE,		/* 431: bytes or number of fields */
	HTTP1_BAD_CHUNK,		/* 400: chunk size, extension or trailer line malformed or too long */
	HTTP1_BODY_TOO_LARGE,		/* 413 */
	HTTP1_BAD_BODY_METHOD,		/* 400: HEAD or GET with a body: Content-Length over 0, or chunked */
};

/* One English sentence for a fault, e.g. "Content-Length and Transfer-Encoding are both present". */
const char *http1_fault_text(enum http1_fault fault);

struct http1_field {
	struct str name, value;	/* value without surrounding OWS */
};

enum http1_framing {
	HTTP1_NO_BODY,
	HTTP1_LENGTH,		/* content_length bytes, may be 0 */
	HTTP1_CHUNKED,
	HTTP1_UNTIL_CLOSE,	/* responses only */
};

struct http1_head {
	struct str method, target;	/* requests */
	int status;			/* responses: 100 to 599 */
	struct str reason;		/* responses; never relayed */
	int minor;			/* of the peer's HTTP/1.minor */
	enum http1_framing framing;
	uint64_t content_length;	/* with HTTP1_LENGTH */
	bool keep_alive;		/* the peer lets the connection live on after this message (RFC 9112 9.3) */
	bool names_fields;		/* its Connection may name fields of this hop: it says more than keep-alive */
	bool expect_continue;		/* requests of 1.1 with a body to come: Expect: 100-continue */
	size_t field_count;
	struct http1_field fields[HTTP1_FIELDS_MAX];	/* in order, names as spelled */
};

struct http1_limits {
	size_t head_bytes;	/* start line, fields and the empty line together */
	size_t target_bytes;	/* requests */
};

/*
 * Incremental search for the end of a head. It sees each byte once, refuses at the first byte
 * that no head may contain (NUL, control byte other than HTAB, CR without LF, LF without CR),
 * and knows the limits, so that a slow or endless head costs nothing and says so early.
 */
struct http1_scan {
	size_t at;		/* bytes seen */
	size_t line_start;	/* of the line being scanned */
	bool cr;		/* the last byte was CR */
	bool first_line;	/* the start line is still being scanned */
	bool request;
};

void http1_scan_init(struct http1_scan *s, bool request);

/*
 * BYTES is the head from its first byte on (what was seen before, and more). Returns the length
 * of the complete head including its empty line, or 0 with *fault HTTP1_OK where more is needed,
 * or 0 with the fault. A request's single leading CRLF must have been dropped by the caller.
 * A first byte that begins a TLS handshake, or any other that begins no method, is a fault at once.
 */
size_t http1_scan_head(struct http1_scan *s, struct str bytes, const struct http1_limits *limits,
    enum http1_fault *fault);

/*
 * Parse a complete head (as found by http1_scan_head). The slices in OUT point into HEAD.
 * On a fault OUT->method, OUT->target and OUT->minor are set as far as they were understood and
 * framing is unusable: the connection must be closed. `keep_alive` is false for 1.0 requests.
 * Faults are reported in the order of the enum's meaning: syntax before framing before semantics.
 */
enum http1_fault http1_parse_request(struct str head, const struct http1_limits *limits, struct http1_head *out);

/*
 * The same for a response; REQUEST_METHOD decides about bodies (RFC 9112 6.3): HEAD, 1xx, 204 and 304
 * have none. Two different Content-Lengths, Content-Length with Transfer-Encoding, a coding other than
 * chunked, a status outside 100 to 599: faults. `keep_alive` false without framing (HTTP1_UNTIL_CLOSE).
 */
enum http1_fault http1_parse_response(struct str head, struct str request_method, const struct http1_limits *limits,
    struct http1_head *out);

/* The first field of that name (without case), or NULL. */
const struct http1_field *http1_find(const struct http1_head *head, struct str name);
/* How many fields of that name there are. */
size_t http1_count(const struct http1_head *head, struct str name);
/* Whether a comma-separated list field (all of its lines) has TOKEN, without case. */
bool http1_list_has(const struct http1_head *head, struct str name, struct str token);

/* RFC 9110 5.6.2 tchar, for names and methods; false for the empty slice. */
bool http1_is_token(struct str s);
/* A field value that may be sent: no control byte but HTAB; obs-text allowed. */
bool http1_is_value(struct str s);

/*
 * Host field or authority: a name of letters, digits and "-._~" (what no real name has, sub-delims and
 * percent-encodings, is refused), or an IPv6 address in brackets, with an optional port; no userinfo.
 */
bool http1_is_authority(struct str s);

/*
 * Decoder of chunked coding (RFC 9112 7.1): extensions of at most 256 bytes a chunk are ignored, trailers dropped;
 * both together are at most 8 KiB in a body. A fault lasts.
 */
struct http1_chunked {
	int state;		/* private */
	uint64_t left;		/* of the present chunk */
	size_t line_bytes;	/* of the present line */
	size_t digits;
	size_t trailer_bytes;
};

void http1_chunked_init(struct http1_chunked *c);

/*
 * Consume from *IN (advancing it) until a run of data is found, the body ends, or *IN is empty.
 * *DATA is the run found (a slice into *IN; empty where none), *DONE tells that the last chunk and the
 * trailers were consumed: what is left in *IN belongs to the next message. Call again while *IN has bytes and !*DONE.
 */
enum http1_fault http1_chunked_next(struct http1_chunked *c, struct str *in, struct str *data, bool *done);

#endif
