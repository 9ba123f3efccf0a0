/* Job instances and schedules of the simulated Fabric. */
#include "sim_jobs.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Chains stay short up to some 100,000 instances, which is more than any test keeps alive. */
#define JOBS_HASH 65536
/* Ended instances that an item keeps at least (fabric.md 2: about 100). */
#define JOBS_KEPT 100

struct sim_item {
	struct sim_item *next_hash;
	char *key;		/* owned */
	struct sim_job *newest, *oldest;
	size_t count;
};

struct sim_jobs {
	struct sim_job *jobs[JOBS_HASH];
	struct sim_item *items[JOBS_HASH];
	struct sim_schedule *schedules;	/* newest first */
	int64_t job_us;
	uint64_t *random;		/* borrowed */
};

/* Hash bytes (FNV-1a) to a chain. */
static size_t
jobs_hash(struct str s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
	return (size_t)(h ^ h >> 32) % JOBS_HASH;
}

/* Copy a slice as a string. */
static char *
jobs_copy(struct str s)
{
	char *z = strndup(s.n > 0 ? s.p : "", s.n);

	check(z != NULL);
	return z;
}

/* Make an empty memory. */
struct sim_jobs *
sim_jobs_new(int64_t job_us, uint64_t *random)
{
	struct sim_jobs *j = calloc(1, sizeof(*j));

	check(j != NULL);
	j->job_us = job_us;
	j->random = random;
	return j;
}

/* Free one instance's memory. */
static void
job_free(struct sim_job *job)
{
	free(job->type);
	free(job);
}

/* Free one schedule's memory. */
static void
schedule_free(struct sim_schedule *s)
{
	free(s->item);
	free(s->type);
	free(s->configuration);
	free(s);
}

/* Free an item and its instances. */
static void
item_free(struct sim_item *item)
{
	struct sim_job *job, *older;

	for (job = item->newest; job != NULL; job = older) {
		older = job->older;
		job_free(job);
	}
	free(item->key);
	free(item);
}

/* Forget everything. */
void
sim_jobs_free(struct sim_jobs **jobs)
{
	struct sim_jobs *j = *jobs;
	struct sim_item *item;
	struct sim_schedule *s;

	if (j == NULL)
		return;
	for (size_t i = 0; i < JOBS_HASH; i++)
		while ((item = j->items[i]) != NULL) {
			j->items[i] = item->next_hash;
			item_free(item);
		}
	while ((s = j->schedules) != NULL) {
		j->schedules = s->next;
		schedule_free(s);
	}
	free(j);
	*jobs = NULL;
}

/* Find an item, or make it where MAKE is set. */
static struct sim_item *
jobs_item(struct sim_jobs *j, struct str key, bool make)
{
	struct sim_item *item, **chain = &j->items[jobs_hash(key)];

	for (item = *chain; item != NULL; item = item->next_hash)
		if (str_eq(str_from(item->key), key))
			return item;
	if (!make)
		return NULL;
	item = calloc(1, sizeof(*item));
	check(item != NULL);
	item->key = jobs_copy(key);
	item->next_hash = *chain;
	*chain = item;
	return item;
}

/* Forget an item's oldest instance. */
static void
jobs_forget_oldest(struct sim_jobs *j, struct sim_item *item)
{
	struct sim_job *job = item->oldest, **link = &j->jobs[jobs_hash(str_from(job->id))];

	while (*link != job)
		link = &(*link)->next_hash;
	*link = job->next_hash;
	item->oldest = job->newer;
	if (item->oldest != NULL)
		item->oldest->older = NULL;
	else
		item->newest = NULL;
	item->count--;
	job_free(job);
}

/* Start an instance. */
struct sim_job *
sim_jobs_start(struct sim_jobs *j, struct str key, struct str type, const char *activity, struct wall_time now)
{
	struct sim_item *item = jobs_item(j, key, true);
	struct sim_job *job = calloc(1, sizeof(*job)), **chain;

	check(job != NULL);
	while (item->count >= JOBS_KEPT && sim_job_is_ended(item->oldest, now))
		jobs_forget_oldest(j, item);
	sim_random_uuid(j->random, job->id);
	memcpy(job->activity, activity, SIM_UUID_BYTES);
	job->type = jobs_copy(type);
	job->started = now;
	job->ended.us = now.us + j->job_us;
	job->owner = item;
	chain = &j->jobs[jobs_hash(str_from(job->id))];
	job->next_hash = *chain;
	*chain = job;
	job->older = item->newest;
	if (item->newest != NULL)
		item->newest->newer = job;
	else
		item->oldest = job;
	item->newest = job;
	item->count++;
	return job;
}

/* Find an instance of an item. */
struct sim_job *
sim_jobs_find(struct sim_jobs *j, struct str item, struct str id)
{
	struct sim_job *job;

	for (job = j->jobs[jobs_hash(id)]; job != NULL; job = job->next_hash)
		if (str_eq(str_from(job->id), id))
			return str_eq(str_from(job->owner->key), item) ? job : NULL;
	return NULL;
}

/* Find an item's newest instance. */
struct sim_job *
sim_jobs_newest(struct sim_jobs *j, struct str key)
{
	struct sim_item *item = jobs_item(j, key, false);

	return item != NULL ? item->newest : NULL;
}

/* Tell whether an instance is in a terminal state. */
bool
sim_job_is_ended(const struct sim_job *job, struct wall_time now)
{
	return now.us >= job->ended.us;
}

/* Name an instance's state. */
const char *
sim_job_status(const struct sim_job *job, struct wall_time now)
{
	if (job->cancelled)
		return "Cancelled";
	if (sim_job_is_ended(job, now))
		return "Completed";
	return now.us - job->started.us < (job->ended.us - job->started.us) / 5 ? "NotStarted" : "InProgress";
}

/* End an instance now. */
void
sim_job_cancel(struct sim_job *job, struct wall_time now)
{
	job->cancelled = true;
	job->ended = now;
}

/* Add a schedule, enabled and without a configuration. */
struct sim_schedule *
sim_schedule_add(struct sim_jobs *j, struct str item, struct str type, struct wall_time now)
{
	struct sim_schedule *s = calloc(1, sizeof(*s));

	check(s != NULL);
	sim_random_uuid(j->random, s->id);
	s->item = jobs_copy(item);
	s->type = jobs_copy(type);
	s->enabled = true;
	s->created = now;
	s->next = j->schedules;
	j->schedules = s;
	return s;
}

/* Find a schedule. */
struct sim_schedule *
sim_schedule_find(struct sim_jobs *j, struct str item, struct str type, struct str id)
{
	struct sim_schedule *s = NULL;

	while ((s = sim_schedule_next(j, item, type, s)) != NULL)
		if (str_eq(str_from(s->id), id))
			return s;
	return NULL;
}

/* Walk an item's schedules of one job type. */
struct sim_schedule *
sim_schedule_next(struct sim_jobs *j, struct str item, struct str type, struct sim_schedule *previous)
{
	struct sim_schedule *s = previous != NULL ? previous->next : j->schedules;

	while (s != NULL && !(str_eq(str_from(s->item), item) && str_eq_nocase(str_from(s->type), type)))
		s = s->next;
	return s;
}

/* Give a schedule its configuration. */
void
sim_schedule_configure(struct sim_schedule *s, const char *configuration)
{
	free(s->configuration);
	s->configuration = jobs_copy(str_from(configuration));
}

/* Remove a schedule. */
void
sim_schedule_remove(struct sim_jobs *j, struct sim_schedule *schedule)
{
	struct sim_schedule **link = &j->schedules;

	while (*link != schedule)
		link = &(*link)->next;
	*link = schedule->next;
	schedule_free(schedule);
}
