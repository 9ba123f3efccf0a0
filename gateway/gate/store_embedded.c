/* The embedded store: buckets in memory; answers are given at the end of the loop's turn, as if from afar. */
#include "gate/store_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct embedded_bucket {
	struct embedded_bucket *next;
	struct bucket *bucket;	/* owned */
	struct buf identity;	/* owned */
};

struct embedded_answer {
	struct embedded_answer *next;
	struct bucket_ask ask;
	struct bucket_answer answer;
	void (*on_answer)(void *arg, const struct store_answer *answer);
	void *arg;
};

struct store_embedded {
	struct store store;
	struct loop *loop;
	struct loop_hook hook;
	struct embedded_bucket *buckets;	/* one for each identity and principal that is in use */
	struct embedded_answer *answers, **answers_tail;	/* of this turn */
	bool dead, answering;			/* freed by a completion */
};

static void store_embedded_free(struct store *store);

/* Memory of its own is never away. */
static bool
embedded_is_up(const struct store *store)
{
	(void)store;
	return true;
}

/* The bucket of an identity, made at first sight. */
static struct embedded_bucket *
embedded_bucket(struct store_embedded *store, struct str identity)
{
	struct embedded_bucket *b;

	for (b = store->buckets; b; b = b->next)
		if (str_eq(buf_str(&b->identity), identity))
			return b;
	b = calloc(1, sizeof(*b));
	check(b != NULL);
	b->bucket = bucket_new();
	buf_add(&b->identity, identity);
	b->next = store->buckets;
	store->buckets = b;
	return b;
}

/* Forget the bucket of an identity that nobody asks for any more. */
static void
embedded_forget(struct store_embedded *store, struct embedded_bucket *bucket)
{
	struct embedded_bucket **p = &store->buckets;

	while (*p != bucket)
		p = &(*p)->next;
	*p = bucket->next;
	bucket_free(&bucket->bucket);
	buf_fini(&bucket->identity);
	free(bucket);
}

/* The turn ends: give the answers. */
static void
on_turn_end(void *arg)
{
	struct store_embedded *store = arg;
	struct embedded_answer *answer;

	store->answering = true;
	while (!store->dead && (answer = store->answers) != NULL) {
		store->answers = answer->next;
		if (store->answers == NULL)
			store->answers_tail = &store->answers;
		answer->on_answer(answer->arg, &(struct store_answer){ true, &answer->ask, &answer->answer, NULL, 0, false });
		free(answer);
	}
	store->answering = false;
	if (store->dead)
		store_embedded_free(&store->store);
}

/* Take now, answer at the end of the turn. */
static bool
embedded_take(struct store *base, struct str identity, const struct bucket_ask *ask, const struct store_look *looks, size_t look_count,
    void (*on_answer)(void *arg, const struct store_answer *answer), void *arg)
{
	struct store_embedded *store = (struct store_embedded *)base;
	struct embedded_answer *answer = malloc(sizeof(*answer));
	struct embedded_bucket *bucket = embedded_bucket(store, identity);

	(void)looks;
	(void)look_count;	/* this instance's own are looked for before */
	check(answer != NULL);
	answer->on_answer = on_answer;
	answer->arg = arg;
	answer->next = NULL;
	bucket_ask_copy(&answer->ask, ask);
	answer->ask.id[0] = '\0';	/* alone */
	bucket_take(bucket->bucket, &answer->ask, loop_now(store->loop).us, &answer->answer);
	if (ask->leave)
		embedded_forget(store, bucket);
	*store->answers_tail = answer;
	store->answers_tail = &answer->next;
	loop_at_turn_end(store->loop, &store->hook);
	return true;
}

/* Free everything; where that is within a completion, mark it and let on_turn_end do it. */
static void
store_embedded_free(struct store *base)
{
	struct store_embedded *store = (struct store_embedded *)base;
	struct embedded_answer *answer;

	store->dead = true;
	if (store->answering)
		return;
	loop_unhook(store->loop, &store->hook);
	while ((answer = store->answers) != NULL) {
		store->answers = answer->next;
		free(answer);
	}
	while (store->buckets)
		embedded_forget(store, store->buckets);
	free(store);
}

static const struct store_kind embedded_kind = {
	.is_up = embedded_is_up,
	.take = embedded_take,
	.free = store_embedded_free,
};

struct store *
store_embedded_new(struct loop *loop)
{
	struct store_embedded *store = calloc(1, sizeof(*store));

	check(store != NULL);
	store->store.kind = &embedded_kind;
	store->loop = loop;
	store->hook = (struct loop_hook){ .fn = on_turn_end, .arg = store };
	store->answers_tail = &store->answers;
	return &store->store;
}
