/*
 * The runs that were sent lately: a ring by age, and chains through it by item and by request.
 *
 * A place of the ring is one line of the cache. A chain runs from the newest to older ones by number; where it comes to one that the
 * ring has no more it ends, so nothing is unlinked when a place is taken again, and nothing old is touched for what is new.
 */
#include "gate/runs.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/uuid.h"

#define RUNS_CHAIN_BITS 14
#define RUNS_CHAINS (1u << RUNS_CHAIN_BITS)
/* 4 MB. Where more were sent in the time, the oldest are given up, and nothing is said of their time. */
#define RUNS_MAX 65536u

/* The time of one that started nothing. */
#define RUN_NONE_US INT64_MIN

/* A UUID's digits, two in each byte (id_pack). */
struct run_id { uint64_t halves[2]; };

struct run {
	int64_t sent_us;
	struct run_id item, request;
	struct run_id instance;		/* zeros: none that is known */
	uint32_t item_before, request_before;	/* numbers of the next older ones in the chains */
};

_Static_assert(sizeof(struct run) == 64 && (RUNS_MAX & (RUNS_MAX - 1)) == 0, "a run is one line of the cache, and numbers wrap");

struct runs {
	pthread_mutex_t lock;		/* held for a look into the table */
	uint32_t next;			/* the number of the next run; those of the ring are the COUNT before it */
	uint32_t count;
	struct mono_time since;		/* all that was sent later is here, or too old for anybody */
	/* The newest number of a chain; one that the ring does not have: none. */
	uint32_t by_item[RUNS_CHAINS];
	uint32_t by_request[RUNS_CHAINS];	/* an item may have all of them: its chain is for those who look seldom */
	_Alignas(64) struct run ring[RUNS_MAX];
};

struct runs *
runs_new(struct mono_time since)
{
	struct runs *runs = aligned_alloc(64, sizeof(*runs));

	check(runs != NULL);
	memset(runs, 0, offsetof(struct runs, ring));	/* the ring's pages are touched when they are used */
	pthread_mutex_init(&runs->lock, NULL);
	runs->since = since;
	runs->next = 1;		/* what no chain has yet */
	return runs;
}

void
runs_free(struct runs **runs_p)
{
	struct runs *runs = *runs_p;

	if (runs == NULL)
		return;
	*runs_p = NULL;
	pthread_mutex_destroy(&runs->lock);
	free(runs);
}

/* The values of the eight hexadecimal digits at P, each in a byte of its own. */
static uint64_t
digits_value(const char *p)
{
	const uint64_t each = UINT64_MAX / 255;
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return (word & each * 0x0f) + (word >> 6 & each) * 9;
}

/* The digits of a UUID, in whatever case: those of the second word of a half stand in the low halves of its bytes. */
static struct run_id
id_pack(struct str text)
{
	char digits[32];

	check(text.n == UUID_BYTES);
	memcpy(digits, text.p, 8);
	memcpy(digits + 8, text.p + 9, 4);
	memcpy(digits + 12, text.p + 14, 4);
	memcpy(digits + 16, text.p + 19, 4);
	memcpy(digits + 20, text.p + 24, 12);
	return (struct run_id){ { digits_value(digits) << 4 | digits_value(digits + 8),
		digits_value(digits + 16) << 4 | digits_value(digits + 24) } };
}

static bool
id_eq(const struct run_id *a, const struct run_id *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

/* The chain of an item or a request (Knuth's multiplicative hashing, of both halves). */
static size_t
id_chain(const struct run_id *id)
{
	return (size_t)(((id->halves[0] * UINT64_C(0x9e3779b97f4a7c15)) ^ id->halves[1]) * UINT64_C(0xd6e8feb86659fd93) >> (64 - RUNS_CHAIN_BITS));
}

/* The place of a number. */
static struct run *
runs_at(struct runs *runs, uint32_t number)
{
	return &runs->ring[number % RUNS_MAX];
}

/* Whether NUMBER is of the ring, and older than AFTER: a chain's next, and not its end. */
static bool
runs_has(const struct runs *runs, uint32_t number, uint32_t after)
{
	uint32_t age = runs->next - number;

	return age <= runs->count && age > runs->next - after;
}

/* Forget what is too old, and the oldest where there is no room. */
static void
runs_expire(struct runs *runs, struct mono_time now)
{
	while (runs->count > 0) {
		const struct run *oldest = runs_at(runs, runs->next - runs->count);

		if (runs->count < RUNS_MAX && oldest->sent_us != RUN_NONE_US && now.us - oldest->sent_us <= RUNS_KEEP_US)
			return;
		if (oldest->sent_us != RUN_NONE_US && oldest->sent_us >= runs->since.us)
			runs->since.us = oldest->sent_us + 1;
		runs->count--;
	}
}

/* The run REQUEST, or NULL. */
static struct run *
runs_find(struct runs *runs, const struct run_id *request)
{
	uint32_t after = runs->next, number = runs->by_request[id_chain(request)];

	while (runs_has(runs, number, after)) {
		struct run *run = runs_at(runs, number);

		if (run->sent_us != RUN_NONE_US && id_eq(&run->request, request))
			return run;
		after = number;
		number = run->request_before;
	}
	return NULL;
}

/* Make a run, in the place of the oldest where the ring is full. */
static void
runs_add(struct runs *runs, const struct run_id *item, const struct run_id *request, struct mono_time now)
{
	uint32_t *of_item = &runs->by_item[id_chain(item)], *of_request = &runs->by_request[id_chain(request)];

	*runs_at(runs, runs->next) = (struct run){ now.us, *item, *request, { { 0, 0 } }, *of_item, *of_request };
	*of_item = *of_request = runs->next++;
	runs->count++;
}

void
runs_sent(struct runs *runs, struct str item, struct str request, struct mono_time now)
{
	struct run_id of_item = id_pack(item), of_request = id_pack(request);

	pthread_mutex_lock(&runs->lock);
	runs_expire(runs, now);
	runs_add(runs, &of_item, &of_request, now);
	pthread_mutex_unlock(&runs->lock);
}

void
runs_ended(struct runs *runs, struct str request, enum runs_fate fate, struct str instance)
{
	struct run_id id = id_pack(request);
	struct run *run;

	if (fate == RUNS_UNKNOWN)
		return;		/* as it was since it was sent */
	pthread_mutex_lock(&runs->lock);
	run = runs_find(runs, &id);
	if (run && fate == RUNS_NOTHING)
		run->sent_us = RUN_NONE_US;
	else if (run && instance.n == UUID_BYTES)
		run->instance = id_pack(instance);
	pthread_mutex_unlock(&runs->lock);
}

void
runs_know_since(struct runs *runs, struct mono_time since)
{
	pthread_mutex_lock(&runs->lock);
	runs->since = since;
	pthread_mutex_unlock(&runs->lock);
}

bool
runs_knows_since(struct runs *runs, struct mono_time from)
{
	bool knows;

	pthread_mutex_lock(&runs->lock);
	knows = from.us >= runs->since.us;
	pthread_mutex_unlock(&runs->lock);
	return knows;
}

/* The newest run of ITEM that is older than number *AT, which becomes its own (begin with runs->next); NULL where there is none. */
static const struct run *
runs_next_of(struct runs *runs, const struct run_id *item, uint32_t *at)
{
	uint32_t number = *at == runs->next ? runs->by_item[id_chain(item)] : runs_at(runs, *at)->item_before;

	while (runs_has(runs, number, *at)) {
		const struct run *run = runs_at(runs, number);

		*at = number;
		if (run->sent_us != RUN_NONE_US && id_eq(&run->item, item))
			return run;
		number = run->item_before;
	}
	return NULL;
}

bool
runs_has_instance(struct runs *runs, struct str item, struct str instance)
{
	struct run_id of_item, wanted;
	const struct run *run;
	bool found = false;
	uint32_t at;

	if (!uuid_is(item) || !uuid_is(instance))
		return false;
	of_item = id_pack(item);
	wanted = id_pack(instance);
	pthread_mutex_lock(&runs->lock);
	at = runs->next;
	while (!found && (run = runs_next_of(runs, &of_item, &at)) != NULL)
		found = id_eq(&run->instance, &wanted);
	pthread_mutex_unlock(&runs->lock);
	return found;
}

bool
runs_any_open(struct runs *runs, struct str item, struct str request, struct mono_time from, struct mono_time to)
{
	static const struct run_id none = { { 0, 0 } };
	struct run_id of_item, other_than = id_pack(request);
	const struct run *run;
	bool found = false;
	uint32_t at;

	if (!uuid_is(item))
		return false;
	of_item = id_pack(item);
	pthread_mutex_lock(&runs->lock);
	at = runs->next;
	while (!found && (run = runs_next_of(runs, &of_item, &at)) != NULL)
		found = id_eq(&run->instance, &none) && run->sent_us >= from.us && run->sent_us <= to.us && !id_eq(&run->request, &other_than);
	pthread_mutex_unlock(&runs->lock);
	return found;
}
