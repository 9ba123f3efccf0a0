/*
 * What instances share of polls: before a waiter is answered the shared answer is looked at, before a call is made it
 * is leased, and what it brought is put there before anybody is told. So a poller that goes from one instance to
 * another sees no state go back, and all instances together make one call. Where Redis is away, or full, an instance
 * goes on by itself.
 */
#include "gate/polls_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* An instance that dies while it leads is waited for so long; the lease is renewed three times within. */
#define FLEET_LEASE_US (3 * (int64_t)CLOCK_SECOND)
#define FLEET_RENEW_US (1 * (int64_t)CLOCK_SECOND)
/* How often who waits for another instance's call looks whether it has ended. */
#define FLEET_LOOK_US (100 * (int64_t)CLOCK_MS)
/* Tokens that one look asks for. */
#define FLEET_TOKENS_MAX 64
/* A waiter that has looked so often goes by itself: whatever Redis says leads nowhere. */
#define FLEET_ROUNDS_MAX 8
/* What the script says of an entry before the tokens. */
#define FLEET_LOOK_VALUES 7

/* A call of the script under way, for a look or a flight, by number: those may be gone when it ends. */
struct fleet_call {
	struct polls *polls;
	struct poll_id id;
	uint64_t number;
	size_t token_count;		/* look */
	uint8_t tokens[FLEET_TOKENS_MAX][POLL_DIGEST_BYTES];
};

/* A call for ENTRY's number NUMBER. */
static struct fleet_call *
fleet_call_new(struct polls *polls, const struct poll_entry *entry, uint64_t number)
{
	struct fleet_call *call = malloc(sizeof(*call));

	check(call != NULL);
	call->polls = polls;
	call->id = entry->id;
	call->number = number;
	call->token_count = 0;
	return call;
}

/* A number in decimal digits. */
static struct str
fleet_decimal(int64_t number, char out[POLLS_NUMBER_BYTES])
{
	int n = snprintf(out, POLLS_NUMBER_BYTES, "%lld", (long long)number);

	return (struct str){ out, (size_t)n };
}

/* A token's hash in hexadecimal digits. */
static struct str
fleet_hex(const uint8_t token[POLL_DIGEST_BYTES], char out[POLLS_HEX_BYTES])
{
	str_hex_encode(token, POLL_DIGEST_BYTES, out);
	return (struct str){ out, POLLS_HEX_BYTES };
}

/* Whether REPLY's element I is a number, in either form; it goes to OUT. */
static bool
fleet_number(const struct redis_reply *reply, size_t i, int64_t *out)
{
	const struct redis_reply *e;
	uint64_t n;

	if (reply->kind != REDIS_ARRAY || i >= reply->element_count)
		return false;
	e = &reply->elements[i];
	if (e->kind == REDIS_INT) {
		*out = e->integer;
		return true;
	}
	if (e->kind != REDIS_STRING || !str_to_u64(e->string, &n) || n > INT64_MAX)
		return false;
	*out = (int64_t)n;
	return true;
}

/* The word that a reply is, or begins with. */
static struct str
fleet_word(const struct redis_reply *reply)
{
	if (reply->kind == REDIS_ARRAY && reply->element_count > 0)
		reply = &reply->elements[0];
	return reply->kind == REDIS_STRING ? reply->string : (struct str){ NULL, 0 };
}

/* --- looks --- */

static void on_look(void *arg, const struct redis_reply *reply);

/* Ask for WAITER's token too, where it counts and is not known here; false where there is no room. */
static bool
fleet_look_token(struct fleet_call *call, const struct polls_waiter *waiter, struct mono_time now)
{
	if (waiter->ask.shared || poll_table_granted(waiter->entry, waiter->ask.token, now))
		return true;
	for (size_t i = 0; i < call->token_count; i++)
		if (memcmp(call->tokens[i], waiter->ask.token, POLL_DIGEST_BYTES) == 0)
			return true;
	if (call->token_count == FLEET_TOKENS_MAX)
		return false;
	memcpy(call->tokens[call->token_count++], waiter->ask.token, POLL_DIGEST_BYTES);
	return true;
}

/* Look for all who are to; who finds no room waits for the next look. */
static void
fleet_look(struct polls *polls, struct poll_entry *entry)
{
	struct polls_busy *busy = entry->busy;
	struct fleet_call *call = fleet_call_new(polls, entry, ++busy->look);
	char number[POLLS_NUMBER_BYTES], hex[FLEET_TOKENS_MAX][POLLS_HEX_BYTES];
	struct str arguments[1 + FLEET_TOKENS_MAX];
	struct polls_waiter *waiter;

	TAILQ_FOREACH(waiter, &busy->waiters, link)
		if (waiter->looks && fleet_look_token(call, waiter, loop_now(polls->loops[0])))
			waiter->look = call->number;
	arguments[0] = fleet_decimal(entry->answer ? entry->answer->number : 0, number);
	for (size_t i = 0; i < call->token_count; i++)
		arguments[1 + i] = fleet_hex(call->tokens[i], hex[i]);
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

/* What was kept, and is being fetched, of before a change that another instance has told. */
static void
fleet_heed_version(struct polls *polls, struct poll_entry *entry, int64_t version)
{
	struct polls_busy *busy = entry->busy;
	struct polls_flight *flight;

	if (entry->answer && entry->answer->number > 0 && entry->answer->version != version)
		poll_table_set(&polls->table, entry, NULL);
	TAILQ_FOREACH(flight, &busy->flights, link)
		if (flight->number > 0 && flight->version != version)
			flight->outdated = true;
}

/* Take over the shared answer, where it is newer; true where it was. */
static bool
fleet_take_answer(struct polls *polls, struct poll_entry *entry, const struct redis_reply *reply, int64_t version)
{
	struct mono_time now = loop_now(polls->loops[0]);
	int64_t number, age_ms, stands_ms, head_bytes;
	struct poll_answer *answer;
	bool newer;

	if (!fleet_number(reply, 1, &number) || !fleet_number(reply, 2, &age_ms) || !fleet_number(reply, 3, &stands_ms)
	    || !fleet_number(reply, 5, &head_bytes) || number == 0 || reply->elements[6].string.n == 0)
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
fleet_learn(const struct fleet_call *call, struct poll_entry *entry, const struct redis_reply *reply)
{
	struct mono_time now = loop_now(call->polls->loops[0]);
	int64_t version, grant_ms;

	if (reply->kind != REDIS_ARRAY || reply->element_count < FLEET_LOOK_VALUES + call->token_count
	    || !fleet_number(reply, 0, &version))
		return false;
	fleet_heed_version(call->polls, entry, version);
	for (size_t i = 0; i < call->token_count; i++)
		if (fleet_number(reply, FLEET_LOOK_VALUES + i, &grant_ms) && grant_ms > 0)
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
	struct fleet_call *call = arg;
	struct polls *polls = call->polls;
	struct poll_entry *entry = atomic_load(&polls->closed) ? NULL : poll_table_find(&polls->table, &call->id);
	struct polls_busy *busy = entry ? entry->busy : NULL;

	polls_fleet_heed_error(polls, reply);
	if (busy && busy->looking && busy->look == call->number) {
		polls_hold(entry);
		busy->looking = false;
		fleet_looked(polls, entry, call->number, fleet_learn(call, entry, reply));
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

/* What FLIGHT's lease is called: one for all who share, one for each other token. */
static struct str
fleet_lease_name(const struct polls_flight *flight, char hex[POLLS_HEX_BYTES])
{
	return flight->common ? STR("s") : fleet_hex(flight->token, hex);
}

/* Ask for the lease of FLIGHT; without it it goes by itself. */
static void
fleet_lease(struct polls *polls, struct polls_flight *flight)
{
	struct poll_entry *entry = flight->leader->entry;
	struct fleet_call *call = fleet_call_new(polls, entry, flight->id);
	char hex[POLLS_HEX_BYTES], ms[POLLS_NUMBER_BYTES], known[POLLS_NUMBER_BYTES];
	struct str arguments[5] = { buf_str(&polls->owner), fleet_lease_name(flight, hex),
		fleet_decimal(FLEET_LEASE_US / CLOCK_MS, ms),
		fleet_decimal(entry->answer ? entry->answer->number : 0, known) };

	arguments[4] = flight->common ? (struct str){ "", 0 } : arguments[1];
	if (polls_share_call(polls->share, &entry->id, "lease", polls->keep_us, arguments, 5, on_lease, call))
		return;
	free(call);
	polls_take_off(polls, flight);
}

/* What is said to a renewal or a release does not matter: a lease that was lost ends by itself. */
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

/* Renew the lease of FLIGHT. */
static void
fleet_renew(struct polls *polls, struct polls_flight *flight)
{
	char hex[POLLS_HEX_BYTES], ms[POLLS_NUMBER_BYTES];
	struct str arguments[3] = { buf_str(&polls->owner), fleet_lease_name(flight, hex),
		fleet_decimal(FLEET_LEASE_US / CLOCK_MS, ms) };

	polls_share_call(polls->share, &flight->leader->entry->id, "renew", polls->keep_us, arguments, 3, on_told,
	    NULL);
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
	if (fleet_number(reply, 1, &flight->number) && fleet_number(reply, 2, &flight->version))
		loop_timer_at(&flight->timer, mono_add(loop_now(polls->loops[0]), FLEET_RENEW_US));
	else
		flight->number = 0;
	polls_take_off(polls, flight);
}

/* The lease is ours, or another's, or of no use any more. */
static void
fleet_lease_told(struct polls *polls, struct polls_flight *flight, const struct redis_reply *reply)
{
	struct str word = fleet_word(reply);

	if (str_eq(word, STR("held")))
		loop_timer_at(&flight->timer, mono_add(loop_now(polls->loops[0]), FLEET_LOOK_US));
	else if (str_eq(word, STR("changed")))
		polls_again(polls, flight);
	else if (str_eq(word, STR("leased")))
		fleet_leased(polls, flight, reply);
	else
		polls_take_off(polls, flight);
}

/* The flight of a call, where it is still there. */
static struct polls_flight *
fleet_flight(const struct fleet_call *call)
{
	struct polls *polls = call->polls;
	struct poll_entry *entry = atomic_load(&polls->closed) ? NULL : poll_table_find(&polls->table, &call->id);
	struct polls_busy *busy = entry ? entry->busy : NULL;
	struct polls_flight *flight;

	if (busy == NULL)
		return NULL;
	TAILQ_FOREACH(flight, &busy->flights, link)
		if (flight->id == call->number)
			return flight;
	return NULL;
}

/* A lease was asked for; one that nobody wants any more ends by itself. */
static void
on_lease(void *arg, const struct redis_reply *reply)
{
	struct fleet_call *call = arg;
	struct polls_flight *flight = fleet_flight(call);

	polls_fleet_heed_error(call->polls, reply);
	if (flight && flight->stage == POLLS_LEASING)
		fleet_lease_told(call->polls, flight, reply);
	free(call);
}

void
polls_fleet_release(struct polls *polls, const struct polls_flight *flight, bool revoke)
{
	char hex[POLLS_HEX_BYTES], token[POLLS_HEX_BYTES];
	struct str arguments[3] = { buf_str(&polls->owner), fleet_lease_name(flight, hex) };

	if (flight->stage == POLLS_PUT_OFF || (flight->number == 0 && flight->stage != POLLS_LEASING))
		return;
	arguments[2] = revoke && !flight->shared ? fleet_hex(flight->token, token) : (struct str){ "", 0 };
	polls_share_call(polls->share, &flight->leader->entry->id, "release", polls->keep_us, arguments, 3, on_told,
	    NULL);
}

/* --- answers --- */

/* What a flight has brought is shared, or will not be. */
static void
on_put(void *arg, const struct redis_reply *reply)
{
	struct fleet_call *call = arg;
	struct polls_flight *flight = fleet_flight(call);
	struct str word = fleet_word(reply);

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
	struct fleet_call *call;
	char hex[POLLS_HEX_BYTES], token[POLLS_HEX_BYTES], number[POLLS_NUMBER_BYTES], version[POLLS_NUMBER_BYTES],
	    stands[POLLS_NUMBER_BYTES], head[POLLS_NUMBER_BYTES], grant[POLLS_NUMBER_BYTES];
	struct str bytes = { answer->bytes, answer->head_bytes + answer->body_bytes };
	struct str arguments[10] = { buf_str(&polls->owner), fleet_lease_name(flight, hex),
		fleet_decimal(flight->number, number),
		fleet_decimal(flight->version, version), fleet_decimal(answer->stands_us / CLOCK_MS, stands),
		answer->state.terminal ? STR("1") : STR("0"), fleet_decimal(answer->head_bytes, head),
		bytes.n <= POLLS_SHARE_BYTES && !flight->outdated ? bytes : (struct str){ "", 0 },
		flight->shared ? (struct str){ "", 0 } : fleet_hex(flight->token, token),
		fleet_decimal(ask->config.grant_us / CLOCK_MS, grant) };

	if (flight->number == 0 || !polls_fleet_is_up(polls)
	    || mono_since(polls->full_until, loop_now(polls->loops[0])) > 0)
		return false;
	call = fleet_call_new(polls, flight->leader->entry, flight->id);
	answer->number = flight->number;
	answer->version = flight->version;
	if (!polls_share_call(polls->share, &flight->leader->entry->id, "put", polls->keep_us, arguments, 10, on_put,
	    call)) {
		free(call);
		return false;
	}
	loop_timer_clear(&flight->timer);
	flight->stage = POLLS_PUTTING;
	flight->result = poll_answer_ref(answer);
	return true;
}
