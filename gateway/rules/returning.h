/*
 * The bucket of returning tokens: a token comes back W + J after the end of the slot in which it was taken, so that no
 * window of that length holds more than Q grants, whatever was asked for and when. The Redis script
 * (rules/returning_script) does the same sums; tests/vectors/returning.json and random walks hold both to each other.
 *
 * The log alone keeps the promise. Beside it a shape, which only delays: tokens go out evenly (`pace`, full at 1 + r L
 * tokens: late ones up to L are not lost), and `credit` lets up to `burst` of them go at once. Credit grows, at Q to W + J,
 * only while nobody waits anywhere, and never beyond `burst` less the burst tokens that are out; while those are out the
 * pace is that of the others. So who comes after a whole burst waits W / (Q - burst), not for the burst's return, and one
 * burst does not repeat itself: what comes back under a backlog goes out evenly.
 *
 * Lost state. Each life of a bucket has an epoch, each grant in it a number; an instance tells the newest that it has heard
 * of (an own grant or another's: every answer carries them) and how long ago. Where a bucket does not contain that one (it is
 * missing, began anew, or is a stale replica's or an old dump's), all Q count as out for W + J from then on. A bucket that
 * nobody has heard of begins with all tokens there, no credit, and, in a store that is shared, only after a grace in which
 * every running instance has made a call and told what it heard. Not covered, until the members' list is kept: grants that only
 * instances heard of which are cut off from the store, or dead, when it has lost its state.
 *
 * A clock that steps back neither freezes nor mints: all times shift along. A step forward brings back at most what is out.
 * Quotas of other lengths: the log keeps the longest slots that are stated, as long as they are; what is out counts
 * against everyone's own Q.
 */
#ifndef JOBGATE_RULES_RETURNING_H
#define JOBGATE_RULES_RETURNING_H

#include "rules/bucket.h"

#define RETURNING_ENTRIES (QUOTA_SLOTS + 1)	/* the present slot and those that are out */
/* That somebody waits is remembered so long; waiting instances call at least once a second. */
#define RETURNING_WAITED_US INT64_C(2000000)

/* What an instance has heard of a bucket's grants. */
struct bucket_heard {
	int64_t epoch, total;	/* 0: before its start, of an unknown bucket */
	int64_t ago_us;		/* at least so long ago the newest of them was; -1: none within W + J */
};

struct returning_ask {
	int64_t count;		/* tokens wanted now; 0: only look */
	int64_t waiting;	/* requests that want one, those included */
	struct bucket_heard heard;
	int64_t grace_us;	/* for a bucket that begins: nothing is granted for so long */
	int64_t paused_us;	/* nothing is granted for so long, and the shape begins anew */
};

struct returning_slot { int64_t out, bursts; };

struct returning {		/* all zero: never seen */
	bool seen;
	int64_t epoch, total;
	int64_t last_us;	/* the last call */
	int64_t start_us;	/* of the present slot */
	int64_t slot_us;
	int64_t out, bursts;	/* sums over the slots */
	int64_t pace, credit;	/* in units, TOKEN_UNITS to the token */
	int64_t token_units;
	int64_t closed_us;	/* nothing before this time */
	int64_t waited_us;	/* until this time somebody is taken to wait */
	int64_t held_us;	/* until this time these slots' length is somebody's */
	struct returning_slot slots[RETURNING_ENTRIES];	/* the present one first */
};

struct bucket_take returning_take(struct returning *bucket, const struct quota *quota, const struct returning_ask *ask,
    int64_t now_us);

/* How long its state must be kept from NOW_US on, in microseconds: afterwards it says no more than a new one. */
int64_t returning_keep_us(const struct returning *bucket, const struct quota *quota, int64_t now_us);

/* The state as the script stores it, and a NUL: thirteen numbers and twelve hexadecimal digits for each slot. */
#define RETURNING_TEXT_BYTES (13 * 21 + RETURNING_ENTRIES * 12 + 1)
void returning_format(const struct returning *bucket, char out[RETURNING_TEXT_BYTES]);

#endif
