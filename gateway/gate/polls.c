/* Polls: who is answered with what is kept, who joins a call, and who leads one. */
#include "gate/polls_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define POLLS_SWEEP_US (1 * (int64_t)CLOCK_SECOND)

const char *
polls_how_name(enum polls_how how)
{
	static const char *const names[POLLS_HOW_COUNT] = { "", "miss", "hit", "join", "stale" };

	return names[how];
}

/* Forget what is over. */
static void
on_sweep_due(void *arg)
{
	struct polls *polls = arg;
	struct mono_time now = loop_now(polls->loops[0]);

	poll_table_sweep(&polls->table, now, polls->keep_us);
	loop_timer_at(&polls->sweep, mono_add(now, POLLS_SWEEP_US));
}

struct polls *
polls_new(const struct polls_settings *settings, struct config *config, struct str password)
{
	struct polls *polls = calloc(1, sizeof(*polls));

	check(polls != NULL && settings->loop_count > 0);
	polls->loops = calloc(settings->loop_count, sizeof(struct loop *));
	check(polls->loops != NULL);
	memcpy(polls->loops, settings->loops, settings->loop_count * sizeof(struct loop *));
	polls->loop_count = settings->loop_count;
	polls->deliver = settings->deliver;
	polls->arg = settings->arg;
	atomic_store(&polls->refs, 1);
	poll_table_init(&polls->table);
	loop_timer_init(&polls->sweep, polls->loops[0], on_sweep_due, polls);
	polls->resolver = settings->resolver;
	buf_add(&polls->owner, settings->member);
	polls_fleet_init(polls);
	polls_take_config(polls, config, password);
	on_sweep_due(polls);
	return polls;
}

void
polls_free(struct polls **polls_p)
{
	struct polls *polls = *polls_p;

	if (polls == NULL)
		return;
	*polls_p = NULL;
	atomic_store(&polls->closed, true);
	polls_fleet_close(polls);
	polls_forget_all(polls);
	loop_timer_fini(&polls->sweep);
	poll_table_fini(&polls->table);
	config_unref(&polls->config);
	buf_wipe(&polls->password);
	buf_fini(&polls->owner);
	free(polls->loops);
	polls->loops = NULL;
	polls_unref(polls);		/* mails that nobody has read yet hold it */
}

struct polls_counts
polls_counts(const struct polls *polls)
{
	return (struct polls_counts){ .answers = atomic_load(&polls->table.answers),
		.bytes = (int64_t)atomic_load(&polls->table.bytes), .waiting = atomic_load(&polls->waiting),
		.shared = atomic_load(&polls->share_up) };
}

struct mono_time
polls_now(const struct polls *polls)
{
	return loop_now(polls->loops[0]);
}

struct poll_answer *
polls_known(const struct poll_entry *entry, const struct polls_ask *ask, struct mono_time now)
{
	struct poll_answer *answer = entry->answer;

	return answer && mono_since(now, answer->came) <= ask->config.keep_us ? answer : NULL;
}

bool
polls_may(const struct polls_waiter *waiter, struct mono_time now)
{
	return waiter->ask.shared || poll_table_granted(waiter->entry, waiter->ask.token, now);
}

/* Whether ANSWER still stands for who asks. */
static bool
polls_stands(const struct poll_answer *answer, const struct polls_ask *ask, struct mono_time now)
{
	int64_t age_us = mono_since(now, answer->came);

	return age_us < answer->stands_us && (age_us <= ask->max_age_us || age_us < ask->config.min_refresh_us);
}

void
polls_end(struct polls *polls, struct polls_waiter *waiter, enum polls_word word, enum polls_how how,
    struct poll_answer *answer)
{
	polls_tell(polls, &(struct polls_event){ .ticket = waiter->ask.ticket, .word = word, .how = how,
		.answer = answer ? poll_answer_ref(answer) : NULL });
	polls_forget(polls, waiter);
}

/* WAITER has seen ANSWER, and waits for another status. */
static void
polls_see(struct polls_waiter *waiter, struct poll_answer *answer)
{
	struct poll_answer *before = waiter->saw;

	waiter->saw = poll_answer_ref(answer);
	poll_answer_unref(&before);
}

bool
polls_waits_on(struct polls_waiter *waiter, struct poll_answer *answer)
{
	const struct poll_state *state = &answer->state, *saw = waiter->saw ? &waiter->saw->state : NULL;

	if (!waiter->ask.changes || waiter->overdue || !state->known || state->terminal)
		return false;
	if (state->brief) {	/* it says nothing yet: whatever else comes is another */
		if (saw == NULL || saw->brief)
			polls_see(waiter, answer);
		return true;
	}
	if (saw && (saw->brief || saw->status != state->status))
		return false;
	polls_see(waiter, answer);
	waiter->rounds = 0;
	return true;
}

void
polls_arm(struct polls *polls, struct poll_entry *entry, bool at_once)
{
	struct polls_busy *busy = entry->busy;
	struct polls_waiter *first = polls_first_patient(busy);
	struct mono_time now = polls_now(polls), due;

	if (first == NULL || !TAILQ_EMPTY(&busy->flights))
		return;
	due = entry->answer ? mono_add(entry->answer->came, entry->answer->stands_us) : now;
	if (mono_since(due, now) <= 0)
		due = mono_add(now, at_once ? 0 : first->ask.config.min_refresh_us);
	loop_timer_at(&busy->due, due);
}

/* A call that WAITER may join, or NULL. */
static struct polls_flight *
polls_joinable(const struct polls_waiter *waiter, struct mono_time now)
{
	const struct polls_busy *busy = waiter->entry->busy;
	bool may = polls_may(waiter, now);
	struct polls_flight *flight;

	TAILQ_FOREACH(flight, &busy->flights, link)
		if (!flight->outdated && (may || memcmp(flight->token, waiter->ask.token, sizeof(flight->token)) == 0)
		    && (flight->sent || flight->leader->ask.caller == waiter->ask.caller))
			return flight;
	return NULL;
}

/* Whether what WAITER waits behind is of KNOWN's status, or nothing yet. */
static bool
polls_saw_no_other(const struct polls_waiter *waiter, const struct poll_answer *known)
{
	return waiter->saw == NULL || waiter->saw->state.status == known->state.status;
}

void
polls_decide(struct polls *polls, struct polls_waiter *waiter)
{
	struct mono_time now = polls_now(polls);
	struct poll_answer *known = polls_may(waiter, now) ? polls_known(waiter->entry, &waiter->ask, now) : NULL;

	if (known && polls_stands(known, &waiter->ask, now)) {
		if (polls_waits_on(waiter, known))
			polls_arm(polls, waiter->entry, true);
		else
			polls_end(polls, waiter, POLLS_ANSWER, POLLS_HIT, known);
		return;
	}
	if (known && waiter->ask.changes && known->state.known && polls_saw_no_other(waiter, known))
		polls_see(waiter, known);	/* it may have been told so before, and waits for another */
	if (waiter->ask.peek) {
		polls_end(polls, waiter, POLLS_PASS, POLLS_NONE, NULL);
		return;
	}
	waiter->flight = polls_joinable(waiter, now);
	if (waiter->flight == NULL)
		polls_lead(waiter);
}

void
polls_consider(struct polls *polls, struct polls_waiter *waiter)
{
	struct mono_time now = polls_now(polls);
	struct poll_answer *known = polls_may(waiter, now) ? polls_known(waiter->entry, &waiter->ask, now) : NULL;

	if ((known && known->state.terminal && polls_stands(known, &waiter->ask, now))
	    || !polls_fleet_look(polls, waiter))
		polls_decide(polls, waiter);
}

void
polls_take_ask(struct polls *polls, const struct polls_ask *ask)
{
	struct poll_entry *entry = poll_table_get(&polls->table, &ask->id);

	polls_consider(polls, polls_wait(polls, ask, entry));
}

void
polls_tell_last(struct polls *polls, struct polls_waiter *waiter)
{
	struct mono_time now = polls_now(polls);
	struct poll_answer *known = polls_may(waiter, now) ? polls_known(waiter->entry, &waiter->ask, now) : NULL;

	if (known == NULL && waiter->saw)	/* kept no longer, or never */
		polls_end(polls, waiter, POLLS_ANSWER, POLLS_STALE, waiter->saw);
	else if (known == NULL)
		polls_end(polls, waiter, POLLS_NOTHING, POLLS_NONE, NULL);
	else
		polls_end(polls, waiter, POLLS_ANSWER,
		    mono_since(now, known->came) < known->stands_us ? POLLS_HIT : POLLS_STALE, known);
}

/* Have those who are in no call any more look again; the first of them leads the next. */
static void
polls_consider_all(struct polls *polls, struct poll_entry *entry)
{
	struct polls_busy *busy = entry->busy;
	struct polls_waiter *waiter, *next;

	for (waiter = TAILQ_FIRST(&busy->waiters); waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, link);
		if (waiter->flight == NULL && !waiter->looks && !polls_is_patient(waiter))
			polls_consider(polls, waiter);
	}
}

/* End WAITER's call, which was not sent, and have others lead the next. */
static void
polls_give_up(struct polls *polls, struct polls_waiter *waiter, bool wants_last)
{
	struct poll_entry *entry = waiter->entry;

	polls_hold(entry);
	polls_fleet_release(polls, waiter->flight, false);
	polls_land(waiter->flight);
	if (wants_last)
		polls_tell_last(polls, waiter);
	else
		polls_forget(polls, waiter);
	polls_consider_all(polls, entry);
	polls_arm(polls, entry, true);
	polls_release(polls, entry);
}

void
polls_take_leave(struct polls *polls, struct limiter_ticket ticket, bool at_once)
{
	struct polls_waiter *waiter = polls_find(polls, ticket);
	struct mono_time now = polls_now(polls);

	if (waiter == NULL)
		return;		/* it was told meanwhile */
	waiter->overdue = true;
	if (waiter->flight && waiter->flight->leader == waiter) {
		/* Later it is told by then that it leads, or soon what came of it. */
		if (waiter->flight->stage <= POLLS_LEASING)
			polls_give_up(polls, waiter, true);
		return;
	}
	if (at_once || waiter->flight == NULL || !waiter->flight->sent
	    || (waiter->ask.changes && polls_may(waiter, now) && polls_known(waiter->entry, &waiter->ask, now)))
		polls_tell_last(polls, waiter);
}

void
polls_take_cancel(struct polls *polls, struct limiter_ticket ticket)
{
	struct polls_waiter *waiter = polls_find(polls, ticket);

	if (waiter == NULL)
		return;
	if (waiter->flight && waiter->flight->leader == waiter)
		polls_give_up(polls, waiter, false);
	else
		polls_forget(polls, waiter);
}

struct polls_waiter *
polls_leader(struct polls *polls, struct limiter_ticket ticket)
{
	struct polls_waiter *waiter = polls_find(polls, ticket);

	return waiter && waiter->flight && waiter->flight->leader == waiter ? waiter : NULL;
}

void
polls_take_sent(struct polls *polls, struct limiter_ticket ticket)
{
	struct polls_waiter *waiter = polls_leader(polls, ticket);

	if (waiter == NULL)
		return;
	waiter->flight->sent = true;
	polls_fleet_sent(polls, waiter->flight);
}

void
polls_take_turned_back(struct polls *polls, struct limiter_ticket ticket)
{
	struct polls_waiter *leader = polls_leader(polls, ticket), *waiter, *next;
	struct polls_busy *busy = leader ? leader->entry->busy : NULL;

	if (leader == NULL)
		return;
	leader->flight->sent = false;
	polls_fleet_turned_back(polls, leader->flight);
	for (waiter = TAILQ_FIRST(&busy->waiters); waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, link);
		if (waiter->flight == leader->flight && waiter->overdue && waiter != leader)
			polls_tell_last(polls, waiter);
	}
}

void
polls_take_unsent(struct polls *polls, struct limiter_ticket ticket, bool wants_last)
{
	struct polls_waiter *waiter = polls_leader(polls, ticket);

	if (waiter)
		polls_give_up(polls, waiter, wants_last);
}

void
polls_take_off(struct polls *polls, struct polls_flight *flight)
{
	flight->stage = POLLS_UNDER_WAY;
	polls_tell(polls, &(struct polls_event){ .ticket = flight->leader->ask.ticket, .word = POLLS_FETCH,
	    .how = POLLS_MISS });
}

void
polls_again(struct polls *polls, struct polls_flight *flight)
{
	struct polls_waiter *leader = flight->leader, *waiter;
	struct poll_entry *entry = leader->entry;

	polls_hold(entry);
	TAILQ_FOREACH(waiter, &((struct polls_busy *)entry->busy)->waiters, link)
		if (waiter->flight == flight)
			waiter->ask.max_age_us = INT64_MAX;	/* it is newer than what they asked anew for */
	polls_land(flight);
	if (polls_is_patient(leader))	/* the others of its kind hear of what it finds */
		polls_consider(polls, leader);
	polls_consider_all(polls, entry);
	polls_arm(polls, entry, false);
	polls_release(polls, entry);
}

void
polls_take_config(struct polls *polls, struct config *config, struct str password)
{
	polls->keep_us = config->polls.keep_us;
	polls_fleet_open(polls, config, password);
	poll_table_bound(&polls->table, config->polls.max_bytes);
}
