/* The command line of fabricsim. */
#ifndef FABRICSIM_SIM_OPTIONS_H
#define FABRICSIM_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "sim_fault.h"

struct sim_options {
	const char *listen;		/* HOST:PORT; port 0: a free one */
	const char *cert, *key;		/* PEM files */
	const char *ledger;		/* NULL: none is kept */
	const char *origin;		/* in front of the paths of Location and continuationUri */
	int64_t quota_requests;		/* 0: no quota */
	int64_t quota_window_us;
	bool sliding;			/* else fixed windows */
	int64_t phase_us;		/* the first fixed window ends so long after the start; 0: a whole window */
	int64_t latency_us;		/* between a request's last byte and its answer */
	int64_t job_us;			/* how long an instance lives before it is Completed */
	int64_t retry_after;		/* seconds, of a 202 */
	int64_t page;			/* instances in one page of a list */
	int64_t fault_retry_after;	/* seconds, of a 429 or 503 by fault */
	bool require_authorization;
	const char *revoked;		/* file of Authorization values that are refused, one a line, read at each request; NULL: none */
	uint64_t seed;
	struct sim_fault_plan faults;
};

/* Fill OPTIONS from the command line; on a usage error or --help it writes the text and ends the process (2 or 0). */
void sim_options_read(struct sim_options *options, int argc, char **argv);

#endif
