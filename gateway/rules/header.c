/* Which fields cross the gate: two tables and the Connection list. */
#include "rules/header.h"

/* Longer ids are somebody's payload: the contract's number. */
#define REQUEST_ID_BYTES_MAX 128

/* Of this hop alone, whether Connection names them or not (RFC 9110 7.6.1; HTTP2-Settings: RFC 7540 3.2.1). */
static const struct str hop_names[] = { STR_INIT("Connection"), STR_INIT("Keep-Alive"), STR_INIT("TE"),
	STR_INIT("Trailer"), STR_INIT("Transfer-Encoding"), STR_INIT("Upgrade"), STR_INIT("HTTP2-Settings") };

/* Proxy-Connection, Proxy-Authorization, Proxy-Authenticate and whatever a proxy says to its neighbour. */
static const struct str hop_prefixes[] = { STR_INIT("Proxy-") };

/* Made anew, answered here, or nothing the upstream should believe. */
static const struct str request_names[] = { STR_INIT("Host"), STR_INIT("Content-Length"), STR_INIT("Expect"),
	STR_INIT("Via"), STR_INIT("Forwarded"), STR_INIT("X-Forwarded"), STR_INIT("X-Real-IP"), STR_INIT("Cookie"),
	STR_INIT("Cookie2"), STR_INIT("X-API-Key"), STR_INIT("X-Request-Id"), STR_INIT("Prefer"),
	    STR_INIT("Max-Forwards"),
	STR_INIT("Idempotency-Key") };
static const struct str request_prefixes[] = { STR_INIT("X-Forwarded-"), STR_INIT("X-Jobgate-") };

/* Made anew; Alt-Svc speaks of the upstream's origin and would lead callers round the gate (RFC 7838 2). */
static const struct str response_names[] = { STR_INIT("Content-Length"), STR_INIT("X-Request-Id"),
	STR_INIT("Server-Timing"), STR_INIT("Proxy-Status"), STR_INIT("Alt-Svc") };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Compare names as gateways behind us may: '_' is '-' to those that make variables of fields. */
static bool
is_same_name(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		char c = a.p[i] == '_' ? '-' : str_lower(a.p[i]);

		if (c != str_lower(b.p[i]))
			return false;
	}
	return true;
}

/* Whether NAME is one of NAMES. */
static bool
is_one_of(struct str name, const struct str *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_same_name(name, names[i]))
			return true;
	return false;
}

/* Whether NAME begins with one of PREFIXES. */
static bool
begins_with_one_of(struct str name, const struct str *prefixes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (name.n >= prefixes[i].n && is_same_name(str_sub(name, 0, prefixes[i].n), prefixes[i]))
			return true;
	return false;
}

/* Whether a field ends at this hop: by its name, or because Connection names it. */
static bool
is_hop_by_hop(const struct http1_head *head, struct str name)
{
	return is_one_of(name, hop_names, COUNT(hop_names)) ||
	    begins_with_one_of(name, hop_prefixes, COUNT(hop_prefixes)) ||
	    http1_list_has(head, STR("Connection"), name);
}

bool
header_goes_upstream(const struct http1_head *request, const struct http1_field *field)
{
	return !is_one_of(field->name, request_names, COUNT(request_names)) &&
	    !begins_with_one_of(field->name, request_prefixes, COUNT(request_prefixes)) &&
	    !is_hop_by_hop(request, field->name);
}

bool
header_is_relayed(const struct http1_head *response, const struct http1_field *field)
{
	return !is_one_of(field->name, response_names, COUNT(response_names)) && !is_hop_by_hop(response, field->name);
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
