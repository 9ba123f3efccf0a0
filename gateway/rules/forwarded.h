/*
 * For whom a proxy asks: X-Forwarded-For, the list of hops to which each proxy adds at the end whom it was asked by.
 *
 * Only what trusted proxies added can be believed, and so it is read from the right: the first hop that is no trusted proxy is the
 * client. What is left of it the client may have invented.
 */
#ifndef JOBGATE_RULES_FORWARDED_H
#define JOBGATE_RULES_FORWARDED_H

#include "base/http1.h"
#include "rules/network.h"

/* Whether the proxy says nothing of hops, names the client, or names it by what is no address. */
enum forwarded { FORWARDED_ABSENT, FORWARDED_CLIENT, FORWARDED_UNREADABLE };

/*
 * The client of a request that came from one of TRUSTED, as *ADDRESS and as a slice of HEAD; where all hops are trusted, the first. Nothing is set
 * where there is no such field: the peer itself asks. Nor is it where a hop that counts is no address: who asks is then not known.
 */
enum forwarded forwarded_client(const struct http1_head *head, const struct network_list *trusted, struct network_address *address,
    struct str *host);

#endif
