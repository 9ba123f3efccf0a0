/* How an ask and an answer of the bucket's script travel. */
#include "rules/bucket_script.h"

#include <string.h>

#define SCRIPT_FIXED_ARGUMENTS 17
#define SCRIPT_FIXED_VALUES 16

struct script_writer {
	struct arena *arena;
	struct str *arguments;
	size_t count;
};

/* Append a number. */
static void
add_number(struct script_writer *w, int64_t value)
{
	w->arguments[w->count++] = arena_int(w->arena, value);
}

/* Append a text that outlives the arguments. */
static void
add_text(struct script_writer *w, const char *text)
{
	w->arguments[w->count++] = str_from(text);
}

/* Append a lane and which limits it has. */
static void
add_lane(struct script_writer *w, const struct bucket_lane *lane)
{
	add_text(w, lane->flow);
	add_number(w, lane->weight);
	add_number(w, lane->ready);
	add_number(w, lane->waiting);
	add_number(w, (int64_t)lane->limit_count);
	for (size_t i = 0; i < lane->limit_count; i++)
		add_number(w, lane->limits[i]);
}

/* Append what is always there. */
static void
add_fixed(struct script_writer *w, const struct bucket_ask *ask)
{
	const struct quota *q = ask->quota;
	const int64_t numbers[] = { ask->start, ask->born_ago_us, ask->sent_ago_us, ask->epoch, ask->number, ask->version,
		ask->share, ask->fresh, ask->leave, ask->tells, ask->pause_us, q->requests, q->window_us + q->jitter_us,
		q->slot_us, q->burst };

	add_text(w, ask->id);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		add_number(w, numbers[i]);
}

/* Append what the member tells of other stores' tokens, and of its peers. */
static void
add_told(struct script_writer *w, const struct bucket_ask *ask)
{
	add_number(w, (int64_t)ask->own_count);
	for (size_t i = 0; i < ask->own_count; i++) {
		add_number(w, ask->own[i].ago_us);
		add_number(w, ask->own[i].out);
		add_number(w, ask->own[i].bursts);
	}
	add_number(w, (int64_t)ask->peer_count);
	for (size_t i = 0; i < ask->peer_count; i++) {
		add_text(w, ask->peers[i].id);
		add_number(w, ask->peers[i].heard_ago_us);
		add_number(w, ask->peers[i].share);
	}
}

/* How many arguments there will be at the most. */
static size_t
arguments_most(const struct bucket_ask *ask)
{
	return SCRIPT_FIXED_ARGUMENTS + 4 + 4 * ask->limit_count + (5 + BUCKET_LANE_LIMITS_MAX) * ask->lane_count
	    + 3 * ask->own_count + 3 * ask->peer_count;
}

struct str *
bucket_script_arguments(struct arena *arena, const struct bucket_ask *ask, int64_t now_us, size_t *count)
{
	struct script_writer w = { arena, arena_alloc(arena, arguments_most(ask) * sizeof(struct str)), 0 };

	if (now_us)
		add_number(&w, now_us);
	else
		add_text(&w, "");
	add_fixed(&w, ask);
	add_number(&w, (int64_t)ask->limit_count);
	for (size_t i = 0; i < ask->limit_count; i++) {
		add_text(&w, ask->limits[i].name);
		add_number(&w, ask->limits[i].requests);
		add_number(&w, ask->limits[i].window_us);
		add_number(&w, ask->limits[i].burst);
	}
	add_number(&w, (int64_t)ask->lane_count);
	for (size_t i = 0; i < ask->lane_count; i++)
		add_lane(&w, &ask->lanes[i]);
	add_told(&w, ask);
	*count = w.count;
	return w.arguments;
}

/* Read the list of members behind the lanes; false where it is none. */
static bool
read_peers(const struct bucket_script_value *values, size_t count, struct bucket_answer *answer)
{
	size_t peers = (size_t)values[1].integer;

	answer->listed = values[0].integer == 1;
	if (peers > BUCKET_MEMBERS_MAX || count != 2 + 3 * peers)
		return false;
	for (size_t i = 0; i < peers; i++) {
		const struct bucket_script_value *v = &values[2 + 3 * i];
		struct bucket_peer *peer = &answer->peers[answer->peer_count++];

		if (!v[0].is_text || v[0].text.n >= BUCKET_NAME_BYTES || v[1].is_text || v[2].is_text || v[2].integer < 0)
			return false;
		memcpy(peer->id, v[0].text.p, v[0].text.n);
		peer->heard_ago_us = v[1].integer;
		peer->share = v[2].integer;
	}
	return true;
}

/* Are the first COUNT values integers, and those at the front none below zero? */
static bool
are_numbers(const struct bucket_script_value *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (values[i].is_text || (i < SCRIPT_FIXED_VALUES && values[i].integer < 0))
			return false;
	return true;
}

/* Read what is always there; false where no bucket says such things. */
static bool
read_fixed(const struct bucket_script_value *v, struct bucket_answer *answer)
{
	if (v[6].integer < 1 || v[7].integer < 1 || v[15].integer > BUCKET_CROWDED)
		return false;
	answer->epoch = v[0].integer;
	answer->number = v[1].integer;
	answer->version = v[2].integer;
	answer->share = v[3].integer;
	answer->wait_us = v[4].integer;
	answer->left = v[5].integer;
	answer->rate = v[6].integer;
	answer->token = v[7].integer;
	answer->paused_us = v[8].integer;
	answer->limit = v[9].integer;
	answer->out = v[10].integer;
	answer->reserved = v[11].integer;
	answer->weight = v[12].integer;
	answer->granted = v[13].integer;
	answer->bursts = v[14].integer;
	answer->closed = (enum bucket_closed)v[15].integer;
	return true;
}

/* Read what was granted to each lane: never more than could be sent, and all of it together as is said. */
static bool
read_lanes(const struct bucket_ask *ask, const struct bucket_script_value *v, struct bucket_answer *answer)
{
	int64_t granted = 0;

	for (size_t i = 0; i < ask->lane_count; i++) {
		struct bucket_lane_answer *lane = &answer->lanes[i];

		*lane = (struct bucket_lane_answer){ v[3 * i].integer, v[3 * i + 1].integer, v[3 * i + 2].integer };
		if (lane->granted < 0 || lane->granted > ask->lanes[i].ready || lane->members < 0)
			return false;
		granted += lane->granted;
	}
	return granted == answer->granted && answer->bursts <= granted;
}

bool
bucket_script_answer(const struct bucket_ask *ask, const struct bucket_script_value *values, size_t count,
    struct bucket_answer *answer)
{
	size_t before_peers = SCRIPT_FIXED_VALUES + 3 * ask->lane_count;

	memset(answer, 0, sizeof(*answer));
	return count >= before_peers + 2 && are_numbers(values, before_peers + 2) && read_fixed(values, answer)
	    && read_lanes(ask, values + SCRIPT_FIXED_VALUES, answer)
	    && read_peers(values + before_peers, count - before_peers, answer);
}
