/* One limiter on one loop, which the tests of both kinds of store run until they have heard what they wait for. */
#ifndef JOBGATE_TESTS_LIMITER_ONE_H
#define JOBGATE_TESTS_LIMITER_ONE_H

#include "base/check.h"
#include "gate/limiter.h"
#include "limiter_fixture.h"

#define UNUSED __attribute__((unused))

static UNUSED const struct config_quota fast = { 1000, MS(1000), MS(100), 0, 1 };	/* 906 a second, 18 of them if late */
static UNUSED const struct config_quota slow = { 2, MS(1000), MS(1000), 0, 1 };	/* one a second */
static UNUSED const struct config_quota returning = { 40, MS(2000), MS(100), 0, 0 };	/* 30 at once */

#define EVENTS 256

static struct loop *loop;
static struct resolver *resolver;
static struct limiter *limiter;
static struct limiter_event events[EVENTS];
static size_t event_count, wanted_count;
static bool auto_ready;
static int64_t sent_ago_us = -1;	/* by the instance before */
static int64_t principal_idle_us;	/* 0: as long as ever */

static void
on_event(void *arg, const struct limiter_event *event)
{
	assert_ptr_equal(arg, events);
	assert_true(event_count < EVENTS);
	events[event_count++] = *event;
	if (auto_ready && event->verdict == LIMITER_NEXT)
		limiter_ready(limiter, event->ticket);
	if (event_count == wanted_count)
		loop_stop(loop);
}

static void
on_too_long(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* Run until COUNT events have come in all, or FOR_US have passed. */
static UNUSED void
run(size_t count, int64_t for_us)
{
	struct loop_timer timer;

	wanted_count = count;
	if (event_count >= count)
		return;
	loop_timer_init(&timer, loop, on_too_long, NULL);
	loop_timer_at(&timer, mono_add(loop_now(loop), for_us));
	loop_run(loop);
	loop_timer_fini(&timer);
}

static UNUSED void
open_one(struct config *config)
{
	struct limiter_settings settings;

	loop = loop_new();
	resolver = resolver_new();
	settings = (struct limiter_settings){ .loops = &loop, .loop_count = 1, .deliver = on_event, .arg = events,
		.member = STR("0190c2f0-0000-7000-8000-000000000001"), .start = clock_now_wall().us, .sent_ago_us = sent_ago_us,
		.principal_idle_us = principal_idle_us };
	event_count = 0;
	auto_ready = true;
	limiter = limiter_new(&settings, resolver, config, STR(""));
}

static UNUSED void
close_one(void)
{
	limiter_free(&limiter);
	assert_null(limiter);
	resolver_free(&resolver);
	loop_free(&loop);
}

static UNUSED struct limiter_ticket
ticket(uint32_t slot)
{
	return (struct limiter_ticket){ 0, slot, 7 };
}

static UNUSED void
submit_to(uint32_t slot, size_t identity, const struct config *config, int64_t patience_us)
{
	limiter_submit(limiter, &(struct limiter_ask){ .ticket = ticket(slot), .identity = identity, .config = config,
		.class = LIMITER_SUBMIT, .deadline = mono_add(loop_now(loop), patience_us) });
}

static UNUSED void
submit(uint32_t slot, int64_t patience_us)
{
	submit_to(slot, 0, NULL, patience_us);
}

/* The SLOT's last event, which must be VERDICT. */
static UNUSED const struct limiter_event *
expect(uint32_t slot, enum limiter_verdict verdict)
{
	for (size_t i = event_count; i-- > 0;)
		if (events[i].ticket.slot == slot) {
			assert_int_equal(events[i].verdict, verdict);
			return &events[i];
		}
	fail_msg("no event for %u", slot);
	return NULL;
}

#endif
