/* The runs that were sent lately: a table by item, one by request, and a list by age. */
#include "gate/runs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/check.h"
#include "rules/uuid.h"

#define RUNS_CHAINS 16384
/* 12 MB. Where more were sent in the time, the oldest are given up, and nothing is said of their time. */
#define RUNS_MAX 65536

struct run {
	TAILQ_ENTRY(run) by_age;
	LIST_ENTRY(run) of_item, of_request;
	struct mono_time sent;
	char item[UUID_BYTES], request[UUID_BYTES];
	char instance[UUID_BYTES];	/* a NUL first: none that is known */
};

TAILQ_HEAD(run_list, run);
LIST_HEAD(run_chain, run);

struct runs {
	pthread_mutex_t lock;		/* held for a look into the table */
	struct run_list by_age;		/* oldest first */
	struct run_chain by_item[RUNS_CHAINS];
	struct run_chain by_request[RUNS_CHAINS];	/* an item may have all of them: its chain is for those who look seldom */
	size_t count;
	struct mono_time since;		/* all that was sent later is here, or too old for anybody */
};

struct runs *
runs_new(struct mono_time since)
{
	struct runs *runs = calloc(1, sizeof(*runs));

	check(runs != NULL);
	pthread_mutex_init(&runs->lock, NULL);
	TAILQ_INIT(&runs->by_age);
	runs->since = since;
	return runs;
}

/* The chain of an item or a request. */
static struct run_chain *
chain_of(struct run_chain chains[RUNS_CHAINS], struct str id)
{
	return &chains[str_hash_end(str_hash(STR_HASH_BEGIN, id)) % RUNS_CHAINS];
}

/* Forget a run. */
static void
runs_drop(struct runs *runs, struct run *run)
{
	LIST_REMOVE(run, of_item);
	LIST_REMOVE(run, of_request);
	TAILQ_REMOVE(&runs->by_age, run, by_age);
	runs->count--;
	free(run);
}

void
runs_free(struct runs **runs_p)
{
	struct runs *runs = *runs_p;

	if (runs == NULL)
		return;
	*runs_p = NULL;
	while (!TAILQ_EMPTY(&runs->by_age))
		runs_drop(runs, TAILQ_FIRST(&runs->by_age));
	pthread_mutex_destroy(&runs->lock);
	free(runs);
}

/* Forget what is too old, and the oldest where there is no room. */
static void
runs_expire(struct runs *runs, struct mono_time now)
{
	struct run *run;

	while ((run = TAILQ_FIRST(&runs->by_age)) != NULL) {
		if (now.us - run->sent.us <= RUNS_KEEP_US && runs->count < RUNS_MAX)
			return;
		if (run->sent.us >= runs->since.us)
			runs->since.us = run->sent.us + 1;
		runs_drop(runs, run);
	}
}

/* The run REQUEST, or NULL. */
static struct run *
runs_find(struct runs *runs, struct str request)
{
	struct run *run;

	LIST_FOREACH(run, chain_of(runs->by_request, request), of_request)
		if (memcmp(run->request, request.p, UUID_BYTES) == 0)
			break;
	return run;
}

/* Make a run. */
static struct run *
runs_add(struct runs *runs, struct str item, struct str request)
{
	/* Found once: the macros below name their list four times. */
	struct run_chain *of_item = chain_of(runs->by_item, item), *of_request = chain_of(runs->by_request, request);
	struct run *run = calloc(1, sizeof(*run));

	check(run != NULL);
	memcpy(run->item, item.p, UUID_BYTES);
	memcpy(run->request, request.p, UUID_BYTES);
	LIST_INSERT_HEAD(of_item, run, of_item);
	LIST_INSERT_HEAD(of_request, run, of_request);
	runs->count++;
	return run;
}

void
runs_sent(struct runs *runs, struct str item, struct str request, struct mono_time now)
{
	struct run *run;

	check(item.n == UUID_BYTES && request.n == UUID_BYTES);
	pthread_mutex_lock(&runs->lock);
	runs_expire(runs, now);
	run = runs_find(runs, request);
	if (run)
		TAILQ_REMOVE(&runs->by_age, run, by_age);
	else
		run = runs_add(runs, item, request);
	run->sent = now;
	TAILQ_INSERT_TAIL(&runs->by_age, run, by_age);
	pthread_mutex_unlock(&runs->lock);
}

void
runs_ended(struct runs *runs, struct str request, enum runs_fate fate, struct str instance)
{
	struct run *run;

	pthread_mutex_lock(&runs->lock);
	run = runs_find(runs, request);
	if (run && fate == RUNS_NOTHING) {
		runs_drop(runs, run);
	} else if (run && fate == RUNS_INSTANCE && instance.n == UUID_BYTES) {
		memcpy(run->instance, instance.p, UUID_BYTES);
	}
	pthread_mutex_unlock(&runs->lock);
}

void
runs_know_since(struct runs *runs, struct mono_time since)
{
	pthread_mutex_lock(&runs->lock);
	runs->since = since;
	pthread_mutex_unlock(&runs->lock);
}

bool
runs_knows_since(struct runs *runs, struct mono_time from)
{
	bool knows;

	pthread_mutex_lock(&runs->lock);
	knows = from.us >= runs->since.us;
	pthread_mutex_unlock(&runs->lock);
	return knows;
}

/* Whether RUN is of ITEM: a chain has others too. */
static bool
run_is_of(const struct run *run, struct str item)
{
	return str_eq((struct str){ run->item, UUID_BYTES }, item);
}

bool
runs_has_instance(struct runs *runs, struct str item, struct str instance)
{
	const struct run *run;
	bool found = false;

	pthread_mutex_lock(&runs->lock);
	LIST_FOREACH(run, chain_of(runs->by_item, item), of_item)
		found = found || (run_is_of(run, item) && str_eq_nocase((struct str){ run->instance, UUID_BYTES }, instance));
	pthread_mutex_unlock(&runs->lock);
	return found;
}

bool
runs_any_open(struct runs *runs, struct str item, struct str request, struct mono_time from, struct mono_time to)
{
	const struct run *run;
	bool found = false;

	pthread_mutex_lock(&runs->lock);
	LIST_FOREACH(run, chain_of(runs->by_item, item), of_item)
		found = found || (run_is_of(run, item) && run->instance[0] == '\0' && run->sent.us >= from.us
		    && run->sent.us <= to.us && memcmp(run->request, request.p, UUID_BYTES) != 0);
	pthread_mutex_unlock(&runs->lock);
	return found;
}
