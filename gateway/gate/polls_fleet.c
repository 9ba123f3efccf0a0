/*
 * What instances share of polls: before a waiter is answered the shared answer is looked at, before a call is made it
 * is leased, and what it brought is put there before anybody is told. So a poller that goes from one instance to
 * another sees no state go back, and all instances together make one call. Where Redis is away, or full, an instance
 * goes on by itself.
 */
#include "gate/polls_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* An instance that dies while it leads is waited for so long; the lease is renewed three times within. */
#define FLEET_LEASE_US (3 * (int64_t)CLOCK_SECOND)
#define FLEET_RENEW_US (1 * (int64_t)CLOCK_SECOND)
/* How often who waits for another instance's call looks whether it has ended. */
#define FLEET_LOOK_US (100 * (int64_t)CLOCK_MS)
/* A waiter that has looked so often goes by itself: whatever Redis says leads nowhere. */
#define FLEET_ROUNDS_MAX 8
/* What the script says of an entry before the tokens. */
#define FLEET_LOOK_VALUES 9

/* --- looks --- */

static void on_look(void *arg, const struct redis_reply *reply);

/* Ask for WAITER's token too, where it counts and is not known here; false where there is no room. */
static bool
fleet_look_token(struct polls_call *call, const struct polls_waiter *waiter, struct mono_time now)
{
	if (waiter->ask.shared || poll_table_granted(waiter->entry, waiter->ask.token, now))
		return true;
	for (size_t i = 0; i < call->token_count; i++)
		if (memcmp(call->tokens[i], waiter->ask.token, POLL_DIGEST_BYTES) == 0)
			return true;
	if (call->token_count == POLLS_CALL_TOKENS)
		return false;
	memcpy(call->tokens[call->token_count++], waiter->ask.token, POLL_DIGEST_BYTES);
	return true;
}

/*
 * Look for all who are to, and for those who lead and could be told instead; who finds no room waits for the next look.
 */
static void
fleet_look(struct polls *polls, struct poll_entry *entry)
{
	struct polls_busy *busy = entry->busy;
	struct polls_call *call = polls_call_new(polls, entry, ++busy->look);
	char number[POLLS_NUMBER_BYTES], hex[POLLS_CALL_TOKENS][POLLS_HEX_BYTES];
	struct str arguments[1 + POLLS_CALL_TOKENS];
	struct polls_waiter *waiter;
	struct polls_flight *flight;

	TAILQ_FOREACH(waiter, &busy->waiters, link)
		if (waiter->looks && fleet_look_token(call, waiter, loop_now(polls->loops[0])))
			waiter->look = call->number;
	TAILQ_FOREACH(flight, &busy->flights, link)
		if (!flight->sent)
			fleet_look_token(call, flight->leader, loop_now(polls->loops[0]));
	arguments[0] = polls_call_decimal(entry->answer ? entry->answer->number : 0, number);
	for (size_t i = 0; i < call->token_count; i++)
		arguments[1 + i] = polls_call_hex(call->tokens[i], hex[i]);
	busy->looking = polls_share_call(polls->share, &entry->id, "look", polls->keep_us, arguments,
	    1 + call->token_count, on_look, call);
	if (!busy->looking)
		free(call);
}

bool
polls_fleet_look(struct polls *polls, struct polls_waiter *waiter)
{
	struct polls_busy *busy = waiter->entry->busy;

	if (!waiter->ask.fleet || !polls_fleet_is_up(polls) || waiter->rounds >= FLEET_ROUNDS_MAX)
		return false;
	waiter->rounds++;
	waiter->looks = true;
	waiter->look = 0;	/* one that was sent before it came may be of before what it has seen elsewhere */
	if (!busy->looking)
		fleet_look(polls, waiter->entry);
	if (!busy->looking)
		waiter->looks = false;
	return waiter->looks;
}

/* A state's name among instances, '' where none is known. */
static struct str
fleet_state(const struct poll_state *state, char out[POLLS_NUMBER_BYTES])
{
	int n = state->known ? snprintf(out, POLLS_NUMBER_BYTES, "%" PRIx64, state->status) : 0;

	return (struct str){ out, (size_t)n };
}

/* What was kept says otherwise than another representation has said of a later moment, be it at another instance. */
static bool
fleet_heed_state(struct polls *polls, struct poll_entry *entry, const struct redis_reply *reply)
{
	const struct poll_answer *answer = entry->answer;
	const struct redis_reply *state = &reply->elements[8];
	char name[POLLS_NUMBER_BYTES];
	int64_t moment;

	if (answer == NULL || answer->number == 0 || !answer->state.known || answer->state.terminal
	    || !polls_call_number(reply, 7, &moment) || moment <= answer->number || state->kind != REDIS_STRING
	    || state->string.n == 0 || str_eq(state->string, fleet_state(&answer->state, name)))
		return false;
	poll_table_set(&polls->table, entry, NULL);
	return true;
}

/* What was kept, and is being fetched, of before a change that another instance has told. */
static bool
fleet_heed_version(struct polls *polls, struct poll_entry *entry, int64_t version)
{
	struct polls_busy *busy = entry->busy;
	struct polls_flight *flight;
	bool is_of_before = entry->answer && entry->answer->number > 0 && entry->answer->version != version;

	if (is_of_before)
		poll_table_set(&polls->table, entry, NULL);
	TAILQ_FOREACH(flight, &busy->flights, link)
		if (flight->number > 0 && flight->version != version)
			flight->outdated = true;
	return is_of_before;
}

/* Take over the shared answer, where it is newer; true where it was. */
static bool
fleet_take_answer(struct polls *polls, struct poll_entry *entry, const struct redis_reply *reply, int64_t version)
{
	struct mono_time now = loop_now(polls->loops[0]);
	int64_t number, age_ms, stands_ms, head_bytes;
	struct poll_answer *answer;
	bool newer;

	if (!polls_call_number(reply, 1, &number) || !polls_call_number(reply, 2, &age_ms)
	    || !polls_call_number(reply, 3, &stands_ms)
	    || !polls_call_number(reply, 5, &head_bytes) || number == 0 || reply->elements[6].string.n == 0)
		return false;
	answer = poll_answer_restore(reply->elements[6].string, head_bytes, mono_add(now, -age_ms * CLOCK_MS),
	    stands_ms * CLOCK_MS);
	if (answer == NULL)
		return false;
	answer->number = number;
	answer->version = version;
	newer = !polls_is_newer(entry->answer, answer);
	if (newer) {
		poll_table_set(&polls->table, entry, answer);
		polls_tell_newer(polls, entry);
	}
	poll_answer_unref(&answer);
	return newer;
}

/* Learn from a look; true where there is a newer answer. */
static bool
fleet_learn(const struct polls_call *call, struct poll_entry *entry, const struct redis_reply *reply)
{
	struct mono_time now = loop_now(call->polls->loops[0]);
	int64_t version, grant_ms;

	if (reply->kind != REDIS_ARRAY || reply->element_count < FLEET_LOOK_VALUES + call->token_count
	    || !polls_call_number(reply, 0, &version))
		return false;
	if (fleet_heed_version(call->polls, entry, version) || fleet_heed_state(call->polls, entry, reply))
		polls_arm(call->polls, entry, true);
	for (size_t i = 0; i < call->token_count; i++)
		if (polls_call_number(reply, FLEET_LOOK_VALUES + i, &grant_ms) && grant_ms > 0)
			poll_table_grant(&call->polls->table, entry, call->tokens[i], now,
			    mono_add(now, grant_ms * CLOCK_MS));
	return fleet_take_answer(call->polls, entry, reply, version);
}

/*
 * Go on with those who have waited for look NUMBER, and, where that has brought something NEW, with those who wait for
 * a change.
 */
static void
fleet_looked(struct polls *polls, struct poll_entry *entry, uint64_t number, bool new)
{
	struct polls_busy *busy = entry->busy;
	struct polls_waiter *waiter, *next;

	for (waiter = TAILQ_FIRST(&busy->waiters); waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, link);
		if (waiter->looks && waiter->look == number) {
			waiter->looks = false;
			polls_decide(polls, waiter);
		} else if (new && !waiter->looks && waiter->flight == NULL) {
			polls_decide(polls, waiter);
		}
	}
}

/* Whether somebody is to look yet. */
static bool
fleet_somebody_looks(const struct polls_busy *busy)
{
	const struct polls_waiter *waiter;

	TAILQ_FOREACH(waiter, &busy->waiters, link)
		if (waiter->looks)
			return true;
	return false;
}

/* A look has ended. */
static void
on_look(void *arg, const struct redis_reply *reply)
{
	struct polls_call *call = arg;
	struct polls *polls = call->polls;
	struct poll_entry *entry = atomic_load(&polls->closed) ? NULL : poll_table_find(&polls->table, &call->id);
	struct polls_busy *busy = entry ? entry->busy : NULL;
	bool new;

	polls_fleet_heed_error(polls, reply);
	if (busy && busy->looking && busy->look == call->number) {
		polls_hold(entry);
		busy->looking = false;
		new = fleet_learn(call, entry, reply);
		if (new)
			polls_recall(polls, entry, true);
		fleet_looked(polls, entry, call->number, new);
		if (!busy->looking && fleet_somebody_looks(busy))
			fleet_look(polls, entry);
		if (!busy->looking)	/* there is no connection any more */
			fleet_looked(polls, entry, busy->look, false);
		polls_release(polls, entry);
	}
	free(call);
}

/* --- leases --- */

static void on_lease(void *arg, const struct redis_reply *reply);

/* What a flight's leases are called. */
struct fleet_lease {
	char text[POLLS_HEX_BYTES + 1 + 16 + 1];
	struct str turn;	/* while it waits in its caller's queue */
	struct str call;	/* once it was sent: one for all who share, one for each other token */
};

/* Fill in what FLIGHT's leases are called. */
static const struct fleet_lease *
fleet_lease_names(const struct polls_flight *flight, struct fleet_lease *lease)
{
	char hex[POLLS_HEX_BYTES];
	struct str call = flight->common ? STR("s") : polls_call_hex(flight->token, hex);
	int n = snprintf(lease->text, sizeof(lease->text), "%.*s/%" PRIx64, STR_ARG(call), flight->leader->ask.caller);

	lease->turn = (struct str){ lease->text, (size_t)n };
	lease->call = (struct str){ lease->text, call.n };
	return lease;
}

/* The token whose right FLIGHT's leader needs to see what others have brought; '' where it has that. */
static struct str
fleet_right(const struct polls_flight *flight, char hex[POLLS_HEX_BYTES])
{
	return flight->common ? (struct str){ "", 0 } : polls_call_hex(flight->token, hex);
}

/* Ask for the lease of FLIGHT; without it it goes by itself. */
static void
fleet_lease(struct polls *polls, struct polls_flight *flight)
{
	struct poll_entry *entry = flight->leader->entry;
	struct polls_call *call = polls_call_new(polls, entry, flight->id);
	char hex[POLLS_HEX_BYTES], ms[POLLS_NUMBER_BYTES], known[POLLS_NUMBER_BYTES];
	struct fleet_lease room;
	const struct fleet_lease *lease = fleet_lease_names(flight, &room);
	struct str arguments[6] = { buf_str(&polls->owner), lease->turn, lease->call,
		polls_call_decimal(FLEET_LEASE_US / CLOCK_MS, ms),
		polls_call_decimal(entry->answer ? entry->answer->number : 0, known), fleet_right(flight, hex) };

	if (polls_share_call(polls->share, &entry->id, "lease", polls->keep_us, arguments, 6, on_lease, call))
		return;
	free(call);
	polls_take_off(polls, flight);
}

/* What is said to a release does not matter: a lease that was lost ends by itself. */
static void
on_told(void *arg, const struct redis_reply *reply)
{
	(void)arg;
	(void)reply;
}

/* Have FLIGHT leased, where instances share, or take off. */
static void
fleet_go_on(struct polls *polls, struct polls_flight *flight)
{
	const struct polls_waiter *leader = flight->leader;

	flight->stage = POLLS_LEASING;
	if (leader->ask.fleet && polls_fleet_is_up(polls) && leader->rounds < FLEET_ROUNDS_MAX)
		fleet_lease(polls, flight);
	else
		polls_take_off(polls, flight);
}

/* A lease was renewed: where somebody else's call has brought what this one waits to ask for, that is looked at. */
static void
on_renewed(void *arg, const struct redis_reply *reply)
{
	struct polls_call *call = arg;
	const struct polls_flight *flight = polls_call_flight(call);

	if (flight && flight->stage == POLLS_UNDER_WAY && !flight->sent
	    && str_eq(polls_call_word(reply), STR("changed"))) {
		struct poll_entry *entry = flight->leader->entry;

		if (!((struct polls_busy *)entry->busy)->looking)
			fleet_look(call->polls, entry);
	}
	free(call);
}

/* Renew the leases of FLIGHT. */
static void
fleet_renew(struct polls *polls, struct polls_flight *flight)
{
	const struct poll_entry *entry = flight->leader->entry;
	struct polls_call *call = polls_call_new(polls, entry, flight->id);
	char hex[POLLS_HEX_BYTES], ms[POLLS_NUMBER_BYTES], known[POLLS_NUMBER_BYTES];
	struct fleet_lease room;
	const struct fleet_lease *lease = fleet_lease_names(flight, &room);
	struct str arguments[6] = { buf_str(&polls->owner), lease->turn,
		flight->sent ? lease->call : (struct str){ "", 0 },
		polls_call_decimal(FLEET_LEASE_US / CLOCK_MS, ms),
		polls_call_decimal(entry->answer ? entry->answer->number : 0, known), fleet_right(flight, hex) };

	if (!polls_share_call(polls->share, &entry->id, "renew", polls->keep_us, arguments, 6, on_renewed, call))
		free(call);
	loop_timer_at(&flight->timer, mono_add(loop_now(polls->loops[0]), FLEET_RENEW_US));
}

/* Look again whether another instance's call has ended, or say that ours goes on. */
static void
on_flight_due(void *arg)
{
	struct polls_flight *flight = arg;
	struct polls *polls = ((struct polls_busy *)flight->leader->entry->busy)->polls;

	if (flight->stage == POLLS_PUT_OFF)
		fleet_go_on(polls, flight);
	else if (flight->stage == POLLS_LEASING)
		fleet_lease(polls, flight);
	else
		fleet_renew(polls, flight);
}

void
polls_fleet_lead(struct polls *polls, struct polls_flight *flight)
{
	struct mono_time paused = poll_table_paused(flight->leader->entry, flight->token);

	loop_timer_init(&flight->timer, polls->loops[0], on_flight_due, flight);
	if (mono_since(paused, loop_now(polls->loops[0])) > 0)
		loop_timer_at(&flight->timer, paused);
	else
		fleet_go_on(polls, flight);
}

/* FLIGHT has its lease and its number. */
static void
fleet_leased(struct polls *polls, struct polls_flight *flight, const struct redis_reply *reply)
{
	if (polls_call_number(reply, 1, &flight->number) && polls_call_number(reply, 2, &flight->version))
		loop_timer_at(&flight->timer, mono_add(loop_now(polls->loops[0]), FLEET_RENEW_US));
	else
		flight->number = 0;
	polls_take_off(polls, flight);
}

/* The lease is ours, or another's, or of no use any more. */
static void
fleet_lease_told(struct polls *polls, struct polls_flight *flight, const struct redis_reply *reply)
{
	struct str word = polls_call_word(reply);

	if (str_eq(word, STR("held")))
		loop_timer_at(&flight->timer, mono_add(loop_now(polls->loops[0]), FLEET_LOOK_US));
	else if (str_eq(word, STR("changed")))
		polls_again(polls, flight);
	else if (str_eq(word, STR("leased")))
		fleet_leased(polls, flight, reply);
	else
		polls_take_off(polls, flight);
}

/* A lease was asked for; one that nobody wants any more ends by itself. */
static void
on_lease(void *arg, const struct redis_reply *reply)
{
	struct polls_call *call = arg;
	struct polls_flight *flight = polls_call_flight(call);

	polls_fleet_heed_error(call->polls, reply);
	if (flight && flight->stage == POLLS_LEASING)
		fleet_lease_told(call->polls, flight, reply);
	free(call);
}

/* FLIGHT was sent: what it brings is of that moment or later. */
static void
on_sent(void *arg, const struct redis_reply *reply)
{
	struct polls_call *call = arg;
	struct polls_flight *flight = polls_call_flight(call);
	int64_t number;

	if (flight && flight->stage == POLLS_UNDER_WAY && polls_call_number(reply, 0, &number))
		flight->number = number;
	free(call);
}

void
polls_fleet_sent(struct polls *polls, struct polls_flight *flight)
{
	const struct poll_entry *entry = flight->leader->entry;
	struct polls_call *call;
	char ms[POLLS_NUMBER_BYTES];
	struct fleet_lease room;
	struct str arguments[3] = { buf_str(&polls->owner), fleet_lease_names(flight, &room)->call,
		polls_call_decimal(FLEET_LEASE_US / CLOCK_MS, ms) };

	if (flight->number == 0 || flight->stage != POLLS_UNDER_WAY)
		return;
	call = polls_call_new(polls, entry, flight->id);
	if (!polls_share_call(polls->share, &entry->id, "sent", polls->keep_us, arguments, 3, on_sent, call))
		free(call);
}

/* Give back those of FLIGHT's leases that are named, and the right of TOKEN, or ''. */
static void
fleet_give_back(struct polls *polls, const struct polls_flight *flight, struct str turn, struct str call,
    struct str token)
{
	struct str arguments[4] = { buf_str(&polls->owner), turn, call, token };

	polls_share_call(polls->share, &flight->leader->entry->id, "release", polls->keep_us, arguments, 4, on_told,
	    NULL);
}

void
polls_fleet_turned_back(struct polls *polls, const struct polls_flight *flight)
{
	const struct str none = { "", 0 };
	struct fleet_lease room;

	if (flight->number > 0)
		fleet_give_back(polls, flight, none, fleet_lease_names(flight, &room)->call, none);
}

void
polls_fleet_release(struct polls *polls, const struct polls_flight *flight, bool revoke)
{
	const struct str none = { "", 0 };
	char token[POLLS_HEX_BYTES];
	struct fleet_lease room;
	const struct fleet_lease *lease = fleet_lease_names(flight, &room);

	if (flight->stage == POLLS_PUT_OFF || (flight->number == 0 && flight->stage != POLLS_LEASING))
		return;
	fleet_give_back(polls, flight, lease->turn, flight->sent ? lease->call : none,
	    revoke && !flight->shared ? polls_call_hex(flight->token, token) : none);
}

/* --- answers --- */

/* What a flight has brought is shared, or will not be. */
static void
on_put(void *arg, const struct redis_reply *reply)
{
	struct polls_call *call = arg;
	struct polls_flight *flight = polls_call_flight(call);
	struct str word = polls_call_word(reply);

	polls_fleet_heed_error(call->polls, reply);
	if (reply->kind == REDIS_ERROR && str_starts(reply->string, STR("OOM")) && !atomic_load(&call->polls->closed))
		polls_fleet_is_full(call->polls);
	if (flight && reply->kind == REDIS_ERROR)
		polls_fleet_release(call->polls, flight, false);
	if (flight && flight->stage == POLLS_PUTTING) {
		if (str_eq(word, STR("outdated")))
			flight->outdated = true;
		flight->result->ours = str_eq(word, STR("stored"));
		if (str_eq(word, STR("newer")))
			polls_again(call->polls, flight);
		else
			polls_finish(call->polls, flight, flight->result);
	}
	free(call);
}

bool
polls_fleet_put(struct polls *polls, struct polls_flight *flight, struct poll_answer *answer)
{
	const struct polls_ask *ask = &flight->leader->ask;
	struct polls_call *call;
	char token[POLLS_HEX_BYTES], number[POLLS_NUMBER_BYTES], version[POLLS_NUMBER_BYTES],
	    stands[POLLS_NUMBER_BYTES], head[POLLS_NUMBER_BYTES], grant[POLLS_NUMBER_BYTES], state[POLLS_NUMBER_BYTES];
	struct fleet_lease room;
	const struct fleet_lease *lease = fleet_lease_names(flight, &room);
	struct str bytes = { answer->bytes, answer->head_bytes + answer->body_bytes };
	struct str arguments[12] = { buf_str(&polls->owner), lease->turn, polls_call_decimal(flight->number, number),
		polls_call_decimal(flight->version, version), polls_call_decimal(answer->stands_us / CLOCK_MS, stands),
		answer->state.terminal ? STR("1") : STR("0"), polls_call_decimal(answer->head_bytes, head),
		bytes.n <= POLLS_SHARE_BYTES && !flight->outdated ? bytes : (struct str){ "", 0 },
		flight->shared ? (struct str){ "", 0 } : polls_call_hex(flight->token, token),
		polls_call_decimal(ask->config.grant_us / CLOCK_MS, grant), fleet_state(&answer->state, state),
		lease->call };

	if (flight->number == 0 || !polls_fleet_is_up(polls)
	    || mono_since(polls->full_until, loop_now(polls->loops[0])) > 0)
		return false;
	call = polls_call_new(polls, flight->leader->entry, flight->id);
	answer->number = flight->number;
	answer->version = flight->version;
	if (!polls_share_call(polls->share, &flight->leader->entry->id, "put", polls->keep_us, arguments, 12, on_put,
	    call)) {
		free(call);
		return false;
	}
	loop_timer_clear(&flight->timer);
	flight->stage = POLLS_PUTTING;
	flight->result = poll_answer_ref(answer);
	return true;
}
