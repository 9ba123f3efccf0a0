/*
 * Credentials of callers: whether one that is known may be used now and from there, and why others fail.
 *
 * Who asks is told no more than that it is not known; the reason is for the log and the metrics of who runs the gateway.
 */
#ifndef JOBGATE_RULES_CREDENTIAL_H
#define JOBGATE_RULES_CREDENTIAL_H

#include "base/buf.h"
#include "rules/config.h"

/* Why a request was not authenticated: the `reason` of jobgate_authentication_failures_total and of the log. */
enum credential_failure {
	CREDENTIAL_GOOD,
	CREDENTIAL_MISSING,	/* none was shown */
	CREDENTIAL_UNKNOWN,	/* one was shown that is nobody's */
	CREDENTIAL_EXPIRED,	/* a caller's, but its time is over */
	CREDENTIAL_NETWORK,	/* a caller's, but shown from elsewhere */
	CREDENTIAL_CONFLICT,	/* two were shown that disagree */
	CREDENTIAL_INVALID,	/* a token that is not in order; the log's `token refused` says what of it */
	CREDENTIAL_CERTIFICATE,	/* a client certificate was shown that is not to be believed */
	CREDENTIAL_FAILURES
};
struct str credential_failure_name(enum credential_failure failure);

/* Whether KEY may be used at NOW by a client at FROM. */
enum credential_failure credential_judge_key(const struct config_key *key, struct wall_time now,
    const struct network_address *from);

/* Keys that end within this are named at start and by `jobgate check`: a month is time to hand out new ones. */
#define CREDENTIAL_WARN_US (INT64_C(30) * 86400 * CLOCK_SECOND)

/*
 * Append a sentence and a newline for each key that has expired at NOW or will within CREDENTIAL_WARN_US; beyond twenty the
 * others are counted in one.
 */
void credential_warn_expiry(const struct config *config, struct wall_time now, struct buf *out);

#endif
