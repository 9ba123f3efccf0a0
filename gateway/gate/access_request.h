/*
 * How a credential is turned into a request to its token endpoint (fabric.md 7). Reads secrets, keys and token files each time, so that new
 * ones are used without a restart: for main's thread.
 */
#ifndef JOBGATE_GATE_ACCESS_REQUEST_H
#define JOBGATE_GATE_ACCESS_REQUEST_H

#include "io/fetch.h"
#include "rules/config.h"

#define ACCESS_FIELDS_MAX 3

struct access_request {
	struct fetch_request fetch;	/* its slices point into what follows, and into the credential */
	struct http1_field fields[ACCESS_FIELDS_MAX];
	struct buf url, body;		/* owned */
};

/* Fill OUT; false with a sentence in ERROR, without any of a secret. Either way OUT is to be wiped. */
bool access_request_make(const struct config_credential *credential, struct wall_time now, struct access_request *out,
    struct buf *error);
void access_request_wipe(struct access_request *request);

/* Whether what CREDENTIAL names is there and fits: what a start and a reload demand. False with a sentence in ERROR. */
bool access_request_check(const struct config_credential *credential, struct buf *error);

/* All of CONFIG's; the sentence says whose it is. */
bool access_request_check_all(const struct config *config, struct buf *error);

#endif
