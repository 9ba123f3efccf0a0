/*
 * Signals as events of one loop: blocked in every thread, read from a signalfd.
 */
#ifndef JOBGATE_IO_SIGNALS_H
#define JOBGATE_IO_SIGNALS_H

#include "io/loop.h"

struct signals;

/* Before any thread is made: SIGTERM, SIGINT and SIGHUP wait for signals_new, SIGPIPE and SIGXFSZ are ignored. */
void signals_block(void);

/* ON_SIGNAL(arg, number) on LOOP for each of SIGTERM, SIGINT, SIGHUP. */
struct signals *signals_new(struct loop *loop, void (*on_signal)(void *arg, int number), void *arg);
void signals_free(struct signals **signals);

#endif
