/*
 * A journal's triggers put together from its lines: intents with their outcomes, in the order of the intents.
 *
 * Pure. An intent waits for its outcome; what came after it waits behind it, so that triggers come out in order; what
 * is not looked for is never kept. Memory is that of the triggers between the oldest open one and the newest.
 *
 * A record of kind `resolution`, which says what an unknown outcome turned out to be, stands minutes behind it. Who reads
 * looks ahead for those, and hands them in before the outcome (audit_join_ahead): nothing waits for them. Who reads what
 * is just being written cannot; it has unknown ones remembered, and they come out again as what they turn out to be.
 */
#ifndef JOBGATE_RULES_AUDIT_JOIN_H
#define JOBGATE_RULES_AUDIT_JOIN_H

#include <sys/queue.h>

#include "rules/audit_record.h"

#define AUDIT_JOIN_CHAINS 1024
/* Unknown ones that are remembered, of which a resolution may come; the oldest is given up for one more. */
#define AUDIT_JOIN_REMEMBERED 4096
/* So many gaps are told one by one. */
#define AUDIT_JOIN_GAPS 8

struct audit_trigger {
	TAILQ_ENTRY(audit_trigger) link;	/* in the order of the journal */
	struct audit_trigger *chain_next;	/* while it waits for its outcome */
	struct buf line, outcome;		/* the intent's or refusal's line, and the outcome's; owned */
	struct buf resolution;			/* of an unknown outcome whose job was found; owned */
	struct audit_record record;		/* of them all; slices of them */
	bool whole;
};

TAILQ_HEAD(audit_triggers, audit_trigger);

/* A resolution that stands ahead of what was read. */
struct audit_ahead {
	TAILQ_ENTRY(audit_ahead) link;		/* in the order of the journal */
	uint64_t seq;
	struct buf line;			/* owned */
	struct str request_id;			/* a slice of it */
};

TAILQ_HEAD(audit_aheads, audit_ahead);

struct audit_gap { uint64_t from, to; };	/* seqs that are missing, both included */

struct audit_join {
	const struct audit_filter *filter;	/* borrowed */
	struct audit_triggers triggers;
	struct audit_trigger *open[AUDIT_JOIN_CHAINS];
	size_t open_count;
	struct audit_aheads ahead;
	bool remembers;				/* set by who wants unknown ones again */
	struct audit_triggers remembered;	/* unknown ones that are out, or were not looked for as such */
	size_t remembered_count;
	char journal[40];			/* the UUID, with a NUL */
	uint64_t first_seq, last_seq;		/* 0: nothing was read */
	struct wall_time last_time;
	struct audit_gap gaps[AUDIT_JOIN_GAPS];
	uint64_t gap_count, bad_lines;
};

void audit_join_init(struct audit_join *join, const struct audit_filter *filter);
void audit_join_fini(struct audit_join *join);

/* Read one line; false where it is no record (counted, and nothing else). */
bool audit_join_line(struct audit_join *join, struct str line);

/*
 * LINE is a resolution that stands behind what audit_join_line was given; kept until that comes to it. Nothing where it
 * is another kind, has found nothing, or was read before.
 */
void audit_join_ahead(struct audit_join *join, struct str line);

/* The oldest trigger, if it is whole; else NULL. It stays the join's until audit_join_drop. */
struct audit_trigger *audit_join_first(struct audit_join *join);
/* The oldest one that is whole, wherever it stands. */
struct audit_trigger *audit_join_any_whole(struct audit_join *join);
/* The oldest one as it is, for who knows that no outcome will come. */
struct audit_trigger *audit_join_as_it_is(struct audit_join *join);
void audit_join_drop(struct audit_join *join, struct audit_trigger *trigger);
/* The same for one that is out; an unknown one is remembered where those are. */
void audit_join_done(struct audit_join *join, struct audit_trigger *trigger);

#endif
