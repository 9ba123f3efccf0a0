/* A proxy of HTTP as its URL tells it: "http://[user:password@]host:port". */
#ifndef JOBGATE_IO_PROXY_H
#define JOBGATE_IO_PROXY_H

#include "io/upstream.h"

/*
 * What URL tells; PROXY->authorization is made in AUTHORIZATION, and both live as long as URL and that buffer (wipe it:
 * it holds the password). An empty URL is no proxy. NULL, or a sentence about what is wrong.
 */
const char *proxy_from_url(struct str url, struct upstream_proxy *proxy, struct buf *authorization);

#endif
