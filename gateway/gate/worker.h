/*
 * A worker: a loop on a thread of its own with a front, an upstream pool, its requests and counters. No other thread touches
 * them; main and the limiter speak to it by mail.
 */
#ifndef JOBGATE_GATE_WORKER_H
#define JOBGATE_GATE_WORKER_H

#include <pthread.h>

#include "gate/abuse.h"
#include "gate/audit.h"
#include "gate/access_token.h"
#include "gate/caller_token_cache.h"
#include "gate/condition.h"
#include "gate/delivery.h"
#include "gate/keyring.h"
#include "gate/limiter.h"
#include "gate/polls.h"
#include "gate/pool.h"
#include "gate/request.h"
#include "gate/resolution.h"
#include "gate/runs.h"
#include "gate/spread.h"
#include "gate/stats.h"
#include "io/front.h"
#include "io/tls.h"
#include "io/upstream.h"

/* What all workers share; owned by the instance and longer-lived than they. */
struct worker;

struct worker_shared {
	struct audit *audit;
	struct limiter *limiter;
	struct polls *polls;
	struct claims *claims;
	struct undelivered *undelivered;
	struct abuse *abuse;
	struct resolver *resolver;
	/* 200 or 503 for readyz without reasons; any thread. */
	bool (*is_ready)(void *arg);
	void *arg;
	struct worker **workers;	/* borrowed, by index */
	size_t worker_count;
	struct spread spread;		/* of connections over them */
	struct condition *upstream;	/* whether the upstream can be reached */
	struct runs *runs;
	atomic_size_t resolutions;	/* unknown outcomes that are being looked for, on all workers */
	atomic_size_t connections;	/* of callers, on all workers: the limit is the instance's */
	/* The upstream has answered 401 to the token of VERSION; on the worker's thread. */
	void (*on_turned_away)(void *arg, size_t identity, uint64_t version);
	/* A token of ISSUER has shown a key that is not known; any thread, with ARG. */
	void (*on_unknown_key)(void *arg, struct str issuer);
	void (*on_drained)(struct worker *worker);	/* on the worker's thread, once, when it has no request and no answer to write left */
};

/* Random bytes are asked of the kernel for so many request ids at once. */
#define WORKER_RANDOM_BYTES (REQUEST_RANDOM_BYTES * 64)

struct worker {
	unsigned index;
	struct loop *loop;
	pthread_t thread;
	bool running;
	struct worker_shared *shared;
	struct config *config;		/* referenced */
	struct keyring *keyring;	/* of that configuration's issuers; a reference */
	struct caller_token_cache *known_tokens;	/* tokens that were good by both */
	struct mono_time key_wanted;	/* when it told main that a key is not known */
	struct front *front;
	struct tls_server **tls_servers;	/* one per listener; NULL for plain ones */
	struct pool *pool;
	struct resolutions *resolutions;
	struct stats *stats;
	struct deliveries deliveries;	/* answers to runs that are on their way to the client */
	struct access_token **access;	/* by identity; references, NULL where none has come */
	size_t access_count;
	/* Requests by slot; a ticket's generation tells a slot's tenants apart. */
	struct request **slots;
	uint32_t *free_slots;
	size_t slot_count, free_count, request_count;
	uint32_t generation;
	struct request *ready, **ready_tail;	/* to be run at the end of the turn */
	struct loop_hook ready_hook;
	struct loop_hook records_hook;	/* wakes the journal for the records that it was given */
	struct buf text;		/* that is being made; memory kept from one to the next */
	struct spread_window window;
	struct loop_timer drain_timer;
	bool draining, drained_told;
	struct spares request_memory, arena_memory;	/* of its requests */
	uint8_t random[WORKER_RANDOM_BYTES];	/* the first RANDOM_LEFT are not used yet */
	size_t random_left;
};

/*
 * TLS_CLIENT and TLS_SERVERS (an array, an entry per listener, NULL for plain ones) are owned from now on; KEYRING, of the
 * issuers of CONFIG, is referenced; PROXY (pool.h) is copied.
 */
struct worker *worker_new(unsigned index, struct worker_shared *shared, struct config *config, struct keyring *keyring,
    struct str proxy,
    struct tls_client *tls_client, struct tls_server **tls_servers);
void worker_start(struct worker *worker);
/* Ask its loop to end and wait for the thread. */
void worker_stop(struct worker *worker);
void worker_free(struct worker **worker);

/* --- by mail, from main --- */
void worker_open(struct worker *worker, int *fds);	/* begin to accept; FDS has a listening socket per listener, owned with its array */
void worker_reload(struct worker *worker, struct config *config, struct keyring *keyring, struct str proxy,
    struct tls_client *tls_client, struct tls_server **tls_servers);
void worker_set_keyring(struct worker *worker, struct keyring *keyring);	/* of the configuration it has; referenced */
void worker_drain(struct worker *worker);	/* refuse who waits, finish what was sent, close the rest */
void worker_set_access(struct worker *worker, size_t identity, struct access_token *access);	/* takes a reference of its own; worker_access.c */
void worker_abort(struct worker *worker);	/* time is up: record what is open as unknown */

/* Any thread: hand a limiter's event to its request. On the worker's own loop. */
void worker_on_limiter(struct worker *worker, const struct limiter_event *event);
/* The same of its claim's; takes the event's answer. */
void worker_on_claims(struct worker *worker, struct claims_event *event);
/* What the fleet has of what a request looks for; an answer that nobody is there for is lost again. */
void worker_on_found(struct worker *worker, const struct claims_found *found);
/* What WHO had joined has landed; false where it has gone. Takes the answer. */
bool worker_on_landed(struct worker *worker, const struct lost_who *who, struct lost_found *found);

/* The same of the polls; the event's answer is taken. */
void worker_on_polls(struct worker *worker, const struct polls_event *event);

/* --- for the requests of this worker --- */
void worker_add(struct worker *worker, struct request *request);	/* gives it a slot */
void worker_remove(struct worker *worker, struct request *request);
void worker_make_ready(struct worker *worker, struct request *request);
/* REQUEST_RANDOM_BYTES that tell its id apart; no secret. */
void worker_random(struct worker *worker, uint8_t out[REQUEST_RANDOM_BYTES]);
/* worker_records.c; its memory goes with the worker. */
void worker_records_init(struct worker *worker);
/* Room for a text that is no secret, empty, until it is asked for again. */
struct buf *worker_text(struct worker *worker);
/* Hand a record to the journal (journal_put), which is woken for many at once. */
bool worker_record(struct worker *worker, struct journal_entry *entry);
/* worker_move.c; of several workers alone (front_hooks). */
bool worker_leaves(void *worker, size_t number);
bool worker_on_leave(void *worker, const struct front_moved *moved);
/* What IDENTITY calls the upstream with, as last heard; NULL where nothing was. */
const struct access_token *worker_access(const struct worker *worker, size_t identity);
/* Give the tokens back, at its end. */
void worker_drop_access(struct worker *worker);
/* A new ticket for its slot: verdicts for an older one no longer find it. */
struct limiter_ticket worker_ticket(struct worker *worker, const struct request *request);

#endif
