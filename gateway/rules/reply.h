/*
 * The gateway's own errors: one table from a refusal to its status, errorCode, retriability and Proxy-Status
 * (contract, "Requests"; Fabric's ErrorResponse; RFC 9209).
 */
#ifndef JOBGATE_RULES_REPLY_H
#define JOBGATE_RULES_REPLY_H

#include "base/buf.h"
#include "base/http1.h"

enum refusal {
	REFUSAL_NONE,
	REFUSAL_BAD_REQUEST,		/* 400 JobgateBadRequest */
	REFUSAL_BAD_JOB_TYPE,		/* 400 InvalidJobType */
	REFUSAL_BAD_PARAMETER,		/* 400 InvalidParameter */
	REFUSAL_UNAUTHENTICATED,	/* 401 JobgateUnauthenticated */
	REFUSAL_FORBIDDEN,		/* 403 InsufficientPrivileges */
	REFUSAL_NO_ROUTE,		/* 404 EntityNotFound */
	REFUSAL_BAD_METHOD,		/* 405 JobgateMethodNotAllowed */
	REFUSAL_TIMEOUT,		/* 408 JobgateTimeout */
	REFUSAL_OUTCOME_UNKNOWN,	/* 409 JobgateOutcomeUnknown */
	REFUSAL_KEY_IN_FLIGHT,		/* 409 JobgateIdempotencyInFlight */
	REFUSAL_KEY_MISMATCH,		/* 422 JobgateIdempotencyMismatch */
	REFUSAL_BODY_TOO_LARGE,		/* 413 JobgateTooLarge */
	REFUSAL_TARGET_TOO_LONG,	/* 414 JobgateTooLarge */
	REFUSAL_MEDIA_TYPE,		/* 415 JobgateBadRequest: on the admin listener only */
	REFUSAL_BAD_EXPECTATION,	/* 417 JobgateBadRequest */
	REFUSAL_QUOTA,			/* 429 TooManyRequestsForJobs, detail JobgateIdentityQuota */
	REFUSAL_QUEUE_FULL,		/* 429 ..., detail JobgateQueueFull */
	REFUSAL_THROTTLED,		/* 429 ..., detail JobgateUpstreamThrottled */
	REFUSAL_HEAD_TOO_LARGE,		/* 431 JobgateTooLarge */
	REFUSAL_NOT_IMPLEMENTED,	/* 501 JobgateBadRequest */
	REFUSAL_UPSTREAM,		/* 502 JobgateUpstreamUnavailable */
	REFUSAL_CREDENTIAL,		/* 502 JobgateCredentialRefused */
	REFUSAL_UPSTREAM_TIMEOUT,	/* 504 JobgateUpstreamUnavailable */
	REFUSAL_UNAVAILABLE,		/* 503 JobgateUnavailable */
	REFUSAL_VERSION,		/* 505 JobgateBadRequest */
	REFUSAL_CALLER_GONE,		/* 0 JobgateCallerGone: in records only */
	REFUSAL_COUNT
};

int refusal_status(enum refusal r);
struct str refusal_code(enum refusal r);		/* the errorCode */
struct str refusal_detail_code(enum refusal r);	/* of moreDetails[0]; p NULL where none of its own */
bool refusal_is_retriable(enum refusal r);
struct str refusal_proxy_error(enum refusal r);	/* RFC 9209 2.3 error type, e.g. "connection_timeout"; "http_request_error"... */
enum refusal refusal_from_http1(enum http1_fault fault);

struct reply_detail { struct str code, message; };

/*
 * Append Fabric's ErrorResponse: {"requestId","errorCode","message","moreDetails":[...],"isRetriable"}. Without
 * DETAILS a refusal that has a detail code gets one detail with that code and MESSAGE.
 */
void reply_error_body(struct buf *out, enum refusal r, struct str request_id, struct str message,
    const struct reply_detail *details, size_t detail_count);

/* Standard reason phrase of a status, never empty. */
const char *reply_reason(int status);

#endif
