/* Calls of the script that instances share polls by: what is said, what was heard, and whose it is. */
#include "gate/polls_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct polls_call *
polls_call_new(struct polls *polls, const struct poll_entry *entry, uint64_t number)
{
	struct polls_call *call = malloc(sizeof(*call));

	check(call != NULL);
	call->polls = polls;
	call->id = entry->id;
	call->number = number;
	call->token_count = 0;
	return call;
}

struct str
polls_call_decimal(int64_t number, char out[POLLS_NUMBER_BYTES])
{
	int n = snprintf(out, POLLS_NUMBER_BYTES, "%lld", (long long)number);

	return (struct str){ out, (size_t)n };
}

struct str
polls_call_hex(const uint8_t token[POLL_DIGEST_BYTES], char out[POLLS_HEX_BYTES])
{
	str_hex_encode(token, POLL_DIGEST_BYTES, out);
	return (struct str){ out, POLLS_HEX_BYTES };
}

bool
polls_call_number(const struct redis_reply *reply, size_t i, int64_t *out)
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

struct str
polls_call_word(const struct redis_reply *reply)
{
	if (reply->kind == REDIS_ARRAY && reply->element_count > 0)
		reply = &reply->elements[0];
	return reply->kind == REDIS_STRING ? reply->string : (struct str){ NULL, 0 };
}

struct polls_flight *
polls_call_flight(const struct polls_call *call)
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
