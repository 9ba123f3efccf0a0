/*
 * Credentials: the tokens by which the gateway calls the upstream as itself, fetched ahead on main's loop, one request in flight for each
 * identity, and handed out as snapshots.
 *
 * A token is replaced 5 to 6 minutes before its end. While the endpoint is down the old one serves as long as it lives; it is asked again after
 * 1 s, doubling to 60 s, or when it said. Down and back are announced once.
 */
#ifndef JOBGATE_GATE_ACCESS_TOKENS_H
#define JOBGATE_GATE_ACCESS_TOKENS_H

#include "gate/access_token.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "rules/config.h"

struct access_tokens;

struct access_settings {
	struct loop *loop;
	struct resolver *resolver;
	/* Hand ACCESS, which is borrowed for the call, to whoever sends requests of that identity. On the loop's thread. */
	void (*publish)(void *arg, size_t identity, struct access_token *access);
	void *arg;
};

/*
 * Begin to fetch for every identity of CONFIG that has a credential; takes a reference of CONFIG and a copy of PROXY (its URL,
 * by which Entra is reached where proxy_is_for it; empty: none). Nothing is published before this returns.
 */
struct access_tokens *access_tokens_new(const struct access_settings *settings, struct config *config, struct str proxy);
void access_tokens_free(struct access_tokens **tokens);

/*
 * From now on by CONFIG: every token is fetched anew, so that new secrets are used. The old one of the same principal serves until then; that of
 * another is taken away at once. Publishes inside the call.
 */
void access_tokens_reload(struct access_tokens *tokens, struct config *config, struct str proxy);

/*
 * The upstream has answered 401 to the token of VERSION: fetch another one, unless there is one already or that was done just now; either way a
 * snapshot of another round is published, in the end.
 */
void access_tokens_turned_away(struct access_tokens *tokens, size_t identity, uint64_t version);

/* Whether the endpoint of any identity could not be asked, or said no, the last time. */
bool access_tokens_are_ill(const struct access_tokens *tokens);

#endif
