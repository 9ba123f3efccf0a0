/*
 * What the files of the limiter share.
 *
 * Everything here belongs to worker 0's loop, save what is marked atomic and the mails. The life of a request in the
 * limiter:
 *
 *   submitted -> waiting -> next -> ready -> granted -(J/2)-> forgotten
 *        |__________|_________|_______|-> refused or cancelled: forgotten at once
 *
 * A granted one is remembered as long as its token could be used, so that only who holds a token can give it back,
 * and only once.
 */
#ifndef JOBGATE_GATE_LIMITER_PRIVATE_H
#define JOBGATE_GATE_LIMITER_PRIVATE_H

#include <stdatomic.h>

#include "base/jsonw.h"
#include "base/spares.h"
#include "gate/limiter.h"
#include "gate/store.h"
#include "rules/member.h"
#include "rules/queue.h"

#define LIMITER_PRINCIPAL_TABLE_SIZE 256
#define LIMITER_TABLE_SIZE 4096		/* chains; a few thousand requests wait at most */

struct limiter_request {
	struct queue_entry entry;		/* first: the queue hands it back */
	/* What is still wanted of one that was granted stands together. */
	struct limiter_request *table_next;
	struct limiter_ticket ticket;
	bool granted;
	TAILQ_ENTRY(limiter_request) out_link;	/* in identity->out, once granted */
	struct limiter_identity *identity;
	struct mono_time asked_at;
	const struct limiter_view *view;	/* what CALLER and LIMITS mean */
	size_t caller;
	uint32_t limits;
	int64_t *caller_waiting;		/* its caller's count, in a view */
	uint8_t lost_name[CLAIM_DIGEST_BYTES];
};

/* Who looks for lost answers in the call under way. */
struct limiter_looks {
	struct store_look looks[STORE_LOOKS_MAX];
	struct limiter_ticket tickets[STORE_LOOKS_MAX];
	size_t count;
};

TAILQ_HEAD(limiter_out, limiter_request);

/* What was said last of a bucket: the store's, or that of the share while it is spent alone. For people. */
struct limiter_level { int64_t out, left, reserved, rate, token; };

/* A 429 of the upstream, or one that another instance had. */
struct limiter_thrown {
	struct wall_time at;
	const struct limiter_identity *identity;
	int64_t pause_us;
	bool here;
};

#define LIMITER_THROWN_COUNT 10

/* Who is to be told the others' heads. */
struct limiter_showing {
	struct loop *asker;
	void (*told)(void *arg, const struct heads *heads, const char *why);
	void *arg;
};

/*
 * One bucket. A configured one is never freed before the limiter: requests of an older configuration may still want it. A
 * principal's goes when nobody has asked for it so long that nothing of it can be out.
 */
struct limiter_identity {
	struct limiter_identity *next;
	struct limiter *limiter;
	struct buf name;
	struct limiter_identity *of;		/* of a principal: the configured one whose quota it has; NULL: it is configured itself */
	struct limiter_identity *principal_next;	/* in the limiter's table */
	struct mono_time used;			/* of a principal: when it was asked for or granted last */
	uint64_t queued_told;			/* its part of `queued` of whom it counts for */
	struct queue queue;
	struct limiter_out out;			/* granted, in the order of their grants */
	struct loop_hook hook;			/* its step at the end of the turn */
	struct loop_timer timer;		/* its step when time has passed */
	struct member member;			/* this instance among those that share the bucket */
	struct bucket_ask ask;			/* of the call that is made */
	struct limiter_looks *looks;		/* the same; owned, made with the first */
	struct store_glance glance;		/* that is under way */
	struct limiter_level level;
	bool left;				/* this instance has said good-bye */
	atomic_int_fast64_t paused_until_us;	/* monotonic: the upstream wants nothing before */
	bool pause_untold;			/* the store is to be told */
	atomic_uint_fast64_t grants, queued;
	atomic_int_fast64_t limit;
	atomic_bool alone;			/* its share is spent, without the store */
	atomic_bool settling;			/* members are to be heard before anything is granted */
};

/*
 * What the indices of one configuration mean. Never freed before the limiter, since other threads read the newest
 * one.
 */
struct limiter_view {
	struct limiter_view *next;		/* the one before */
	struct config *config;			/* a reference; NULL where too old for any request */
	struct limiter_identity **identities;
	size_t identity_count;
	int64_t *caller_waiting, *caller_queue;	/* how many wait, how many may */
	size_t caller_count;
};

struct limiter {
	struct loop **loops;			/* the array is ours, the loops are not */
	size_t loop_count;
	struct spares *mails;			/* of each loop, its thread's alone: memory of mails */
	struct spares requests;			/* of struct limiter_request */
	void (*deliver)(void *arg, const struct limiter_event *event);
	void *arg;
	struct resolver *resolver;
	struct store *store;
	struct config *store_config;		/* a reference: what the store was made from */
	struct buf password;
	struct member_self self;
	void (*left)(void *arg);		/* tell that all identities are left; NULL: nobody leaves */
	void *left_arg;
	size_t leaving;				/* good-byes under way */
	struct limiter_showing showing;
	struct limiter_identity *identities;	/* principals' included */
	struct limiter_identity *principals[LIMITER_PRINCIPAL_TABLE_SIZE];
	atomic_size_t principal_count;
	int64_t principal_idle_us;
	struct loop_timer sweep;		/* of principals that are idle */
	_Atomic(struct limiter_view *) view;	/* the newest */
	struct limiter_request *table[LIMITER_TABLE_SIZE];
	struct loop_timer still_down;
	struct mono_time store_since;		/* since when it is up, or down */
	struct buf down_why;
	struct limiter_thrown thrown[LIMITER_THROWN_COUNT];	/* a ring: the newest is number thrown_count - 1 */
	uint64_t thrown_count;
	uint64_t thrown_here;			/* 429s that this instance had */
	atomic_bool store_up, store_evicts, store_tried, share, closed;
	atomic_uint_fast64_t commands_ok, commands_failed;
	atomic_int refs;			/* the owner's, and one for each mail under way */
};

/* limiter_table.c: requests by ticket */
struct limiter_request *limiter_table_find(struct limiter *limiter, struct limiter_ticket ticket);
void limiter_table_add(struct limiter *limiter, struct limiter_request *request);
void limiter_table_remove(struct limiter *limiter, struct limiter_request *request);

/* limiter_step.c: one identity's turn */
void limiter_identity_init(struct limiter_identity *identity, struct limiter *limiter, struct str name);
void limiter_identity_fini(struct limiter_identity *identity);
/* Do at the end of this turn what has become possible. */
void limiter_wake(struct limiter_identity *identity);
/* Add to a refusal when to come again, and whether it is the upstream that is waited for. KEY NULL: nobody knows whose it was. */
void limiter_word_refusal(struct limiter_identity *identity, const struct queue_lane_key *key, enum queue_class class, int64_t patience_us,
    struct limiter_event *event);
/* Refuse a request that is in no queue, and forget it. PATIENCE_US: how long it would have waited. */
void limiter_refuse(struct limiter_request *request, enum limiter_verdict verdict, int64_t patience_us);
void limiter_forget(struct limiter_request *request);

/* Whose requests these are; the limits go into STORAGE. False where the configuration is too old to tell. */
bool limiter_key(const struct limiter_view *view, size_t caller, uint32_t limits,
    struct bucket_limit storage[BUCKET_LANE_LIMITS_MAX], struct queue_lane_key *key);

/* limiter_principal.c: buckets of verified tokens' principals */
void limiter_principal_init(struct limiter *limiter, int64_t idle_us);
/* The bucket of OF that PRINCIPAL has, made where there is none yet; OF itself for "", NULL where there are too many. */
struct limiter_identity *limiter_principal(struct limiter *limiter, struct limiter_identity *of, const char *principal);
/* The quota of OF has changed. */
void limiter_principal_set_quota(struct limiter *limiter, const struct limiter_identity *of);
/* Whose grants, waiting requests and 429s count as IDENTITY's. */
struct limiter_identity *limiter_counted(struct limiter_identity *identity);

/* limiter_pause.c: the upstream's 429 */
int64_t limiter_paused_us(const struct limiter_identity *identity, struct mono_time now);
void limiter_take_throttled(struct limiter *limiter, const struct limiter_ask *ask, int64_t pause_us);
/* Learn from an answer that there is a pause, and keep to the one that is. */
void limiter_hear_pause(struct limiter_identity *identity, struct bucket_answer *answer, struct mono_time now);

/* limiter_leave.c: good-bye */
void limiter_take_leave(struct limiter *limiter, void (*done)(void *arg), void *arg);

/* limiter_heads.c: what instances show each other of their journals */
void limiter_take_show(struct limiter *limiter, const struct heads_head *own, int64_t keep_ms,
    const struct limiter_showing *showing);
/* limiter_mail.c: HEADS NULL: WHY not */
void limiter_tell_heads(struct limiter *limiter, const struct limiter_showing *showing, const struct heads *heads,
    const char *why);

/* limiter_status.c: how it stands, as JSON */
void limiter_write_status(struct limiter *limiter, struct buf *out);
/* limiter_status_identity.c */
void limiter_write_identity(const struct limiter_identity *identity, struct jsonw *w);

/* limiter_mail.c: in and out */
void limiter_mail_init(struct limiter *limiter);
void limiter_tell(struct limiter *limiter, const struct limiter_event *event);
void limiter_unref(struct limiter *limiter);

/* limiter.c: called by the mails, on the loop */
void limiter_take_submit(struct limiter *limiter, const struct limiter_ask *ask);
void limiter_take_ready(struct limiter *limiter, struct limiter_ticket ticket);
void limiter_take_cancel(struct limiter *limiter, struct limiter_ticket ticket, bool unused_token);
/* limiter_config.c: what the configuration says, and the store */
void limiter_config_init(struct limiter *limiter);
void limiter_take_config(struct limiter *limiter, struct config *config, struct str password);
void limiter_config_fini(struct limiter *limiter);
const struct limiter_view *limiter_view_of(struct limiter *limiter, const struct config *config);

#endif
