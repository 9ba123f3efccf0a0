/*
 * An instance as a member of an identity's bucket (rules/bucket): what it tells the store, what it remembers of the answers,
 * and when, cut off, it may spend its share alone.
 *
 * It remembers its own tokens of the last W + J, from wherever they came; a store that has lost its state is told those that it
 * does not know. Pure: times come in, calls are made by gate/limiter.
 */
#ifndef JOBGATE_RULES_MEMBER_H
#define JOBGATE_RULES_MEMBER_H

#include "base/clock.h"
#include "rules/bucket.h"

/* A call at least so often keeps it heard: three fit into T. */
#define MEMBER_KEEP_US (650 * CLOCK_MS)

struct member_entry {
	struct mono_time at;		/* not before it was taken */
	int64_t out, bursts;
	int64_t epoch;			/* of the bucket that knows of it; 0: taken alone */
};

/* Which process this is. */
struct member_self {
	char id[BUCKET_NAME_BYTES];	/* the journal's UUID; "" where no others are */
	int64_t start;
	struct mono_time born;
	int64_t sent_ago_us;		/* at BORN: its predecessor may have sent something until so long before; -1: nothing */
};

struct member {
	struct member_self self;
	int64_t epoch, number, version, share;
	int64_t token;			/* how long a token may be out, as the fleet has it */
	bool fresh, told;
	bool heard;			/* an answer, ever */
	struct mono_time heard_at, asked_at;	/* the newest: when it came, when its call was sent */
	struct mono_time listed_at;	/* when PEERS was heard */
	struct bucket_peer peers[BUCKET_MEMBERS_MAX];
	size_t peer_count;
	struct member_entry entries[BUCKET_OWN_MAX];	/* the oldest first */
	size_t entry_count;
	struct bucket *alone;		/* its share, spent alone; NULL where it is not; owned */
};

void member_init(struct member *m, const struct member_self *self);
void member_fini(struct member *m);

/* The connection to the store is a new one. */
void member_connected(struct member *m);

/* Fill in all of an ask but who waits. */
void member_ask(struct member *m, const struct quota *quota, struct mono_time now, struct bucket_ask *ask);

/* How many members there are, as far as the newest answer says; 0 where that is not known. */
size_t member_count(const struct member *m);

/* The answer to ASK, which was sent at ASKED_AT, came NOW. */
void member_hear(struct member *m, const struct bucket_ask *ask, const struct bucket_answer *answer, struct mono_time asked_at,
    struct mono_time now);

/*
 * May it spend its share alone? The store has not been heard for so long that it keeps that share back, and all that was taken
 * through it has come back; and it has not been forgotten.
 */
bool member_may_spend(const struct member *m, const struct quota *quota, struct mono_time now);
/* Until it may; INT64_MAX where it never will. */
int64_t member_spends_in_us(const struct member *m, const struct quota *quota, struct mono_time now);

/* Take from its share. ASK has who waits; the rest of it is filled in. */
void member_spend(struct member *m, const struct quota *quota, struct bucket_ask *ask, struct mono_time now,
    struct bucket_answer *answer);

#endif
