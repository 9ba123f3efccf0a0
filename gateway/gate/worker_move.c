/* Connections go to the worker that they belong to (gate/spread.h). */
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "gate/worker.h"

struct worker_moved {
	struct mail mail;
	struct worker *worker;		/* who gets it */
	struct front_moved moved;
};

bool
worker_leaves(void *arg, size_t number)
{
	struct worker *worker = arg;
	struct spread *spread = &worker->shared->spread;
	struct mono_time now = loop_now(worker->loop);

	if (spread_is_due(spread, &worker->window, now))
		spread_note(spread, worker->index, &worker->window, now, loop_waited_us(worker->loop));
	return spread_home(spread, number) != worker->index;
}

/* A connection has come. Where the front has gone nobody is served any more. */
static void
on_moved(struct mail *mail)
{
	struct worker_moved *m = (struct worker_moved *)mail;

	if (m->worker->front)
		front_take(m->worker->front, &m->moved);
	else
		close(m->moved.fd);
	spread_end(&m->worker->shared->spread);
	free(m);
}

bool
worker_on_leave(void *arg, const struct front_moved *moved)
{
	struct worker *worker = arg, *to = worker->shared->workers[spread_home(&worker->shared->spread, moved->number)];
	struct worker_moved *m;

	if (to == worker || !spread_begin(&worker->shared->spread))
		return false;
	m = malloc(sizeof(*m));
	check(m != NULL);
	m->mail.run = on_moved;
	m->worker = to;
	m->moved = *moved;
	loop_post(to->loop, &m->mail);
	return true;
}
