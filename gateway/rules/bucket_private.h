/* What the files of the bucket share. The order of everything here is the script's too. */
#ifndef JOBGATE_RULES_BUCKET_PRIVATE_H
#define JOBGATE_RULES_BUCKET_PRIVATE_H

#include "rules/bucket.h"

#define BUCKET_COST 1000000	/* virtual time of a token at weight 1 */
#define BUCKET_DEMAND_US INT64_C(2000000)	/* what a member told of who waits is good for so long */
#define BUCKET_GRACE_US INT64_C(10000)	/* a token left for another member and not fetched is anybody's */
#define BUCKET_LOOK_US INT64_C(50000)	/* who waits for another member to be heard looks again */
#define BUCKET_FLOWS_MAX 512
#define BUCKET_LOG_MAX 1024

/* Tokens taken in the slot that ends at END_US. */
struct bucket_entry { int64_t end_us, out, bursts; };

struct bucket_log {
	struct bucket_entry *entries;	/* owned; by their ends */
	size_t count, size;
};

struct bucket_lane_state {
	char flow[BUCKET_NAME_BYTES];
	int64_t waiting;
	int64_t served;			/* the answer's number when it last got a token */
	char limits[BUCKET_LANE_LIMITS_MAX][BUCKET_NAME_BYTES];
	size_t limit_count;
};

struct bucket_member {
	char id[BUCKET_NAME_BYTES];
	int64_t start;			/* 0: only told of */
	int64_t called_us;		/* its last call; 0: only told of */
	int64_t seen_us;		/* its last call that knew the epoch; 0: none */
	int64_t heard_us;		/* the last answer that it acknowledged */
	int64_t told_number, told_us, told_share;	/* the last answer */
	int64_t reserve;		/* the largest share that it may believe to have */
	int64_t open_us;		/* nothing is granted before: its predecessor's tokens are not known */
	bool silent;
	int64_t requests, out_us, slot_us, burst;	/* the quota that it states; 0: not known */
	struct bucket_log own;		/* taken elsewhere: alone, or from a state that was lost */
	struct bucket_lane_state *lanes;	/* owned */
	size_t lane_count;
};

struct bucket_flow {
	char name[BUCKET_NAME_BYTES];
	int64_t weight, lag;
};

struct bucket_limit_state {
	struct bucket_limit limit;
	int64_t level;			/* in units, window_us of them to the token */
	int64_t last_us;
};

struct bucket {
	int64_t epoch, number, version;
	int64_t last_us, began_us;	/* the last call; the beginning of the epoch */
	int64_t doubt_us, settle_us;	/* members must have been seen since; nothing before */
	int64_t pace, credit, rate, token;	/* shape, in units of the token; the rate since the last call */
	bool backlog;			/* somebody has waited since the last call */
	int64_t left_us;		/* since when there are tokens left for other members; 0: none */
	int64_t paused_us, eased, eased_us;	/* by the upstream; 1000 is all of Q */
	struct bucket_log log;
	struct bucket_member *members[BUCKET_MEMBERS_MAX];	/* owned; in the order of their coming */
	size_t member_count;
	struct bucket_flow *flows;	/* owned; in the order of their coming */
	size_t flow_count;
	struct bucket_limit_state *limits;	/* owned */
	size_t limit_count;
};

/* What holds for one call. */
struct bucket_call {
	struct bucket *b;
	const struct bucket_ask *ask;
	struct bucket_answer *answer;
	struct bucket_member *me;
	int64_t now_us;
	bool alone, right;		/* right: the member knows this epoch */
	int64_t requests, out_us, slot_us, token, burst;	/* the fleet's quota */
	int64_t limit;			/* requests less what 429s have taught */
	int64_t out, bursts, reserved;
	int64_t there;			/* tokens that may go now */
	int64_t turn;			/* the member's next token is so many after those; -1: it waits for none */
	bool unserved;			/* it has somebody ready whom only the order keeps waiting */
	int64_t limited_us;		/* its own limits let nothing through before; -1: they do not matter */
};

/* bucket_log.c */
void bucket_log_add(struct bucket_log *log, int64_t end_us, int64_t out, int64_t bursts);
void bucket_log_expire(struct bucket_log *log, int64_t until_us);
void bucket_log_shift(struct bucket_log *log, int64_t by_us);
void bucket_log_merge(struct bucket_log *log, const struct bucket_log *other);
void bucket_log_fini(struct bucket_log *log);

/* bucket_member.c */
void bucket_member_arrive(struct bucket_call *c);
void bucket_member_leave(struct bucket_call *c);
void bucket_members_review(struct bucket_call *c);
void bucket_member_remove(struct bucket *b, size_t i);
void bucket_member_tell(struct bucket_call *c);

/* bucket_limit.c */
struct bucket_limit_state *bucket_limit_find(struct bucket *b, const char *name);
void bucket_limits_fill(struct bucket_call *c);
void bucket_limits_drop(struct bucket *b);

/* bucket_flow.c */
void bucket_flows_update(struct bucket_call *c);
void bucket_flows_serve(struct bucket_call *c);
void bucket_flows_drop(struct bucket_call *c);

static inline int64_t
bucket_least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t
bucket_most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static inline int64_t
bucket_ceil(int64_t a, int64_t b)
{
	return (a + b - 1) / b;
}

#endif
