/* A fleet in a time of its own: queues, members and a bucket, put together as the limiter does, and what arrives upstream. */
#ifndef JOBGATE_TESTS_FLEET_FIXTURE_H
#define JOBGATE_TESTS_FLEET_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "rules/member.h"
#include "rules/queue.h"

#define MS INT64_C(1000)
#define SECOND INT64_C(1000000)
#define INSTANCES 3
#define CALLERS 10
#define WAIT_MAX_US (20 * SECOND)
#define READY_US (3 * MS)
/* The store's clock begins elsewhere. */
#define STORE_CLOCK INT64_C(1795000000000000)

struct sim_request {
	struct queue_entry entry;
	int caller;
	struct mono_time ready_at;
	struct sim_request *next;	/* in the list of those making ready */
};

struct sim_instance {
	struct queue queue;
	struct member member;
	struct sim_request *making;
	struct bucket_ask *ask;		/* under way */
	int64_t asked_us, arrives_us, answered_us;	/* of the call: sent, at the store, back */
	bool applied, lost;
	struct bucket_answer answer;
	bool cut, away;			/* no way to the store; no process */
	uint64_t calls;
};

static struct {
	struct quota quota;
	struct bucket *bucket;
	struct sim_instance instances[INSTANCES];
	int64_t now_us, clock_offset_us, tick_us;
	int64_t *arrivals, count, size;
	int64_t served[CALLERS], refused[CALLERS], offered[CALLERS];
	int64_t waited_most_us[CALLERS];
	double rates[CALLERS][INSTANCES], due[CALLERS][INSTANCES];
	int64_t weights[CALLERS];
	uint64_t calls;
} sim;

static struct mono_time
now_mono(void)
{
	return (struct mono_time){ sim.now_us };
}

static const char *
caller_name(int caller)
{
	static char name[24];

	snprintf(name, sizeof(name), "caller%d", caller);
	return name;
}

static struct queue_lane_key
key_of(int caller)
{
	return (struct queue_lane_key){ caller_name(caller), sim.weights[caller], NULL, 0 };
}

static void
instance_start(int n, int64_t sent_ago_us)
{
	struct sim_instance *i = &sim.instances[n];
	struct member_self self = { .start = sim.now_us + 1, .born = now_mono(), .sent_ago_us = sent_ago_us };

	memset(i, 0, sizeof(*i));
	snprintf(self.id, sizeof(self.id), "instance%d", n);
	member_init(&i->member, &self);
	queue_init(&i->queue, &sim.quota, 1000, MEMBER_KEEP_US, now_mono());
	queue_set_open(&i->queue, true, now_mono());
	i->ask = calloc(1, sizeof(*i->ask));
}

static void
instance_stop(int n)
{
	struct sim_instance *i = &sim.instances[n];
	struct queue_entry *e;

	while (i->queue.count > 0) {
		e = i->queue.heap[0];
		queue_remove(&i->queue, e);
		if (e->stage == QUEUE_OUT && ((struct sim_request *)e)->ready_at.us == 0)
			free(e);
	}
	for (struct sim_request *r = i->making, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	queue_fini(&i->queue);
	member_fini(&i->member);
	free(i->ask);
	memset(i, 0, sizeof(*i));
	i->away = true;
}

static void
sim_start(struct config_quota stated)
{
	const char *why;

	memset(&sim, 0, sizeof(sim));
	assert_true(quota_derive(&stated, &sim.quota, &why));
	sim.bucket = bucket_new();
	sim.now_us = 1000 * SECOND;
	sim.tick_us = MS;
	for (int c = 0; c < CALLERS; c++)
		sim.weights[c] = 1;
	for (int n = 0; n < INSTANCES; n++)
		instance_start(n, -1);
}

static void
sim_stop(void)
{
	for (int n = 0; n < INSTANCES; n++)
		instance_stop(n);
	bucket_free(&sim.bucket);
	free(sim.arrivals);
}

static void
arrive(int caller, struct mono_time submitted)
{
	if (sim.count == sim.size) {
		sim.size = sim.size ? 2 * sim.size : 1024;
		sim.arrivals = reallocarray(sim.arrivals, (size_t)sim.size, sizeof(*sim.arrivals));
	}
	sim.arrivals[sim.count++] = sim.now_us;
	sim.served[caller]++;
	if (sim.now_us - submitted.us > sim.waited_most_us[caller])
		sim.waited_most_us[caller] = sim.now_us - submitted.us;
}

static void
submit(struct sim_instance *i, int caller)
{
	struct sim_request *r = calloc(1, sizeof(*r));
	struct queue_lane_key key = key_of(caller);

	sim.offered[caller]++;
	r->caller = caller;
	r->entry.class = QUEUE_SUBMIT;
	r->entry.deadline = mono_add(now_mono(), WAIT_MAX_US);
	if (queue_submit(&i->queue, &r->entry, &key, now_mono()) != QUEUE_TAKEN) {
		sim.refused[caller]++;
		free(r);
	}
}

/* The call under way reaches the store, and its answer comes back. */
static void
instance_call(struct sim_instance *i)
{
	if (!i->queue.calling)
		return;
	if (!i->applied && sim.now_us >= i->arrives_us) {
		i->applied = true;
		i->lost = i->lost || i->cut;
		if (!i->lost)
			bucket_take(sim.bucket, i->ask, STORE_CLOCK + sim.clock_offset_us + sim.now_us, &i->answer);
	}
	if (sim.now_us < i->answered_us)
		return;
	if (i->lost || i->cut) {
		if (sim.now_us < i->asked_us + 100 * MS)
			return;
		queue_failed(&i->queue, now_mono());
		member_connected(&i->member);
		return;
	}
	member_hear(&i->member, i->ask, &i->answer, (struct mono_time){ i->asked_us }, now_mono());
	queue_answered(&i->queue, &i->answer, now_mono());
}

/* Ask: the store, or the share alone where that is due. */
static void
instance_ask(struct sim_instance *i)
{
	struct bucket_ask *ask = i->ask;

	memset(ask, 0, sizeof(*ask));
	if (!queue_call(&i->queue, now_mono(), ask))
		return;
	if (i->cut && member_may_spend(&i->member, &sim.quota, now_mono())) {
		member_spend(&i->member, &sim.quota, ask, now_mono(), &i->answer);
		queue_answered(&i->queue, &i->answer, now_mono());
		return;
	}
	member_ask(&i->member, &sim.quota, now_mono(), ask);
	i->calls++;
	sim.calls++;
	i->applied = false;
	i->lost = i->cut;
	i->asked_us = sim.now_us;
	i->arrives_us = sim.now_us + sim.tick_us / 2;
	i->answered_us = sim.now_us + sim.tick_us;
}

static void
instance_step(struct sim_instance *i)
{
	struct queue *q = &i->queue;
	struct mono_time asked_at;
	struct queue_entry *e;

	for (struct sim_request **at = &i->making; *at;) {
		struct sim_request *r = *at;

		if (r->ready_at.us > sim.now_us) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->ready_at.us = 0;
		if (r->entry.stage == QUEUE_OUT)
			free(r);
		else
			queue_ready(q, &r->entry);
	}
	instance_call(i);
	while ((e = queue_expire(q, now_mono())) != NULL) {
		sim.refused[((struct sim_request *)e)->caller]++;
		if (((struct sim_request *)e)->ready_at.us == 0)
			free(e);
	}
	while ((e = queue_grant(q, now_mono(), &asked_at)) != NULL) {
		arrive(((struct sim_request *)e)->caller, e->submitted);
		free(e);
	}
	while ((e = queue_promote(q, now_mono())) != NULL) {
		struct sim_request *r = (struct sim_request *)e;

		r->ready_at = mono_add(now_mono(), READY_US);
		r->next = i->making;
		i->making = r;
	}
	instance_ask(i);
}

/* Let SECONDS pass. */
static void
sim_run(double seconds)
{
	int64_t until_us = sim.now_us + (int64_t)(seconds * 1e6);

	for (; sim.now_us < until_us; sim.now_us += sim.tick_us)
		for (int n = 0; n < INSTANCES; n++) {
			if (sim.instances[n].away)
				continue;
			for (int c = 0; c < CALLERS; c++)
				for (sim.due[c][n] += sim.rates[c][n] * (double)sim.tick_us / 1e6; sim.due[c][n] >= 1; sim.due[c][n]--)
					submit(&sim.instances[n], c);
			instance_step(&sim.instances[n]);
		}
}

/* Each of CALLERS callers offers RATE a second through each instance. */
static void
offer(int callers, double rate)
{
	memset(sim.rates, 0, sizeof(sim.rates));
	for (int c = 0; c < callers; c++)
		for (int n = 0; n < INSTANCES; n++)
			sim.rates[c][n] = rate;
}

static int64_t
most_in_a_window(void)
{
	int64_t most = 0;

	for (int64_t first = 0, last = 0; last < sim.count; last++) {
		while (sim.arrivals[last] - sim.arrivals[first] >= sim.quota.window_us)
			first++;
		if (last - first + 1 > most)
			most = last - first + 1;
	}
	return most;
}

static int64_t
arrived_between(int64_t begin_us, int64_t end_us)
{
	int64_t count = 0;

	for (int64_t i = 0; i < sim.count; i++)
		count += sim.arrivals[i] >= begin_us && sim.arrivals[i] < end_us;
	return count;
}

/* The part of the quota that was used from BEGIN to END. */
static double
used(int64_t begin_us, int64_t end_us)
{
	return (double)arrived_between(begin_us, end_us) * (double)sim.quota.window_us / (double)sim.quota.requests
	    / (double)(end_us - begin_us);
}

#define AT_LEAST(value, bound) do { double v_ = (value); printf("      %s: %.4f (>= %.4f)\n", #value, v_, (double)(bound)); \
	if (v_ < (bound)) fail_msg("%s is %f, less than %f", #value, v_, (double)(bound)); } while (0)
#define AT_MOST(value, bound) do { double v_ = (value); printf("      %s: %.4f (<= %.4f)\n", #value, v_, (double)(bound)); \
	if (v_ > (bound)) fail_msg("%s is %f, more than %f", #value, v_, (double)(bound)); } while (0)

#endif
