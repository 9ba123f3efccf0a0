/*
 * The limiter under load: several instances, each with the loops of several workers as threads, offered several times the quota.
 *
 * With "--grants N" it is the experiment of a fast quota instead: three instances, 20,000 per 10 s, until N are granted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/limiter.h"
#include "limiter_fixture.h"
#include "redis_server.h"
#include "rules/bucket.h"

#define WORKERS 2
#define INSTANCES 3

struct instance;

struct worker {
	struct instance *instance;
	uint16_t index;
	struct loop *loop;
	pthread_t thread;
	struct loop_timer offer;	/* makes requests */
	struct mono_time until;
	uint32_t slot;
	uint64_t submitted, final, next, stale;
};

struct instance {
	struct limiter *limiter;
	struct resolver *resolver;
	struct worker workers[WORKERS];
	uint64_t granted;
};

static struct instance instances[INSTANCES];
static struct config_quota load_quota;
static int offers;			/* by a worker in 10 ms */
static pthread_mutex_t grants_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t *grants;			/* when the upstream would count them, unordered */
static size_t grant_count, grant_room;

/* Offer some requests; one in 16 is cancelled right away, and one in 16 never becomes ready. */
static void
on_offer(void *arg)
{
	struct worker *w = arg;
	struct mono_time now = loop_now(w->loop);

	for (int i = 0; i < offers; i++) {
		uint32_t slot = ++w->slot;
		struct limiter_ask ask = { .ticket = { w->index, slot, 1 }, .class = (enum limiter_class)(slot % 3),
			.deadline = mono_add(now, MS(300) + (slot % 7) * MS(300)) };

		limiter_submit(w->instance->limiter, &ask);
		w->submitted++;
		if (slot % 16 == 5)
			limiter_cancel(w->instance->limiter, 0, ask.ticket, false, now);
	}
	if (mono_since(w->until, now) > 0)
		loop_timer_at(&w->offer, mono_add(now, MS(10)));
}

/* A worker hears of one of its requests. */
static void
on_load_event(void *arg, const struct limiter_event *event)
{
	struct instance *in = arg;
	struct worker *w = &in->workers[event->ticket.worker];
	struct mono_time now = loop_now(w->loop);

	assert_true(pthread_equal(pthread_self(), w->thread));
	if (event->verdict == LIMITER_NEXT) {
		w->next++;
		if (event->ticket.slot % 16 != 9)
			limiter_ready(in->limiter, event->ticket);
		return;
	}
	w->final++;
	if (event->verdict != LIMITER_GRANTED)
		return;
	if (mono_since(now, event->asked_at) > load_quota.jitter_us / 2) {
		w->stale++;
		return;
	}
	if (event->ticket.slot % 32 == 3) {	/* goes before it sends: the token is for another */
		limiter_cancel(in->limiter, 0, event->ticket, true, event->asked_at);
		return;
	}
	pthread_mutex_lock(&grants_lock);
	assert_true(grant_count < grant_room);
	grants[grant_count++] = now.us;
	in->granted++;
	pthread_mutex_unlock(&grants_lock);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	loop_run(w->loop);
	return NULL;
}

struct stop_mail { struct mail mail; struct loop *loop; };

static void
on_stop(struct mail *mail)
{
	struct stop_mail *m = (struct stop_mail *)mail;

	loop_stop(m->loop);
	free(m);
}

static void
instance_start(struct instance *in, struct config *config, struct str member, int64_t for_us)
{
	struct loop *loops[WORKERS];
	struct limiter_settings settings = { .loops = loops, .loop_count = WORKERS, .deliver = on_load_event,
		.arg = in, .member = member, .start = clock_now_wall().us, .sent_ago_us = -1 };

	*in = (struct instance){ .resolver = resolver_new() };
	for (uint16_t i = 0; i < WORKERS; i++) {
		loops[i] = loop_new();
		in->workers[i] = (struct worker){ .instance = in, .index = i, .loop = loops[i] };
		in->workers[i].until = mono_add(loop_now(loops[i]), for_us);
		loop_timer_init(&in->workers[i].offer, loops[i], on_offer, &in->workers[i]);
		loop_timer_at(&in->workers[i].offer, loop_now(loops[i]));
	}
	in->limiter = limiter_new(&settings, in->resolver, config, STR(""));
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&in->workers[i].thread, NULL, worker_main, &in->workers[i]);
}

static void
instance_stop(struct instance *in)
{
	for (int i = 0; i < WORKERS; i++) {
		struct stop_mail *m = calloc(1, sizeof(*m));

		*m = (struct stop_mail){ { NULL, on_stop }, in->workers[i].loop };
		loop_post(in->workers[i].loop, &m->mail);
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(in->workers[i].thread, NULL);
	limiter_free(&in->limiter);
	for (int i = 0; i < WORKERS; i++) {
		loop_timer_fini(&in->workers[i].offer);
		loop_free(&in->workers[i].loop);
	}
	resolver_free(&in->resolver);
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* The most grants in any window, counted as an upstream with a sliding one would. */
static size_t
most_in_a_window(int64_t window_us)
{
	size_t most = 0;

	for (size_t i = 0, first = 0; i < grant_count; i++) {
		while (grants[i] - grants[first] > window_us)
			first++;
		if (i - first + 1 > most)
			most = i - first + 1;
	}
	return most;
}

/* Percent of the quota that was used from the second window on. */
static double
used_percent(const struct quota *q)
{
	int64_t begin = grants[0] + q->window_us, end = grants[grant_count - 1];
	size_t count = 0;

	for (size_t i = 0; i < grant_count; i++)
		count += grants[i] >= begin && grants[i] < end;
	return 100 * (double)count * (double)q->window_us / ((double)q->requests * (double)(end - begin));
}

/* Offer COUNT instances several times the quota for RUN_MS and take what comes of it: sums over all. */
static struct worker
offer_load(size_t count, uint16_t port, int run_ms, uint64_t *commands)
{
	static const struct str members[INSTANCES] = { STR_INIT("a"), STR_INIT("b"), STR_INIT("c") };
	struct config *config = config_make(one_name, load_quota, port);
	struct worker sum = { 0 };

	grant_count = 0;
	grant_room = (size_t)(load_quota.requests * (run_ms * 1000 / load_quota.window_us + 2));
	grants = calloc(grant_room, sizeof(*grants));
	check(grants != NULL);
	for (size_t i = 0; i < count; i++)
		instance_start(&instances[i], config, members[i], MS(run_ms));
	poll(NULL, 0, run_ms);		/* the load's length, not a synchronisation */
	*commands = 0;
	for (size_t i = 0; i < count; i++) {
		*commands += limiter_counts(instances[i].limiter).commands_ok;
		instance_stop(&instances[i]);
		for (int k = 0; k < WORKERS; k++) {
			sum.submitted += instances[i].workers[k].submitted;
			sum.final += instances[i].workers[k].final;
			sum.stale += instances[i].workers[k].stale;
		}
	}
	qsort(grants, grant_count, sizeof(grants[0]), compare);
	config_unref(&config);
	return sum;
}

/* No window may see more than Q, and little may be lost. */
static void
run_load(size_t count, uint16_t port, int run_ms)
{
	struct worker sum;
	struct quota q;
	const char *why;
	uint64_t commands;
	double expected;
	int64_t settle_us = port ? BUCKET_SILENT_US : 0;

	assert_true(quota_derive(&load_quota, &q, &why));
	sum = offer_load(count, port, run_ms, &commands);
	expected = quota_rate_per_s(&q) * (run_ms * 1000 - settle_us) / CLOCK_SECOND;
	print_message("%zu instances, %llu offered: %zu granted of %.0f possible (%.1f %%), %llu stale, %llu commands, "
	    "shares %llu %llu %llu, most in a window %zu, used %.2f %%\n", count, (unsigned long long)sum.submitted, grant_count,
	    expected, 100 * (double)grant_count / expected, (unsigned long long)sum.stale, (unsigned long long)commands,
	    (unsigned long long)instances[0].granted, (unsigned long long)instances[1].granted,
	    (unsigned long long)instances[2].granted, most_in_a_window(q.window_us), used_percent(&q));
	assert_true(most_in_a_window(q.window_us) <= (size_t)q.requests);
	assert_true((double)grant_count >= 0.9 * expected);	/* a loaded test machine is late now and then */
	assert_true(sum.final > sum.submitted / 2);
	free(grants);
}

static void
test_load_embedded(void **state)
{
	(void)state;
	load_quota = (struct config_quota){ 400, MS(1000), MS(60), 0, 1 };
	offers = 10;
	run_load(1, 0, 3000);
}

static void
test_load_redis(void **state)
{
	struct redis_server server = { 0 };

	(void)state;
	load_quota = (struct config_quota){ 100, MS(2000), MS(250), 0, 1 };
	offers = 1;
	redis_server_start(&server);
	run_load(3, server.port, 8000);
	redis_server_stop(&server);
}

static int fast_run_ms;

/* The experiment's: as many as a contract of the largest kind has, in windows as short as the upstream's may be. */
static void
test_fast(void **state)
{
	struct redis_server server = { 0 };

	(void)state;
	load_quota = (struct config_quota){ 20000, MS(10000), MS(50), 0, 15000 };
	offers = 7;
	redis_server_start(&server);
	run_load(3, server.port, fast_run_ms);
	redis_server_stop(&server);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_embedded), cmocka_unit_test(test_load_redis),
	};
	const struct CMUnitTest experiments[] = { cmocka_unit_test(test_fast) };

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	if (argc == 3 && strcmp(argv[1], "--grants") == 0) {
		fast_run_ms = atoi(argv[2]) / 100 * 51 + 6000;	/* 99 % of two in a millisecond, and the time to settle */
		return cmocka_run_group_tests(experiments, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
