/*
 * Which fields cross the gate, in both directions (RFC 9110 7.6, RFC 9112, contract "Requests").
 */
#ifndef JOBGATE_RULES_HEADER_H
#define JOBGATE_RULES_HEADER_H

#include "base/http1.h"

/*
 * Whether a caller's field goes upstream. Never: hop-by-hop fields and those that Connection names, Host,
 * Content-Length, Transfer-Encoding, Expect, Forwarded, X-Forwarded-*, X-Real-IP, Cookie, X-Jobgate-*, X-API-Key,
 * X-Request-Id, Prefer, Max-Forwards, Idempotency-Key, Via; '_' counts as '-' in these names. Authorization passes
 * (pass-through); Via is rebuilt by the caller of this.
 */
bool header_goes_upstream(const struct http1_head *request, const struct http1_field *field);

/*
 * Whether an upstream's field is relayed as it stands. Never: hop-by-hop fields and those that Connection
 * names, Content-Length, Transfer-Encoding, X-Request-Id, Server-Timing, Proxy-Status, Alt-Svc (it
 * would lead callers round the gate); Set-Cookie stays as is (it is the upstream's).
 */
bool header_is_relayed(const struct http1_head *response, const struct http1_field *field);

/* Whether the request has passed this gateway before: a Via with our pseudonym (RFC 9110 7.6.3). */
bool header_is_loop(const struct http1_head *request, struct str pseudonym);

/* At most 128 visible ASCII characters: a client_request_id that may be kept. */
bool header_is_request_id(struct str value);

#endif
