/*
 * The admin listener: health, metrics and status, on a port of its own and on main's loop, so that it answers whatever the workers do.
 */
#ifndef JOBGATE_GATE_ADMIN_H
#define JOBGATE_GATE_ADMIN_H

#include "gate/metrics.h"
#include "io/front.h"

struct admin;

struct admin_hooks {
	/* Append the reasons as JSON strings, comma separated; the status to answer: 200, or 503 with the reason that makes it so. */
	int (*readiness)(void *arg, struct buf *reasons);
	/* What metrics are written from; false while starting. */
	bool (*metrics)(void *arg, struct metrics_source *source);
	/* Ask how it stands: admin_tell_status follows, never inside. Not called again before. */
	void (*status)(void *arg);
};

/* FD is a listening socket, owned. */
struct admin *admin_new(struct loop *loop, int fd, const struct admin_hooks *hooks, void *arg);
/*
 * INSTANCE is a name under which it may be asked; TOKEN (empty: there is none) what is asked for all but health and metrics. Of the
 * token its hash alone is kept. On its loop.
 */
void admin_set_access(struct admin *admin, struct str instance, struct str token);
/* How it stands, as asked for: goes to all who wait. On its loop. */
void admin_tell_status(struct admin *admin, struct str json);
/* Close the listener and all connections. */
void admin_free(struct admin **admin);

#endif
