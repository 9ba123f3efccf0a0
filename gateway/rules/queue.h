/*
 * The queue of one identity: who waits, who makes ready, who gets the next token, when to ask the store and when to
 * look again.
 *
 * Pure: the limiter hands it the time and the store's answers and does what it says. Entries are the limiter's,
 * linked in place; each is in at most one queue. Life of an entry: out -> waiting -> next -> (slow ->) ready -> out;
 * it may leave from anywhere.
 *
 * Requests of one caller with the same own limits are a lane. Whose the next token is, among the lanes of the whole fleet, the
 * store says (rules/bucket); within a lane it goes by arrival within a class, cancels before submits before polls, save
 * that one grant in ten is a poll's where one is ready. Who is next and slow does not stand in the way of those behind it.
 */
#ifndef JOBGATE_RULES_QUEUE_H
#define JOBGATE_RULES_QUEUE_H

#include <sys/queue.h>

#include "base/clock.h"
#include "rules/bucket.h"

enum queue_class { QUEUE_CANCEL, QUEUE_SUBMIT, QUEUE_POLL, QUEUE_CLASS_COUNT };

enum queue_stage {
	QUEUE_WAITING,		/* has nothing yet */
	QUEUE_NEXT,		/* was told to make ready */
	QUEUE_SLOW,		/* was told, and took so long that another was told too */
	QUEUE_READY,		/* would be sent at once */
	QUEUE_STAGE_COUNT,
	QUEUE_OUT = QUEUE_STAGE_COUNT
};

struct queue_lane;

struct queue_entry {
	TAILQ_ENTRY(queue_entry) link;	/* in the list of its stage and class */
	struct queue_lane *lane;
	enum queue_class class;
	enum queue_stage stage;
	uint64_t order;			/* of arrival; 0 for those that go first */
	bool first;			/* it was there before: at the head of its class, however many wait */
	bool at_once;			/* it will be ready in a small part of a token's life: where one is in hand, it counts as ready */
	bool looks;			/* it may have a token only when the store was asked for what is its alone (queue_look, queue_glance) */
	uint64_t ready_number;		/* of the last question to the store before it was ready */
	uint64_t looked;		/* the number of the call that it went with; 0: none */
	struct mono_time submitted, deadline, next_since;
	size_t heap_place;		/* among the deadlines */
};

TAILQ_HEAD(queue_list, queue_entry);

/* Next is who is to be served within this: time to connect, shake hands and make the intent durable. */
#define QUEUE_AHEAD_US (1 * CLOCK_SECOND)
/*
 * But no more than this at a time, and nobody while so many are slow: each may open a connection, and a crowd's handshakes would leave no time
 * for anything else. Tokens that come faster than one in two milliseconds have no use for a second's worth of them.
 */
#define QUEUE_TOLD_MAX 512
/* Who has not become ready within this no longer keeps another from being told. */
#define QUEUE_SLOW_US (CLOCK_SECOND / 2)
/* Calls stand so far apart where tokens are short, so that one gathers many. It loses nothing: see QUOTA_LATENESS. */
#define QUEUE_APART_US (QUOTA_LATENESS_US / 4)
#define QUEUE_HAND_CALLS 8	/* calls with unused tokens within J/2; more lapse */
#define QUEUE_LANE_CHAINS 64

/* Whose requests: a caller, and the limits that they are counted on besides the identity's. */
struct queue_lane_key {
	const char *flow;			/* the caller's name */
	int64_t weight;
	const struct bucket_limit *limits;
	size_t limit_count;
};

/* Tokens in hand: of each call those that nobody has yet, the oldest first. */
struct queue_hand {
	struct { struct mono_time asked_at; int64_t count; } of_call[QUEUE_HAND_CALLS];
	size_t calls;
};

struct queue_lane {
	TAILQ_ENTRY(queue_lane) link;		/* among all */
	TAILQ_ENTRY(queue_lane) stage_link[QUEUE_STAGE_COUNT];	/* among those with somebody in that stage */
	struct queue_lane *chain_next;
	char flow[BUCKET_NAME_BYTES];
	int64_t weight;
	struct bucket_limit *limits;		/* owned */
	size_t limit_count;
	struct queue_list lists[QUEUE_STAGE_COUNT][QUEUE_CLASS_COUNT];
	size_t counts[QUEUE_STAGE_COUNT][QUEUE_CLASS_COUNT];
	size_t count;				/* of all */
	unsigned others_since_poll;		/* grants to other classes while a poll was waiting */
	struct queue_hand hand;
	bool told;				/* the store knows that somebody waits here */
	int64_t place, members;			/* as the store said last */
	struct mono_time return_slot;		/* when the last refused one was told to return */
};

TAILQ_HEAD(queue_lanes, queue_lane);

/*
 * Tokens taken ahead of need, for whoever comes (queue_ahead.c): only while they are plenty, and while the store has nothing for anybody
 * alone. As many as are used in a few milliseconds, so that few lapse; and of those that lapse, a half of a hundredth of the quota at most.
 */
struct queue_ahead {
	size_t members;			/* who may take some, this instance included; 0: none are taken */
	struct queue_hand hand;
	int64_t low;			/* fewer in hand than this are filled up */
	int64_t used;			/* grants since SINCE, the last call, of lanes without limits of their own */
	struct mono_time since;
	char flow[BUCKET_NAME_BYTES];	/* who had the last of them: in whose name they are taken */
	int64_t weight;
	size_t asked_lane;		/* of the call under way: so many in this lane of the ask, in which LANE_READY are asked for besides */
	int64_t asked, lane_ready;
	int64_t spare;			/* so many may lapse, in 200 * window_us of a token, */
	struct mono_time spare_at;	/* as of then */
};

struct queue {
	struct quota quota;
	size_t capacity;
	bool open;			/* there is a store to ask: entries are made next and tokens asked for */
	struct queue_lanes lanes;	/* the one that was told longest ago first */
	struct queue_lanes staged[QUEUE_STAGE_COUNT];	/* those with somebody in that stage */
	struct queue_lane *chains[QUEUE_LANE_CHAINS];
	size_t counts[QUEUE_STAGE_COUNT][QUEUE_CLASS_COUNT];	/* of all lanes */
	size_t count;			/* of all */
	uint64_t order;			/* of the last that came */
	struct queue_entry **heap;	/* by deadline, owned */
	size_t heap_size;

	/* As the store said it last. */
	int64_t stock;			/* tokens that nobody wanted */
	int64_t rate, token;		/* tokens come at this many units a microsecond; units of one */
	int64_t weight;			/* of all flows that wait, anywhere */
	enum bucket_closed closed;
	struct mono_time due;		/* this instance's next turn */

	struct mono_time call_at;	/* the next call with a count not before this */
	struct mono_time called_at;	/* the last call */
	int64_t asked;			/* tokens that were ready to be sent in it, of all lanes */
	int64_t apart_us;		/* another not before so long after it: it matters whether tokens are short */
	struct mono_time pause_until;	/* no call at all before this: the last failed */
	bool calling;			/* one is under way */
	bool again;			/* the store asks to be called again at once */
	unsigned agains;		/* so often in a row */
	struct queue_lane *called[BUCKET_LANES_MAX];	/* in it: the first lanes of the ask */
	size_t called_count;
	uint64_t number;		/* of the last question: a call, or a glance */
	uint64_t call_number, heard_number;	/* of the last call; of the last that was answered */
	uint64_t glance_number;		/* of the glance that is under way; 0: none */
	uint64_t nothing_number;	/* of the last question to which the answer was that the store has nothing for anybody alone */
	uint64_t ready_number;		/* of the last question before somebody became ready who looks */
	struct queue_ahead ahead;
	int64_t keep_us;		/* the store is called this often though nobody wants a token; 0: never */
};

void queue_init(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us, struct mono_time now);
/* Entries still linked are forgotten, not touched. */
void queue_fini(struct queue *q);
/* After a reload. */
void queue_set_quota(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us);
/* There is a store to ask, or none. A new one is called at once. */
void queue_set_open(struct queue *q, bool open, struct mono_time now);

enum queue_verdict { QUEUE_TAKEN, QUEUE_FULL, QUEUE_TOO_LATE };

/*
 * Queue an entry whose class and deadline are set, or say why not: no room, or at the present rate it will not be
 * served in time.
 */
enum queue_verdict queue_submit(struct queue *q, struct queue_entry *e, const struct queue_lane_key *key, struct mono_time now);
/* The same of an entry that is not queued; nothing changes. */
enum queue_verdict queue_judge(struct queue *q, const struct queue_entry *e, const struct queue_lane_key *key, struct mono_time now);
/*
 * Room for a caller of which fewer wait than of another: take out the last of him of whom most wait; NULL where it has no
 * less than its part.
 */
struct queue_entry *queue_displace(struct queue *q, const struct queue_lane_key *key);
/* Who that would be; nothing changes. */
struct queue_entry *queue_displaced(struct queue *q, const struct queue_lane_key *key);
/* It could be sent at once. */
void queue_ready(struct queue *q, struct queue_entry *e);
void queue_remove(struct queue *q, struct queue_entry *e);

/* Take out one entry whose time is up; NULL where there is none. */
struct queue_entry *queue_expire(struct queue *q, struct mono_time now);
/* Move one entry to `next` because its token is expected within a second; NULL where there is none. */
struct queue_entry *queue_promote(struct queue *q, struct mono_time now);
/* Take out one ready entry together with a token in hand; NULL where there is no pair. ASKED_AT dates the token. */
struct queue_entry *queue_grant(struct queue *q, struct mono_time now, struct mono_time *asked_at);

/* Is it time to call? Then ASK is cleared and has who waits, and the call is under way since NOW. */
bool queue_call(struct queue *q, struct mono_time now, struct bucket_ask *ask);
/* What the store has for E alone is asked with the call under way; E is ready in one of its lanes. */
void queue_look(struct queue *q, struct queue_entry *e);
/*
 * Of the answer that is heard next: the store has nothing for anybody alone, so that tokens may be taken ahead by MEMBERS instances; where
 * that is 1, nothing can come to be there. 0: what was taken ahead lapses.
 */
void queue_set_ahead(struct queue *q, size_t members);
/* Is it time for a glance: to ask whether the store has still nothing for anybody alone, since who is ready has a token? It is under way then. */
bool queue_glance(struct queue *q);
/* Its answer; false also where there was none. */
void queue_glanced(struct queue *q, bool nothing);
/* Its answer. Tokens of lanes that nobody waits in any more go to others without limits of their own, or lapse. */
void queue_answered(struct queue *q, const struct bucket_answer *answer, struct mono_time now);
/* It got none. Its tokens, if it took any, are lost. */
void queue_failed(struct queue *q, struct mono_time now);

/* The upstream wants nothing before UNTIL: tokens in hand lapse. */
void queue_pause(struct queue *q, struct mono_time until);

/* A granted token comes back unused: the next ready entry for the same buckets may have it. FLOW and limits are the key's. */
void queue_give_back(struct queue *q, const struct queue_lane_key *key, struct mono_time asked_at, struct mono_time now);

/* When to look again; false where only an event can change anything. */
bool queue_wake(const struct queue *q, struct mono_time now, struct mono_time *at);

/*
 * Whole seconds, 1 to 60, after which a request of CLASS that would wait PATIENCE_US may find room; each call hands
 * out the next place, so that those who are refused together do not return together.
 */
int64_t queue_retry_after(struct queue *q, const struct queue_lane_key *key, enum queue_class class, int64_t patience_us,
    struct mono_time now);

/* --- for the parts of this module and its test --- */
void queue_heap_add(struct queue *q, struct queue_entry *e);
void queue_heap_remove(struct queue *q, struct queue_entry *e);
/* The lane of a key; MAKE: where there is none, a new one, else NULL. */
struct queue_lane *queue_lane_of(struct queue *q, const struct queue_lane_key *key, bool make);
/* Free lanes that nobody waits in, nor has been told to return to; all, where ALL. */
void queue_lanes_sweep(struct queue *q, bool all);
size_t queue_lane_count(const struct queue_lane *lane, enum queue_stage stage);
/* Drop the tokens that a lane has in hand for too long. */
void queue_lane_expire(const struct queue *q, struct queue_lane *lane, struct mono_time now);
/* How old a token may be when it is granted: a sixteenth of J/2 is left for its way to the request. */
int64_t queue_fresh_us(const struct queue *q);
/* Take E out, which has a token now. */
void queue_granted(struct queue *q, struct queue_entry *e);
/* Who of the ready in a lane gets the next token; NULL where nobody may. */
struct queue_entry *queue_lane_served(const struct queue *q, struct queue_lane *lane);
/* Is there one who is ready, and may have a token only when another call was answered? */
bool queue_lane_looks(const struct queue *q, const struct queue_lane *lane);
/* Add to the ask what is to be taken ahead. */
void queue_ahead_ask(struct queue *q, struct mono_time now, struct bucket_ask *ask);
/* Take in hand what of GRANTED to the ask's lane number LANE was taken ahead; what is left is the lane's. */
int64_t queue_ahead_hear(struct queue *q, size_t lane, int64_t granted);
/* Is one in hand for E, which comes now, and nothing to be asked of the store? */
bool queue_ahead_has_for(const struct queue *q, const struct queue_entry *e);
/* One of LANE has been granted a token. */
void queue_ahead_use(struct queue *q, const struct queue_lane *lane);
/* As queue_grant, of the tokens taken ahead. */
struct queue_entry *queue_ahead_grant(struct queue *q, struct mono_time now, struct mono_time *asked_at);
/* Are more to be taken? Not before queue_ahead_at. */
bool queue_ahead_is_low(const struct queue *q);
struct mono_time queue_ahead_at(const struct queue *q);

/* Keep COUNT tokens of a call of ASKED_AT. */
void queue_hand_put(struct queue_hand *hand, struct mono_time asked_at, int64_t count);
/* Take the oldest; false where there is none. */
bool queue_hand_take(struct queue_hand *hand, struct mono_time *asked_at);
/* Drop those of calls at SINCE and before; how many. */
int64_t queue_hand_expire(struct queue_hand *hand, struct mono_time since);
int64_t queue_hand_count(const struct queue_hand *hand);
/* How long a newcomer of CLASS in LANE (NULL: of WEIGHT in a new one) waits at the present rate, in microseconds. */
double queue_estimate_us(const struct queue *q, const struct queue_lane *lane, const struct queue_lane_key *key,
    enum queue_class class, struct mono_time now);
/* The distance between two tokens of LANE (NULL: of a new one for KEY) at the present rate, in microseconds. */
double queue_each_us(const struct queue *q, const struct queue_lane *lane, const struct queue_lane_key *key);
/* Tokens that may come here within a second of NOW, those there already included; of more than QUEUE_TOLD_MAX so many. */
int64_t queue_expected(const struct queue *q, struct mono_time now);

#endif
