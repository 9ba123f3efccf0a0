/*
 * What the gateway would make of a request, in words: for `jobgate check --explain` and whoever asks why.
 *
 * The same functions decide here and in a worker; only what needs a body, a secret or the time is left out.
 */
#ifndef JOBGATE_RULES_EXPLAIN_H
#define JOBGATE_RULES_EXPLAIN_H

#include "rules/config.h"

enum explain_verdict {
	EXPLAIN_PERMITTED,
	EXPLAIN_REFUSED,
	EXPLAIN_NO_CALLER,	/* no caller has that name */
};

/*
 * Append to OUT, line by line, what METHOD on URL (absolute, with whatever authority, or "/v1/...") is for the caller called
 * NAME: what is asked, which rule decides, what goes upstream, which limits it is counted on.
 */
enum explain_verdict explain(const struct config *config, struct str name, struct str method, struct str url, struct buf *out);

#endif
