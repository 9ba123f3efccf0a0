/*
 * The ledger: one JSON line for each request as it arrived, written at once by one write(2).
 *
 * {"time","connection","method","target","headers":[["name","value"],...],"body_bytes","body_sha256","status",
 * "fault","complete"}.
 * A byte of 0x80 or more stands for itself as the character of that number (Latin-1), so that nothing is lost.
 * `status` is what is answered, 0 where nothing is; `complete` is false where the connection ended within the request.
 */
#ifndef FABRICSIM_SIM_LEDGER_H
#define FABRICSIM_SIM_LEDGER_H

#include "base/clock.h"
#include "base/http1.h"

struct sim_ledger;

/* FILE is appended to, made if missing; NULL: nothing is kept. Ends the process where it cannot be opened. */
struct sim_ledger *sim_ledger_new(const char *file);
void sim_ledger_free(struct sim_ledger **ledger);

struct sim_ledger_entry {
	struct wall_time time;
	uint64_t connection;		/* number of the connection, from 1 */
	const struct http1_head *head;	/* fields may be missing where the head was malformed */
	struct str body;
	int status;
	const char *fault;		/* name, or the sentence about a malformed request */
	bool complete;
};

void sim_ledger_write(struct sim_ledger *ledger, const struct sim_ledger_entry *entry);

#endif
