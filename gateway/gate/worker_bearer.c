/* The bearers of a worker: one for each identity, handed over by main. */
#include <stdlib.h>

#include "base/check.h"
#include "gate/worker.h"

struct worker_bearer_mail {
	struct mail mail;
	struct worker *worker;
	size_t identity;
	struct bearer *bearer;	/* a reference */
};

/* Keep what has come in the place of what was there. */
static void
worker_keep_bearer(struct worker *worker, size_t identity, struct bearer *bearer)
{
	if (identity >= worker->bearer_count) {
		worker->bearers = reallocarray(worker->bearers, identity + 1, sizeof(struct bearer *));
		check(worker->bearers != NULL);
		while (worker->bearer_count <= identity)
			worker->bearers[worker->bearer_count++] = NULL;
	}
	bearer_unref(&worker->bearers[identity]);
	worker->bearers[identity] = bearer;
}

/* A bearer has come: whoever waited for it looks again. */
static void
on_bearer(struct mail *mail)
{
	struct worker_bearer_mail *m = (struct worker_bearer_mail *)mail;
	struct worker *worker = m->worker;

	worker_keep_bearer(worker, m->identity, m->bearer);
	for (size_t i = 0; i < worker->slot_count; i++)
		if (worker->slots[i] && worker->slots[i]->awaits_bearer)
			request_make_ready(worker->slots[i]);
	free(m);
}

void
worker_set_bearer(struct worker *worker, size_t identity, struct bearer *bearer)
{
	struct worker_bearer_mail *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->mail.run = on_bearer;
	m->worker = worker;
	m->identity = identity;
	m->bearer = bearer_ref(bearer);
	loop_post(worker->loop, &m->mail);
}

const struct bearer *
worker_bearer(const struct worker *worker, size_t identity)
{
	return identity < worker->bearer_count ? worker->bearers[identity] : NULL;
}

void
worker_drop_bearers(struct worker *worker)
{
	for (size_t i = 0; i < worker->bearer_count; i++)
		bearer_unref(&worker->bearers[i]);
	free(worker->bearers);
}
