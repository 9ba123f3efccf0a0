/*
 * The bucket of an identity: which tokens a call of a member may take, and when to come again. The Redis script
 * (rules/bucket.lua) does the same sums in the same order; random walks hold both to each other.
 *
 * Tokens return. One comes back W + J after the end of the slot in which it was taken, so no window of that length holds
 * more than Q grants, whatever was asked for and when. The log of what is out alone keeps promise P1. The rest only delays:
 *
 * Shape. Tokens go out evenly (`pace`; a late one is not lost up to QUOTA_LATENESS or a slot), and `credit` lets up to `burst`
 * of them go at once. Credit grows only while nobody waits anywhere. The pace is the fastest even one at which the log never has to say
 * no: after a burst the rest is spread until that comes back.
 *
 * Order. Callers are flows, shared by weight by start-time fair queuing over the whole fleet: `lag` is how far a flow's next
 * token lies behind the fleet's virtual time, a token costs 1/weight, the flow with the least lag is next. Members tell who
 * waits (lanes: a caller and the own limits of its requests); what they told is good for 2 s. A member gets the tokens that are
 * its flows' in that order, and learns when its next turn is, so that it asks once a token. What was left for another
 * member and not fetched within 10 ms goes to whoever calls.
 *
 * Limits. A lane's own buckets (caller, workspace, job type) give all or nothing together with the identity's token.
 *
 * Members (DESIGN 6). An instance is a member by its journal's UUID. It has a share, Q/N, that it may spend alone when it
 * has not heard the store for T + W + J; T after the last answer that it acknowledged the bucket reserves that share. So
 * members cut off in any pattern together stay within Q. The bucket has an epoch; each answer a number. A member that has
 * heard more than the bucket knows proves that state was lost: a new epoch, in which nothing is granted for T and until every
 * known member has told what it had taken (or its tokens must have come back). A member with a fresh connection may have come
 * to another server: then the others are to be heard first. Restarted members that cannot tell count as having all out.
 *
 * A clock that steps back shifts all times along: it neither freezes nor mints. Members that state different quotas:
 * the smallest holds.
 */
#ifndef JOBGATE_RULES_BUCKET_H
#define JOBGATE_RULES_BUCKET_H

#include "base/str.h"
#include "rules/quota.h"

/* T: who has not acknowledged an answer for so long is silent; members call three times within it. */
#define BUCKET_SILENT_US INT64_C(2000000)
/* A silent member stops, and its share returns, so long after it may have begun to spend it. */
#define BUCKET_FORGET_US INT64_C(300000000)
/* The longest pause: what an upstream's Retry-After may be worth. */
#define BUCKET_PAUSE_MAX_US INT64_C(300000000)

#define BUCKET_NAME_BYTES 72		/* names of the configuration are 64 at most, limits have a letter more */
#define BUCKET_LANES_MAX 32		/* of one member: who waits beyond them is told when one of these is served */
#define BUCKET_LIMITS_MAX 64		/* of one member's lanes */
#define BUCKET_LANE_LIMITS_MAX 33	/* a caller's own and one of each of 32 rules */
#define BUCKET_MEMBERS_MAX 64
#define BUCKET_OWN_MAX (QUOTA_SLOTS + 4)
#define BUCKET_TOKENS_MAX 1000		/* one call's; keeps it short */

struct bucket;

/* A bucket of a caller's or a rule's: BURST tokens, filled again at REQUESTS a WINDOW. */
struct bucket_limit {
	char name[BUCKET_NAME_BYTES];
	int64_t requests, window_us, burst;
};

#define BUCKET_PLACE_LATER 64

/* Who waits: requests of one caller with the same own limits. */
struct bucket_lane {
	char flow[BUCKET_NAME_BYTES];	/* the caller */
	int64_t weight;			/* 1 to 1000 */
	int64_t ready, waiting;		/* could be sent at once; all, those included */
	uint8_t limits[BUCKET_LANE_LIMITS_MAX];	/* indices into the ask's limits */
	size_t limit_count;
};

/* Tokens taken AGO_US ago. */
struct bucket_own { int64_t ago_us, out, bursts; };

/* What a member has heard of another. */
struct bucket_peer {
	char id[BUCKET_NAME_BYTES];
	int64_t heard_ago_us;	/* when the bucket last heard it, so long before now; in an answer -1: within T */
	int64_t share;		/* that it may believe to have */
};

struct bucket_ask {
	char id[BUCKET_NAME_BYTES];	/* the member; "" for a bucket that is this instance's alone */
	int64_t start;			/* which start of its process, any number but 0 */
	int64_t born_ago_us;		/* that start, so long ago at least */
	int64_t sent_ago_us;		/* its predecessor may have sent something until so long ago; -1: nothing within W + J */
	int64_t epoch, number;		/* the newest answer that it has heard; 0, 0: none */
	int64_t version;		/* of the list of members that it knows */
	int64_t share;			/* that it believes to have */
	bool fresh;			/* its connection is a new one since that answer */
	bool leave;			/* it goes, and gives its share up */
	bool tells;			/* OWN and PEERS are all that it knows */
	int64_t pause_us;		/* > 0: the upstream wants nothing for so long */
	const struct quota *quota;
	size_t lane_count, limit_count, own_count, peer_count;
	/* 22 KB, of which little is used nearly always: */
	struct bucket_lane lanes[BUCKET_LANES_MAX];
	struct bucket_limit limits[BUCKET_LIMITS_MAX];
	struct bucket_own own[BUCKET_OWN_MAX];	/* the oldest first */
	struct bucket_peer peers[BUCKET_MEMBERS_MAX];
};

/* Why nothing is granted to anybody, or to this member. */
enum bucket_closed {
	BUCKET_OPEN,
	BUCKET_SETTLING,	/* a new epoch: the members are to come first */
	BUCKET_UNHEARD,		/* a known member has not told what it took */
	BUCKET_UNKNOWN,		/* a restarted member's predecessor may have taken anything */
	BUCKET_PAUSED,		/* by the upstream */
	BUCKET_STRANGE,		/* the member has to say again what it knows, in this epoch */
	BUCKET_CROWDED,		/* too many members */
};

struct bucket_lane_answer {
	int64_t granted;
	int64_t place;		/* of its next turn among the member's, 0 the first; BUCKET_PLACE_LATER: not soon */
	int64_t members;	/* on which the flow waits, at least 1 */
};

struct bucket_answer {
	int64_t epoch, number, version;
	int64_t share;		/* the member's, from now on */
	int64_t wait_us;	/* until its next turn, or until a newcomer's */
	int64_t left;		/* tokens that nobody wants now */
	int64_t rate;		/* tokens come at this many units a microsecond, at least 1 */
	int64_t token;		/* units of a token */
	int64_t paused_us;	/* until the upstream's pause is over */
	int64_t limit;		/* Q of the fleet, less what its 429s have taught */
	int64_t out;		/* tokens that are out */
	int64_t reserved;	/* for silent members */
	int64_t weight;		/* of all flows that wait */
	int64_t granted, bursts;	/* of all lanes; those of them that are a burst's */
	enum bucket_closed closed;
	struct bucket_lane_answer lanes[BUCKET_LANES_MAX];	/* as asked */
	bool listed;		/* PEERS is the list of members, since the version is another */
	struct bucket_peer peers[BUCKET_MEMBERS_MAX];	/* the member itself included */
	size_t peer_count;
};

/* Ask for nothing. What is behind the counts is not touched. */
void bucket_ask_clear(struct bucket_ask *ask);
/* Copy what is in use. */
void bucket_ask_copy(struct bucket_ask *to, const struct bucket_ask *from);

struct bucket *bucket_new(void);
void bucket_free(struct bucket **bucket);

/* Take at NOW_US (any clock with a positive value). */
void bucket_take(struct bucket *bucket, const struct bucket_ask *ask, int64_t now_us, struct bucket_answer *answer);

#endif
