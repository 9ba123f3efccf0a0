/*
 * Undelivered answers of this instance (rules/lost), for all its workers: a run whose answer nobody received is not sent
 * again by the next identical one. Behind a lock that is held for microseconds; any thread.
 */
#ifndef JOBGATE_GATE_UNDELIVERED_H
#define JOBGATE_GATE_UNDELIVERED_H

#include "io/loop.h"
#include "rules/lost.h"

struct undelivered;

/* WHO is told how what it had joined has landed; FOUND's answer may be taken. */
struct undelivered_settings {
	struct loop **loops;		/* of the workers; borrowed until it is freed */
	/* On who.worker's loop. False: it has gone; an answer is then remembered again. */
	bool (*deliver)(void *arg, const struct lost_who *who, struct lost_found *found);
	/* For the fleet: any thread, in the order in which things happen. WHOLE: nothing has been forgotten here for want of room. */
	void (*publish)(void *arg, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES], enum lost_state state,
	    struct str answer, int64_t keep_us, bool whole);
	void *arg;
};

struct undelivered *undelivered_new(const struct undelivered_settings *settings);
/* After the workers' loops have been freed: no mail is under way any more. */
void undelivered_free(struct undelivered **undelivered);

/* Whether nothing is remembered or in flight: mostly, and then there is nothing to be found. Without a lock. */
bool undelivered_is_empty(const struct undelivered *undelivered);

/* As lost_fly, lost_look, lost_leave and lost_land, at NOW. TAG: of the fleet's key (lost_key). KEEP_US of a flight: by when it has landed. */
void undelivered_fly(struct undelivered *undelivered, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    int64_t keep_us);
void undelivered_look(struct undelivered *undelivered, const uint8_t name[CLAIM_DIGEST_BYTES], const struct lost_who *who, struct mono_time now,
    struct lost_found *found);
void undelivered_leave(struct undelivered *undelivered, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES]);
/* Another instance's has been found: what is known here of the same is over. */
void undelivered_forget(struct undelivered *undelivered, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES]);
/* Whoever has joined is told by mail. */
void undelivered_land(struct undelivered *undelivered, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    enum lost_state state, struct str answer, int64_t keep_us, struct mono_time now);

struct undelivered_counts {
	uint64_t remembered;	/* answers, and unknown ends */
	uint64_t replayed, joined, unknown;	/* later runs, by what they found */
	size_t held;
};
struct undelivered_counts undelivered_counts(struct undelivered *undelivered);

#endif
