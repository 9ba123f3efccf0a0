/*
 * Whether an answer that the kernel has taken reached the client: its system has acknowledged every byte. One whose program
 * has closed resets the connection instead. That the bytes were read is not told.
 */
#ifndef JOBGATE_IO_FRONT_DELIVERY_H
#define JOBGATE_IO_FRONT_DELIVERY_H

#include "io/front.h"

enum front_delivery { FRONT_DELIVERED, FRONT_UNDELIVERED, FRONT_UNDER_WAY };

/* In on_sent: the connection's descriptor doubled, to look at and to be closed by the caller; -1: it is gone. */
int front_delivery_watch(const struct front_request *request);
enum front_delivery front_delivery_look(int fd);

#endif
