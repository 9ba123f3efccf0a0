/*
 * One GET over plain HTTP/1.1 to a listener of our own machine or network. Blocks, 5 s at most: for subcommands alone.
 */
#ifndef JOBGATE_COMMAND_FETCH_H
#define JOBGATE_COMMAND_FETCH_H

#include "base/buf.h"

/*
 * GET TARGET, with TOKEN (may be empty) as Authorization: Bearer, from HOST (numeric; the one that means any stands for loopback) and PORT: the status and, in BODY, the body. 0 with a
 * sentence in ERROR where there was no whole answer of HTTP.
 */
int fetch(struct str host, uint16_t port, const char *target, struct str token, struct buf *body, struct buf *error);

#endif
