/*
 * One HTTP exchange with a URL on a loop's thread, off the hot path: for keys and tokens, seldom.
 *
 * https is verified like the upstream; http is plain TCP, for endpoints of the own machine (IMDS, App Service). No redirect is
 * followed, nothing is sent twice, no connection is kept. What was sent and received is wiped from our memory at the end.
 */
#ifndef JOBGATE_IO_FETCH_H
#define JOBGATE_IO_FETCH_H

#include "base/buf.h"
#include "base/http1.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/tls.h"

struct fetch_request {
	struct str method, url;			/* url without userinfo */
	const struct http1_field *fields;	/* besides Host, Content-Length, Connection and User-Agent */
	size_t field_count;
	struct str body;
	struct str ca_file;			/* of https; empty: the system's */
	const struct tls_client *trust;		/* believe whom this one believes instead, so that no file is read; NULL: by ca_file */
	struct str proxy;			/* of https: "http://[user:password@]host:port"; empty: none. http goes without one */
	int64_t timeout_us;			/* resolve to answer */
	size_t body_bytes_max;			/* of the answer */
};

struct fetch_result {
	int status;			/* 0: none */
	const struct http1_head *head;	/* NULL where there is no status */
	struct str body;
	const char *error;		/* a sentence without any of the request; NULL where there is a status */
};

struct fetch;

/*
 * Begin; all of REQUEST is copied. ON_DONE(arg, result) runs once on LOOP's thread, which is the caller's, never inside fetch_start, not
 * after fetch_cancel; RESULT is valid until it returns. It may call fetch_cancel.
 */
struct fetch *fetch_start(struct loop *loop, struct resolver *resolver, const struct fetch_request *request,
    void (*on_done)(void *arg, const struct fetch_result *result), void *arg);

/* End it without ON_DONE, or free one that has ended. NULL is nothing. */
void fetch_cancel(struct fetch **fetch);

#endif
