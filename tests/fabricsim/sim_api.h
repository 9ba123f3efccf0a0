/*
 * The simulated Job Scheduler API: a request in, an answer out (fabric.md 1 to 4).
 *
 * Knows nothing of connections; quota and faults stand before it.
 */
#ifndef FABRICSIM_SIM_API_H
#define FABRICSIM_SIM_API_H

#include "base/http1.h"
#include "sim_jobs.h"
#include "sim_options.h"
#include "sim_reply.h"

struct sim_api {
	const struct sim_options *options;	/* borrowed */
	struct sim_jobs *jobs;			/* borrowed */
};

/* Execute a request and fill REPLY (initialised). */
void sim_api_answer(struct sim_api *api, const struct http1_head *head, struct str body, struct wall_time now,
    struct sim_reply *reply);

#endif
