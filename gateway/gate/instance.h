/*
 * The instance: everything that runs, from its start to its drain. On main's thread and loop.
 *
 * Start order: journal (locked and recovered), addresses, certificates, limiter, workers; accepting begins when the store has
 * been tried once. Draining: readyz says 503, after drain.delay the listeners close, waiting requests are refused, sent ones are finished,
 * at drain.timeout what is open is recorded as unknown.
 */
#ifndef JOBGATE_GATE_INSTANCE_H
#define JOBGATE_GATE_INSTANCE_H

#include "io/loop.h"
#include "rules/config.h"

struct instance;

/* FILE is read again at a reload. Takes a reference of CONFIG. NULL with a sentence in ERROR; everything is undone then. */
struct instance *instance_start(struct loop *loop, const char *file, struct config *config, struct buf *error);

/* Swap the configuration for what the file says now; a wrong one, or one that would need a restart, is refused whole and logged. */
void instance_reload(struct instance *instance);

/* Begin to drain; a second call skips the waiting. loop_stop is called when it has ended. */
void instance_drain(struct instance *instance);

/* Whether the drain ended without the last records: then nothing can be ended in order, and the process is to exit as it stands. */
bool instance_gave_up(const struct instance *instance);

/* After loop_run has returned: end the threads, write the last records. */
void instance_free(struct instance **instance);

#endif
