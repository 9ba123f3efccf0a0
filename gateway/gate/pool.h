/*
 * The ways from one worker to the upstream: one client for the upstream's own name, and under upstream.private_link one for each workspace's.
 * On the worker's thread alone.
 */
#ifndef JOBGATE_GATE_POOL_H
#define JOBGATE_GATE_POOL_H

#include "io/upstream.h"
#include "rules/config.h"

struct pool;

/*
 * TLS is owned from now on; PROXY ("http://[user:password@]host:port", empty: none) is copied. LOOP and RESOLVER are borrowed and outlive it,
 * CONFIG is kept by a reference.
 */
struct pool *pool_new(struct loop *loop, struct resolver *resolver, struct config *config, struct tls_client *tls, struct str proxy);
void pool_free(struct pool **pool);

/* New connections by CONFIG, TLS and PROXY, taken as in pool_new, from now on; pooled ones are dropped. */
void pool_reload(struct pool *pool, struct config *config, struct tls_client *tls, struct str proxy);

/*
 * The client for requests of WORKSPACE (empty: of none); CONFIG, which may be an older one, says whether it has a host of its own. Valid as long as a call on it is open or until the next call of this. NULL where
 * requests to as many workspaces as there may be are under way.
 */
struct upstream *pool_upstream(struct pool *pool, const struct config *config, struct str workspace);

#endif
