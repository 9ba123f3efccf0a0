/* Polls: what has come of a call, or is known to have changed: what is kept of it, and who is told. */
#include "gate/polls_private.h"

#include <string.h>

bool
polls_is_newer(const struct poll_answer *kept, const struct poll_answer *answer)
{
	if (kept == NULL || kept == answer)
		return false;
	if (kept->state.terminal && !answer->state.terminal)
		return true;
	if (kept->number > 0 && answer->number > 0)
		return kept->number > answer->number;
	return mono_since(kept->sent, answer->sent) > 0;
}

/* Whom a newer state of a resource is known to, in whatever representation. */
struct polls_newer {
	struct polls *polls;
	const struct poll_entry *entry;
};

/* Forget another representation that says of an earlier moment what is not so any more. */
static void
on_newer(void *arg, struct poll_entry *entry)
{
	const struct polls_newer *newer = arg;
	const struct poll_answer *answer = newer->entry->answer, *other = entry->answer;

	if (entry == newer->entry || !other || !other->state.known || other->state.terminal
	    || other->state.status == answer->state.status || !polls_is_newer(answer, other))
		return;
	poll_table_set(&newer->polls->table, entry, NULL);
	if (entry->busy)
		polls_arm(newer->polls, entry, true);
	else
		poll_table_put(&newer->polls->table, entry);
}

void
polls_tell_newer(struct polls *polls, const struct poll_entry *entry)
{
	if (entry->answer && entry->answer->state.known)
		poll_table_each(&polls->table, entry->id.resource, on_newer, &(struct polls_newer){ polls, entry });
}

/* Keep what LEADER's call has brought, unless it says less than what is kept. */
static void
polls_keep(struct polls *polls, struct polls_waiter *leader, struct poll_answer *answer)
{
	struct poll_entry *entry = leader->entry;
	struct mono_time now = polls_now(polls);

	/* Where no token counts, it is forgotten that something has failed. */
	poll_table_grant(&polls->table, entry, leader->ask.token, now,
	    mono_add(now, leader->ask.shared ? 0 : leader->ask.config.grant_us));
	if (leader->flight->outdated || polls_is_newer(polls_known(entry, &leader->ask, now), answer))
		return;
	poll_table_set(&polls->table, entry, answer->body_bytes <= leader->ask.keep_bytes ? answer : NULL);
	polls_tell_newer(polls, entry);
}

/* What a call has brought, for those who hear of it. */
struct polls_news {
	struct poll_answer *answer;
	uint8_t token[POLL_DIGEST_BYTES];	/* that it was called with */
	struct limiter_ticket leader;
};

/*
 * Whether the news is for WAITER: with the same token it would have been told the same, or it may see what others are
 * told.
 */
static bool
polls_concerns(const struct polls_waiter *waiter, const struct polls_news *news, struct mono_time now)
{
	if (waiter->ask.shared || memcmp(waiter->ask.token, news->token, sizeof(news->token)) == 0)
		return true;
	/* What lies between is said to the token that was shown. */
	return polls_may(waiter, now) && (news->answer->status == 200 || news->answer->status >= 500);
}

/* Tell WAITER the news, or what is newer, unless it waits for something else. */
static void
polls_settle(struct polls *polls, struct polls_waiter *waiter, const struct polls_news *news)
{
	struct mono_time now = polls_now(polls);
	struct poll_answer *known = polls_may(waiter, now) ? polls_known(waiter->entry, &waiter->ask, now) : NULL;
	/* Thrown back by the upstream is as not admitted: the last that is known is better than nothing. */
	bool last = known && news->answer->status == 429;
	bool old = news->answer->status == 200 && polls_is_newer(known, news->answer);
	struct poll_answer *best = old ? known : news->answer;
	bool leads = polls_same_ticket(waiter->ask.ticket, news->leader);

	if (last)
		polls_tell_last(polls, waiter);
	else if (best->status != 200 || !polls_waits_on(waiter, best))
		polls_end(polls, waiter, POLLS_ANSWER, leads ? POLLS_MISS : POLLS_JOIN, best);
}

/* Tell all who are in no call any more. */
static void
polls_settle_all(struct polls *polls, struct poll_entry *entry, const struct polls_news *news)
{
	struct polls_busy *busy = entry->busy;
	struct mono_time now = polls_now(polls);
	struct polls_waiter *waiter, *next;

	for (waiter = TAILQ_FIRST(&busy->waiters); waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, link);
		if (waiter->flight != NULL || waiter->looks
		    || (news->answer->status != 200 && polls_is_patient(waiter)))
			continue;
		if (polls_concerns(waiter, news, now))
			polls_settle(polls, waiter, news);
		else
			polls_consider(polls, waiter);
	}
}

/*
 * Have the next call with LEADER's token wait the longer the more of them in a row have been refused, or have found
 * nothing, or not yet; where it has failed for want of a call left that says nothing.
 */
static void
polls_heed_failure(struct polls *polls, const struct polls_waiter *leader, const struct poll_answer *answer)
{
	struct mono_time now = polls_now(polls);
	struct poll_grant *grant;

	if (answer->status == 429)
		return;
	if (answer->status >= 400 && answer->status < 500)
		poll_table_revoke(&polls->table, leader->entry, leader->ask.token);
	if (answer->status < 400 && !answer->state.brief)
		return;
	grant = poll_table_fail(&polls->table, leader->entry, leader->ask.token, now);
	grant->paused = mono_add(now, poll_pause_us(&leader->ask.config, grant->failures));
}

/* Whether WAITER may be told what came instead of its own call, and waits for nothing else. */
static bool
polls_may_be_told(struct polls *polls, const struct polls_waiter *waiter, bool kept)
{
	struct mono_time now = polls_now(polls);
	const struct poll_answer *known = polls_known(waiter->entry, &waiter->ask, now);

	return !waiter->ask.changes && polls_may(waiter, now)
	    && (!kept || (known && mono_since(now, known->came) < known->stands_us));
}

/* End FLIGHT; its people take whatever stands: it is newer than what they have asked anew for. */
static void
polls_recall_one(struct polls *polls, struct polls_flight *flight)
{
	struct polls_waiter *waiter;

	TAILQ_FOREACH(waiter, &((struct polls_busy *)flight->leader->entry->busy)->waiters, link)
		if (waiter->flight == flight)
			waiter->ask.max_age_us = INT64_MAX;
	polls_fleet_release(polls, flight, false);
	polls_land(flight);
}

void
polls_recall(struct polls *polls, const struct poll_entry *entry, bool kept)
{
	const struct polls_busy *busy = entry->busy;
	struct polls_flight *flight, *next;

	for (flight = TAILQ_FIRST(&busy->flights); flight; flight = next) {
		next = TAILQ_NEXT(flight, link);
		if (!flight->sent && !flight->outdated && polls_may_be_told(polls, flight->leader, kept))
			polls_recall_one(polls, flight);
	}
}

void
polls_finish(struct polls *polls, struct polls_flight *flight, struct poll_answer *answer)
{
	struct polls_waiter *leader = flight->leader;
	struct polls_news news = { .answer = answer, .leader = leader->ask.ticket };
	struct poll_entry *entry = leader->entry;
	bool outdated = flight->outdated;

	poll_answer_ref(answer);	/* it may be the flight's */
	memcpy(news.token, leader->ask.token, sizeof(news.token));
	polls_hold(entry);
	if (answer->status == 200 && !answer->state.brief)
		polls_keep(polls, leader, answer);
	polls_heed_failure(polls, leader, answer);
	polls_land(flight);
	if (!polls_tells_leader(answer->status))
		polls_forget(polls, leader);
	if (answer->status == 200 && !answer->state.brief && !outdated)
		polls_recall(polls, entry, false);
	polls_settle_all(polls, entry, &news);
	polls_arm(polls, entry, outdated);
	polls_release(polls, entry);
	poll_answer_unref(&answer);
}

void
polls_take_result(struct polls *polls, struct limiter_ticket ticket, struct poll_answer *answer)
{
	struct polls_waiter *leader = polls_leader(polls, ticket);

	if (leader == NULL)
		return;
	if (answer->status == 200 && !answer->state.brief && polls_fleet_put(polls, leader->flight, answer))
		return;
	polls_fleet_release(polls, leader->flight, answer->status >= 400 && answer->status < 500
	    && answer->status != 429);
	polls_finish(polls, leader->flight, answer);
}

void
polls_take_failed(struct polls *polls, struct limiter_ticket ticket, enum refusal refusal, const char *message)
{
	struct polls_waiter *leader = polls_leader(polls, ticket), *waiter, *next;
	struct polls_event event = { .word = POLLS_FAILED, .how = POLLS_JOIN, .refusal = refusal };
	struct polls_busy *busy;
	struct poll_entry *entry;

	if (leader == NULL)
		return;
	entry = leader->entry;
	busy = entry->busy;
	memcpy(event.message, message, sizeof(event.message));
	polls_hold(entry);
	polls_fleet_release(polls, leader->flight, false);
	polls_land(leader->flight);
	polls_forget(polls, leader);
	for (waiter = TAILQ_FIRST(&busy->waiters); waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, link);
		if (waiter->flight != NULL || waiter->looks || polls_is_patient(waiter))
			continue;
		event.ticket = waiter->ask.ticket;
		polls_tell(polls, &event);
		polls_forget(polls, waiter);
	}
	polls_arm(polls, entry, false);
	polls_release(polls, entry);
}

/* What is kept at ENTRY, and what will come of calls under way, is of before a change. */
static void
on_outdated(void *arg, struct poll_entry *entry)
{
	struct polls *polls = arg;
	struct polls_busy *busy = entry->busy;
	struct polls_flight *flight;

	poll_table_set(&polls->table, entry, NULL);
	if (busy == NULL) {
		poll_table_put(&polls->table, entry);
		return;
	}
	TAILQ_FOREACH(flight, &busy->flights, link)
		flight->outdated = true;
	polls_arm(polls, entry, true);
}

void
polls_take_invalidate(struct polls *polls, const uint8_t resource[POLL_DIGEST_BYTES], bool fleet)
{
	if (fleet)
		polls_fleet_change(polls, resource);
	poll_table_each(&polls->table, resource, on_outdated, polls);
}
