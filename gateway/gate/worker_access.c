/* The access tokens of a worker: one for each identity, handed over by main. */
#include <stdlib.h>

#include "base/check.h"
#include "gate/worker.h"

struct worker_access_mail {
	struct mail mail;
	struct worker *worker;
	size_t identity;
	struct access_token *access;	/* a reference */
};

/* Keep what has come in the place of what was there. */
static void
worker_keep_access(struct worker *worker, size_t identity, struct access_token *access)
{
	if (identity >= worker->access_count) {
		worker->access = reallocarray(worker->access, identity + 1, sizeof(struct access_token *));
		check(worker->access != NULL);
		while (worker->access_count <= identity)
			worker->access[worker->access_count++] = NULL;
	}
	access_token_unref(&worker->access[identity]);
	worker->access[identity] = access;
}

/* A token has come: whoever waited for it looks again. */
static void
on_access(struct mail *mail)
{
	struct worker_access_mail *m = (struct worker_access_mail *)mail;
	struct worker *worker = m->worker;

	worker_keep_access(worker, m->identity, m->access);
	for (size_t i = 0; i < worker->slot_count; i++)
		if (worker->slots[i] && worker->slots[i]->awaits_access)
			request_make_ready(worker->slots[i]);
	free(m);
}

void
worker_set_access(struct worker *worker, size_t identity, struct access_token *access)
{
	struct worker_access_mail *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->mail.run = on_access;
	m->worker = worker;
	m->identity = identity;
	m->access = access_token_ref(access);
	loop_post(worker->loop, &m->mail);
}

const struct access_token *
worker_access(const struct worker *worker, size_t identity)
{
	return identity < worker->access_count ? worker->access[identity] : NULL;
}

void
worker_drop_access(struct worker *worker)
{
	for (size_t i = 0; i < worker->access_count; i++)
		access_token_unref(&worker->access[i]);
	free(worker->access);
}
