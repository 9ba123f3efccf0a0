/*
 * The queue of one identity: who waits, who makes ready, who gets the next token, when to ask the store and when to
 * look again.
 *
 * Pure: the limiter hands it the time and the store's answers and does what it says. Entries are the limiter's,
 * linked in place; each is in at most one queue. Life of an entry: out -> waiting -> next -> (slow ->) ready -> out;
 * it may leave from anywhere.
 *
 * Order: by arrival within a class; cancels before submits before polls, save that one grant in ten is a poll's where
 * one is ready. Who is next and slow does not stand in the way of those that are ready behind it.
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

struct queue_entry {
	TAILQ_ENTRY(queue_entry) link;	/* in the list of its stage and class */
	enum queue_class class;
	enum queue_stage stage;
	uint64_t order;			/* of arrival; 0 for those that go first */
	bool first;			/* it was there before: at the head of its class, however many wait */
	struct mono_time submitted, deadline, next_since;
	size_t heap_place;		/* among the deadlines */
};

TAILQ_HEAD(queue_list, queue_entry);

struct queue_held { struct mono_time asked_at; int64_t count; };	/* tokens of one call that nobody has yet */
/* Next is who is to be served within this: time to connect, shake hands and make the intent durable. */
#define QUEUE_AHEAD_US (1 * CLOCK_SECOND)
/* Who has not become ready within this no longer keeps another from being told. */
#define QUEUE_SLOW_US (CLOCK_SECOND / 2)
#define QUEUE_HELD_COUNT 16	/* calls with unused tokens within J/2; more lapse */

struct queue {
	struct quota quota;
	size_t capacity;
	bool open;			/* the store answers: entries are made next and tokens asked for */
	struct queue_list lists[QUEUE_STAGE_COUNT][QUEUE_CLASS_COUNT];
	size_t counts[QUEUE_STAGE_COUNT][QUEUE_CLASS_COUNT];
	size_t count;			/* of all */
	uint64_t order;			/* of the last that came */
	struct queue_entry **heap;	/* by deadline, owned */
	size_t heap_size;

	int64_t stock;			/* tokens that the store had left at DUE */
	struct mono_time due;		/* without stock no token before; from it on they come back at the bucket's rate */
	int64_t refill;			/* that rate as the store said it last, in units a microsecond */
	struct mono_time call_at;	/* the next call with a count not before this */
	struct mono_time called_at;	/* the last call */
	struct mono_time pause_until;	/* no call at all before this: the last failed */
	unsigned losses;		/* calls since the last that brought a token */
	bool calling;			/* one is under way */
	bool looked;			/* the bucket was looked at since the store is there */
	int64_t calling_count;
	int64_t keep_us;		/* a bucket is looked at this often though nobody wants a token; 0: never */

	struct queue_held held[QUEUE_HELD_COUNT];
	size_t held_count;
	unsigned others_since_poll;	/* grants to other classes while a poll was waiting */

	double share;			/* part of the rate that comes here under backlog; 1 until seen otherwise */
	struct mono_time measured_since;
	int64_t measured_grants;

	struct mono_time return_slot;	/* when the last refused caller was told to return */
};

void queue_init(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us, struct mono_time now);
/* Entries still linked are forgotten, not touched. */
void queue_fini(struct queue *q);
/* After a reload. */
void queue_set_quota(struct queue *q, const struct quota *quota, size_t capacity, int64_t keep_us);
/* The store answers, or is away. */
void queue_set_open(struct queue *q, bool open, struct mono_time now);

enum queue_verdict { QUEUE_TAKEN, QUEUE_FULL, QUEUE_TOO_LATE };

/*
 * Queue an entry whose class and deadline are set, or say why not: no room, or at the present rate it will not be
 * served in time.
 */
enum queue_verdict queue_submit(struct queue *q, struct queue_entry *e, struct mono_time now);
/* It could be sent at once. */
void queue_ready(struct queue *q, struct queue_entry *e);
void queue_remove(struct queue *q, struct queue_entry *e);

/* Take out one entry whose time is up; NULL where there is none. */
struct queue_entry *queue_expire(struct queue *q, struct mono_time now);
/* Move one entry to `next` because its token is expected within a second; NULL where there is none. */
struct queue_entry *queue_promote(struct queue *q, struct mono_time now);
/* Take out one ready entry together with a token in hand; NULL where there is no pair. ASKED_AT dates the token. */
struct queue_entry *queue_grant(struct queue *q, struct mono_time now, struct mono_time *asked_at);

/* How many tokens to ask the store for now; 0 is a call too (a look that keeps the bucket alive); -1: no call. */
int64_t queue_call(struct queue *q, struct mono_time now);
/* The call is under way since NOW. */
void queue_called(struct queue *q, int64_t count, struct mono_time now);
/* Its answer. */
void queue_answered(struct queue *q, const struct bucket_take *take, struct mono_time now);
/* It got none. Its tokens, if it took any, are lost. */
void queue_failed(struct queue *q, struct mono_time now);

/* The upstream wants nothing before UNTIL: tokens in hand lapse. */
void queue_pause(struct queue *q, struct mono_time until);

/* A granted token comes back unused: the next ready entry may have it. */
void queue_give_back(struct queue *q, struct mono_time asked_at);

/* When to look again; false where only an event can change anything. */
bool queue_wake(const struct queue *q, struct mono_time now, struct mono_time *at);

/*
 * Whole seconds, 1 to 60, after which a request of CLASS that would wait PATIENCE_US may find room; each call hands
 * out the next place, so that those who are refused together do not return together.
 */
int64_t queue_retry_after(struct queue *q, enum queue_class class, int64_t patience_us, struct mono_time now);

/* --- for the parts of this module and its test --- */
void queue_heap_add(struct queue *q, struct queue_entry *e);
void queue_heap_remove(struct queue *q, struct queue_entry *e);
/* How long a newcomer of CLASS waits at the present rate, in microseconds. */
double queue_estimate_us(const struct queue *q, enum queue_class class, struct mono_time now);
/* Learn from the grants of a backlog what part of the rate comes here. */
void queue_measure(struct queue *q, struct mono_time now);
/* Begin to learn anew; FORGET what was learnt too. */
void queue_measure_anew(struct queue *q, bool forget, struct mono_time now);
/* Tokens that may come within a second of NOW, those there already included. */
int64_t queue_expected(const struct queue *q, struct mono_time now);

#endif
