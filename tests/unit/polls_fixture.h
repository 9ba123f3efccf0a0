/* Polls in the test's own loop, which is run until they have said what there is to say. */
#ifndef JOBGATE_TESTS_POLLS_FIXTURE_H
#define JOBGATE_TESTS_POLLS_FIXTURE_H

#include "gate/polls.h"
#include "poll_maker.h"

#define UNUSED __attribute__((unused))
#define EVENTS 64
#define MS(n) ((int64_t)(n) * CLOCK_MS)

static struct loop *loop;
static struct resolver *resolver;
static struct polls *polls;
static struct polls_event events[EVENTS];
static size_t event_count;
static struct config *config;

static void
on_event(void *arg, const struct polls_event *event)
{
	assert_ptr_equal(arg, events);
	assert_true(event_count < EVENTS);
	events[event_count++] = *event;
}

static void
on_too_long(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* Run for so long: mails are read and events delivered. */
static UNUSED void
run(int64_t for_us)
{
	struct loop_timer timer;

	loop_timer_init(&timer, loop, on_too_long, NULL);
	loop_timer_at(&timer, mono_add(loop_now(loop), for_us));
	loop_run(loop);
	loop_timer_fini(&timer);
	/* What one mail has led to is another's, and more: on a busy machine the time is up before all are read. */
	for (size_t i = 0; i < 4; i++)
		loop_read_mail(loop);
}

/* Make polls that share where the configuration says so, as MEMBER. */
static UNUSED struct polls *
make_polls(const char *member)
{
	return polls_new(&(struct polls_settings){ .loops = &loop, .loop_count = 1, .deliver = on_event, .arg = events,
		.resolver = resolver, .member = str_from(member) }, config, STR(""));
}

static UNUSED void
open_loop(void)
{
	loop = loop_new();
	resolver = resolver_new();
	config = calloc(1, sizeof(*config));
	assert_non_null(config);
	config->refs = 1;
	arena_init(&config->arena);
	config->polls = (struct config_polls){ .refresh_us = 15 * POLL_S, .min_refresh_us = MS(150), .keep_us = 600 * POLL_S,
		.grant_us = 60 * POLL_S, .max_bytes = 1 << 20 };
	event_count = 0;
}

/* Forget the events. */
static UNUSED void
forget(void)
{
	for (size_t i = 0; i < event_count; i++)
		poll_answer_unref(&events[i].answer);
	event_count = 0;
}

/* Behind the last of the polls. */
static UNUSED void
close_loop(void)
{
	forget();
	loop_free(&loop);
	resolver_free(&resolver);
	config_unref(&config);
}

static UNUSED struct limiter_ticket
ticket(uint32_t slot)
{
	return (struct limiter_ticket){ 0, slot, 7 };
}

/* What SLOT asks for: the entry 1 of resource 1, with the gateway's credential. */
static UNUSED struct polls_ask
ask_of(uint32_t slot)
{
	return (struct polls_ask){ .ticket = ticket(slot), .id = id_make(1, 1), .shared = true, .max_age_us = INT64_MAX,
		.keep_bytes = 4096, .changes_max = 100, .config = config->polls };
}

static UNUSED void
ask(uint32_t slot)
{
	struct polls_ask a = ask_of(slot);

	polls_ask(polls, &a);
	run(MS(2));
}

/* The same with a token of the caller's own. */
static UNUSED void
ask_with(uint32_t slot, uint8_t token)
{
	struct polls_ask a = ask_of(slot);

	a.shared = false;
	a.token[0] = token;
	polls_ask(polls, &a);
	run(MS(2));
}

/* The same, and it waits for a change. */
static UNUSED void
ask_change(uint32_t slot)
{
	struct polls_ask a = ask_of(slot);

	a.changes = true;
	polls_ask(polls, &a);
	run(MS(2));
}

/* SLOT's call, sent AGO_US before now, has brought STATUS. */
static UNUSED void
result_at(uint32_t slot, int http_status, const char *status, int64_t ago_us)
{
	struct mono_time now = loop_now(loop);

	polls_result(polls, ticket(slot), answer_make(http_status, status, mono_add(now, -ago_us), now));
	run(MS(2));
}

static UNUSED void
result(uint32_t slot, const char *status)
{
	result_at(slot, 200, status, 0);
}

/* SLOT's last event, which must be WORD; NULL where WORD is -1: there is none since the last look. */
static UNUSED const struct polls_event *
expect(uint32_t slot, int word)
{
	const struct polls_event *found = NULL;

	for (size_t i = 0; i < event_count; i++)
		if (events[i].ticket.slot == slot)
			found = &events[i];
	if (word < 0) {
		assert_null(found);
		return NULL;
	}
	assert_non_null(found);
	assert_int_equal(found->word, word);
	return found;
}

/* The same of an answer that says STATUS, and where it came from. */
static UNUSED void
expect_answer(uint32_t slot, const char *status, enum polls_how how)
{
	const struct polls_event *event = expect(slot, POLLS_ANSWER);

	assert_int_equal(event->how, how);
	assert_non_null(memmem(event->answer->bytes, event->answer->head_bytes + event->answer->body_bytes, status, strlen(status)));
}

#endif
