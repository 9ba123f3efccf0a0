/* For instance*.c alone. */
#ifndef JOBGATE_GATE_INSTANCE_PRIVATE_H
#define JOBGATE_GATE_INSTANCE_PRIVATE_H

#include <stdatomic.h>

#include "gate/admin.h"
#include "gate/access_tokens.h"
#include "gate/anchors.h"
#include "gate/claims.h"
#include "gate/instance.h"
#include "gate/issuers.h"
#include "gate/undelivered.h"
#include "gate/worker.h"
#include "io/resolver.h"

struct instance {
	struct loop *loop;		/* main's */
	struct mono_time started;
	const char *file;
	struct config *config;		/* referenced */
	struct buf name;		/* label in records and metrics */
	struct buf proxy;		/* upstream.proxy's URL with the password; wiped */
	struct resolver *resolver;
	struct journal *journal;
	struct audit *audit;
	struct limiter *limiter;
	struct claims *claims;
	struct anchors *anchors;
	struct access_tokens *access;
	struct issuers *issuers;	/* of config */
	struct admin *admin;
	struct worker_shared shared;
	struct buf orphans;		/* the intents that had no outcome, a line each, while it starts */
	size_t orphan_count;
	struct worker **workers;
	struct loop **loops;
	size_t worker_count;
	int *fds;			/* worker_count times listen_count listening sockets; -1 once handed over */
	int admin_fd;
	struct condition upstream;
	struct stats_labels labels;
	struct loop_timer look;		/* whether the store was tried */
	atomic_bool open;		/* requests are served */
	atomic_bool draining;
	struct instance_watch *watch;
	/* Drain. */
	struct loop_timer delay, timeout;
	struct mono_time drain_by;	/* the process has ended by then */
	size_t drained;			/* workers that have told so */
	bool listeners_closed, aborted, gave_up;
	bool leaving;			/* all work is done: the store is told good-bye */
	int telling;			/* of the good-bye and the ends of claims, what is still told; main's loop only */
};

/* Warn of keys that have expired or soon will. */
void instance_say_expiring(const struct config *config);

/* What a worker needs of OpenSSL: one set each, since contexts are not shared between threads. */
struct instance_tls {
	struct tls_client *client;
	struct tls_server **servers;	/* one per listener, NULL for plain ones */
};
bool instance_load_tls(const struct config *config, struct instance_tls *tls, struct buf *error);
/* Whether the store's authorities can be read; the connection reads them itself, when it first connects. */
bool instance_check_store_tls(const struct config *config, struct buf *error);

/*
 * instance_issuers.c: make what knows the keys of CONFIG's issuers, hand the workers the keys that they have now, and ask
 * for one that a token has shown and nobody knows (ARG: the instance; any thread)
 */
struct issuers *instance_new_issuers(struct instance *instance, struct config *config, struct str proxy, struct buf *error);
void instance_on_unknown_key(void *arg, struct str issuer);

/* instance_ready.c: whether callers should be sent here (ARG: the instance; any thread), and what is ill (main's thread) */
bool instance_is_ready(void *arg);
int instance_readiness(void *arg, struct buf *reasons);

/* instance_status.c: have the admin listener told how it stands */
void instance_ask_status(void *arg);

/* instance_watch.c: reload when a file that CONFIG names has changed since this was called; before any of them is read. */
struct instance_watch *instance_watch_new(struct instance *instance, struct config *config);
void instance_watch_free(struct instance_watch **watch);

/* instance_orphans.c: hear of an intent without an outcome (ARG: the instance), and look for such runs; before the workers run */
void instance_on_orphan(void *arg, struct str intent_line);
void instance_resolve_orphans(struct instance *instance);

/* instance_access.c: begin to fetch tokens for the workers, and what a worker tells of a refused one (any thread) */
void instance_start_access(struct instance *instance);
void instance_on_turned_away(void *arg, size_t identity, uint64_t version);

/* instance_drain.c */
void instance_init_drain(struct instance *instance);
void instance_fini_drain(struct instance *instance);
void instance_on_drained(struct worker *worker);

#endif
