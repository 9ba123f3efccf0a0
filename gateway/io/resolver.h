/*
 * Names to addresses: getaddrinfo in a helper thread (one for each name that is being looked up, so that a name whose
 * servers are silent delays no other), with the last good answer kept.
 *
 * Shared by all workers; numeric addresses are answered at once. An answer is kept TTL (30 s); while it is refreshed,
 * or when a refresh fails, the last good one serves on.
 */
#ifndef JOBGATE_IO_RESOLVER_H
#define JOBGATE_IO_RESOLVER_H

#include <sys/socket.h>

#include "io/loop.h"

#define RESOLVER_ADDRESSES_MAX 8

struct resolver;

struct resolver_answer {
	int error;		/* 0, or an EAI_ code */
	size_t count;
	struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX];	/* with the port set */
	socklen_t lengths[RESOLVER_ADDRESSES_MAX];
};

struct resolver *resolver_new(void);
/* A getaddrinfo under way is left behind detached rather than waited for. All asks must have been cancelled. */
void resolver_free(struct resolver **resolver);

/* A question of one loop; the asker frees it by resolver_cancel, before or after its answer. */
struct resolver_ask;

/*
 * Ask; ON_ANSWER(arg, answer) runs once on LOOP's thread, never before this returns, not after resolver_cancel.
 * ANSWER is valid until it returns. Call from LOOP's thread.
 */
struct resolver_ask *resolver_ask(struct resolver *resolver, struct loop *loop, const char *host, uint16_t port,
    void (*on_answer)(void *arg, const struct resolver_answer *answer), void *arg);
/* Free an ask, answered (also inside its ON_ANSWER) or not; from its loop's thread. NULL is nothing. */
void resolver_cancel(struct resolver_ask **ask);

#endif
