/* Which hosts are reached through upstream.proxy, and the names that a workspace's private link has (pure). */
#ifndef JOBGATE_RULES_PROXY_H
#define JOBGATE_RULES_PROXY_H

#include "rules/config.h"

/*
 * Whether HOST (a name or an address, without brackets and port) is reached through the proxy: there is one, and no entry of no_proxy is
 * for the host. A name there is for itself and all names below it, an address or block for numeric hosts alone: no name is resolved for it.
 */
bool proxy_is_for(const struct config *config, struct str host);

/* Whether HOST is a numeric address. */
bool proxy_is_address(struct str host);

/* Whether TEXT may stand in no_proxy. */
bool proxy_is_exception(struct str text);

/*
 * Append upstream.proxy with PASSWORD (empty: what the URL says) percent-encoded in it. The room is made once; the caller wipes OUT. Nothing
 * where there is no proxy.
 */
void proxy_add_url(const struct config *config, struct str password, struct buf *out);

/*
 * Append what stands in front of the upstream's names for WORKSPACE (a UUID in lower case) under upstream.private_link:
 * "{32 hexadecimal digits}.z{the first two}.w." (fabric.md 1). Nothing without private_link, or where the route has no workspace.
 */
void proxy_add_private_prefix(const struct config *config, struct str workspace, struct buf *out);

#endif
