/*
 * Faults: what fabricsim does wrong on purpose, at which rate, or at a request's own wish
 * (its field `X-Fabricsim-Fault: NAME`).
 */
#ifndef FABRICSIM_SIM_FAULT_H
#define FABRICSIM_SIM_FAULT_H

#include "base/str.h"

enum sim_fault_kind {
	SIM_FAULT_NONE,
	SIM_FAULT_DROP,		/* the whole request is read and executed, then the connection is reset */
	SIM_FAULT_STALL,	/* executed, never answered */
	SIM_FAULT_GARBAGE,	/* executed, answered with bytes that are no HTTP */
	SIM_FAULT_HALF,		/* executed, half of the answer, then a clean close */
	SIM_FAULT_SLOW,		/* executed, answered byte by byte */
	SIM_FAULT_EARLY_CLOSE,	/* closed after the head: the body is not read, nothing is executed */
	SIM_FAULT_CLOSE,	/* answered well, then closed without having said so */
	SIM_FAULT_HINTS,	/* a 100 and a 103 before the answer */
	SIM_FAULT_EXTRA,	/* a second answer behind the answer, which nobody asked for */
	SIM_FAULT_STATUS,	/* answered with an error status */
};

struct sim_fault {
	enum sim_fault_kind kind;
	int status;		/* with SIM_FAULT_STATUS */
};

#define SIM_FAULT_RULES_MAX 16

struct sim_fault_rule {
	struct sim_fault fault;
	double rate;		/* 0 to 1 */
	uint64_t nth;		/* instead of a rate: strikes this one of its requests, the first is 1; 0: goes by the rate */
	uint64_t seen;		/* requests that it could have struck so far */
	struct str method;	/* the only one it strikes; empty: all */
};

struct sim_fault_plan {
	struct sim_fault_rule rules[SIM_FAULT_RULES_MAX];
	size_t count;
	uint64_t random;	/* state of the generator */
};

/* The fault of a name as it stands in --fault ("drop", "500"); false where there is none of that name. */
bool sim_fault_from(struct str name, struct sim_fault *fault);

/* The name of a fault, "none" for none, the digits for a status; valid until the next call. */
const char *sim_fault_name(struct sim_fault fault);

/* Add the rule "NAME:RATE", "NAME:RATE:METHOD", "NAME:@NTH" or "NAME:@NTH:METHOD"; false where it is malformed or there are too many. */
bool sim_fault_add(struct sim_fault_plan *plan, const char *text);

/* Choose what happens to the next request: what is meant for exactly this one, else by the dice; the rates of the rules add up. */
struct sim_fault sim_fault_choose(struct sim_fault_plan *plan, struct str method);

/*
 * Whether a request with this fault is executed all the same: 408, 500, 502 and 504 are (their sender cannot know),
 * other statuses and an early close are not.
 */
bool sim_fault_executes(struct sim_fault fault);

#endif
