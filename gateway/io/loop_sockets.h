/*
 * For the modules of io/ alone: sockets of which a turn takes a few at a time, those that wait longest first.
 *
 * The loop takes all descriptors that are ready, so that a crowd of clients would be read in one turn, whatever there are: each step of
 * the turn would then go through the memory of thousands of requests, of which none is in the processor's cache any more. Bytes that are
 * left in the kernel cost nothing. The sockets have an epoll set of their own, which the loop watches as one descriptor.
 */
#ifndef JOBGATE_IO_LOOP_SOCKETS_H
#define JOBGATE_IO_LOOP_SOCKETS_H

#include <stdbool.h>

#include "io/loop.h"

#define LOOP_SOCKET_READ 1u
#define LOOP_SOCKET_WRITE 2u

struct loop_sockets;

/* ON_READY is called with what a socket was watched for and is ready for: an error or the peer's end counts as both. */
struct loop_sockets *loop_sockets_new(struct loop *loop, void (*on_ready)(void *socket, unsigned what));
/* No socket is watched any more. */
void loop_sockets_free(struct loop_sockets **sockets);

/*
 * Watch FD for WHAT instead of for BEFORE (0: not at all), and call ON_READY with SOCKET. Within ON_READY no other socket may be freed:
 * it may be among those that are ready.
 */
void loop_sockets_watch(struct loop_sockets *sockets, int fd, unsigned before, unsigned what, void *socket);

/* Whether, since it was asked for last, a look took as many as a turn takes, so that there may be more. */
bool loop_sockets_had_many(struct loop_sockets *sockets);

#endif
