/* Which fields cross the gate: two tables and the Connection list. */
#include "rules/header.h"

/* Longer ids are somebody's payload: the contract's number. */
#define REQUEST_ID_BYTES_MAX 128

enum header_stop {
	STOPS_REQUEST = 1,	/* made anew, answered here, or nothing the upstream should believe */
	STOPS_ANSWER = 2,	/* made anew; Alt-Svc speaks of the upstream's origin and would lead callers round the gate (RFC 7838 2) */
	STOPS_HOP = 3,		/* of this hop alone, whether Connection names it or not (RFC 9110 7.6.1; HTTP2-Settings: RFC 7540 3.2.1) */
};

struct header_name {
	struct str name;
	enum header_stop stops;
};

/* A list with its end. */
#define NAMES(...) (const struct header_name[]){ __VA_ARGS__, { STR_INIT(""), 0 } }

/*
 * The names that do not pass, in lower case, by their length: nearly every field's is told apart from them by that and its first
 * letter.
 */
static const struct header_name *const names[] = {
	[2] = NAMES({ STR_INIT("te"), STOPS_HOP }),
	[3] = NAMES({ STR_INIT("via"), STOPS_REQUEST }),
	[4] = NAMES({ STR_INIT("host"), STOPS_REQUEST }),
	[6] = NAMES({ STR_INIT("expect"), STOPS_REQUEST }, { STR_INIT("cookie"), STOPS_REQUEST }, { STR_INIT("prefer"), STOPS_REQUEST }),
	[7] = NAMES({ STR_INIT("trailer"), STOPS_HOP }, { STR_INIT("upgrade"), STOPS_HOP }, { STR_INIT("cookie2"), STOPS_REQUEST },
	    { STR_INIT("alt-svc"), STOPS_ANSWER }),
	[9] = NAMES({ STR_INIT("forwarded"), STOPS_REQUEST }, { STR_INIT("x-real-ip"), STOPS_REQUEST },
	    { STR_INIT("x-api-key"), STOPS_REQUEST }),
	[10] = NAMES({ STR_INIT("connection"), STOPS_HOP }, { STR_INIT("keep-alive"), STOPS_HOP }),
	[11] = NAMES({ STR_INIT("x-forwarded"), STOPS_REQUEST }),
	[12] = NAMES({ STR_INIT("x-request-id"), STOPS_REQUEST | STOPS_ANSWER }, { STR_INIT("max-forwards"), STOPS_REQUEST }),
	[13] = NAMES({ STR_INIT("server-timing"), STOPS_ANSWER }),
	[14] = NAMES({ STR_INIT("content-length"), STOPS_REQUEST | STOPS_ANSWER }, { STR_INIT("http2-settings"), STOPS_HOP }),
	[15] = NAMES({ STR_INIT("idempotency-key"), STOPS_REQUEST }),
	[17] = NAMES({ STR_INIT("transfer-encoding"), STOPS_HOP }),
};

/* Proxy-Connection, Proxy-Authorization, Proxy-Authenticate and whatever a proxy says to its neighbour, Proxy-Status too. */
static const struct header_name prefixes[] = {
	{ STR_INIT("proxy-"), STOPS_HOP }, { STR_INIT("x-forwarded-"), STOPS_REQUEST }, { STR_INIT("x-jobgate-"), STOPS_REQUEST },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Compare N bytes of a field's name with one in lower case, as gateways behind us may: '_' is '-' to those that make variables of
 * fields.
 */
static bool
is_same_name(const char *name, const char *lower, size_t n)
{
	if (str_same_nocase(name, lower, n))
		return true;
	for (size_t i = 0; i < n; i++)
		if ((name[i] == '_' ? '-' : str_lower(name[i])) != lower[i])
			return false;
	return true;
}

/* In which directions a field of that name, which is not empty, does not pass; 0: in none. */
static unsigned
header_stops(struct str name)
{
	char first = str_lower(name.p[0]);

	if (name.n < COUNT(names) && names[name.n] != NULL)
		for (const struct header_name *is = names[name.n]; is->name.n > 0; is++)
			if (first == is->name.p[0] && is_same_name(name.p, is->name.p, name.n))
				return is->stops;
	for (size_t i = 0; i < COUNT(prefixes); i++)
		if (first == prefixes[i].name.p[0] && name.n >= prefixes[i].name.n && is_same_name(name.p, prefixes[i].name.p, prefixes[i].name.n))
			return prefixes[i].stops;
	return 0;
}

/* Whether Connection names a field, so that it ends at this hop. */
static bool
is_named_by_connection(const struct http1_head *head, struct str name)
{
	return head->names_fields && http1_list_has(head, STR("Connection"), name);
}

bool
header_goes_upstream(const struct http1_head *request, const struct http1_field *field)
{
	return (header_stops(field->name) & STOPS_REQUEST) == 0 && !is_named_by_connection(request, field->name);
}

bool
header_is_relayed(const struct http1_head *response, const struct http1_field *field)
{
	return (header_stops(field->name) & STOPS_ANSWER) == 0 && !is_named_by_connection(response, field->name);
}

/* The received-by of one element, "1.1 NAME (comment)". */
static struct str
find_received_by(struct str element)
{
	struct str rest = str_trim(element);
	size_t end = 0;

	while (rest.n > 0 && rest.p[0] != ' ' && rest.p[0] != '\t')
		rest = str_sub(rest, 1, rest.n);
	rest = str_trim(rest);
	while (end < rest.n && rest.p[end] != ' ' && rest.p[end] != '\t' && rest.p[end] != '(')
		end++;
	return str_sub(rest, 0, end);
}

/*
 * Whether one Via line names PSEUDONYM. Commas in comments separate too: a caller's comment without an end
 * must not hide what was appended behind it.
 */
static bool
names_pseudonym(struct str value, struct str pseudonym)
{
	struct str element;

	while (str_next(&value, ',', &element))
		if (str_eq_nocase(find_received_by(element), pseudonym))
			return true;
	return false;
}

bool
header_is_loop(const struct http1_head *request, struct str pseudonym)
{
	for (size_t i = 0; i < request->field_count; i++)
		if (str_eq_nocase(request->fields[i].name, STR("Via")) &&
		    names_pseudonym(request->fields[i].value, pseudonym))
			return true;
	return false;
}

bool
header_is_request_id(struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] <= ' ' || value.p[i] > '~')
			return false;
	return value.n > 0 && value.n <= REQUEST_ID_BYTES_MAX;
}
