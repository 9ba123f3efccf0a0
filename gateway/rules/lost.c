/* Lost answers: a table by name, and a list in the order in which they are forgotten. */
#include "rules/lost.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/check.h"

/* Chains: a few answers are lost at a time, thousands where a proxy dies. */
#define LOST_CHAINS 4096

struct lost {
	TAILQ_ENTRY(lost) chain, order;
	uint8_t name[CLAIM_DIGEST_BYTES];
	char id[CLAIM_ID_BYTES];
	enum lost_state state;
	int64_t forget_us;		/* but FLYING */
	bool joined;
	struct lost_who joiner;
	struct buf answer;
};

TAILQ_HEAD(lost_list, lost);

struct lost_table {
	size_t max, count;
	struct lost_list order;		/* by forget_us, as long as that grows with the time at which they land; FLYING anywhere */
	struct lost_list chains[LOST_CHAINS];	/* the oldest first */
};

struct lost_table *
lost_table_new(size_t max)
{
	struct lost_table *table = calloc(1, sizeof(*table));

	check(table != NULL);
	table->max = max;
	TAILQ_INIT(&table->order);
	for (size_t i = 0; i < LOST_CHAINS; i++)
		TAILQ_INIT(&table->chains[i]);
	return table;
}

/* The chain of a name. */
static struct lost_list *
lost_chain(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES])
{
	return &table->chains[((size_t)name[0] << 8 | name[1]) % LOST_CHAINS];
}

/* Take an entry out of the table and free it. */
static void
lost_drop(struct lost_table *table, struct lost *lost)
{
	TAILQ_REMOVE(lost_chain(table, lost->name), lost, chain);
	TAILQ_REMOVE(&table->order, lost, order);
	table->count--;
	buf_fini(&lost->answer);
	free(lost);
}

void
lost_table_free(struct lost_table **table_p)
{
	struct lost_table *table = *table_p;

	if (table == NULL)
		return;
	*table_p = NULL;
	while (!TAILQ_EMPTY(&table->order))
		lost_drop(table, TAILQ_FIRST(&table->order));
	free(table);
}

/* Forget what is due, and the oldest where there are too many; who flies stays. */
static void
lost_expire(struct lost_table *table, int64_t now_us)
{
	struct lost *lost = TAILQ_FIRST(&table->order), *next;

	for (; lost && (lost->state == LOST_FLYING || lost->forget_us <= now_us || table->count > table->max); lost = next) {
		next = TAILQ_NEXT(lost, order);
		if (lost->state != LOST_FLYING)
			lost_drop(table, lost);
	}
}

/* The entry of a name that request ID has. */
static struct lost *
lost_find(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES])
{
	struct lost *lost;

	TAILQ_FOREACH(lost, lost_chain(table, name), chain)
		if (memcmp(lost->name, name, CLAIM_DIGEST_BYTES) == 0 && memcmp(lost->id, id, CLAIM_ID_BYTES) == 0)
			break;
	return lost;
}

/* The oldest entry of a name in STATE that nobody has joined. */
static struct lost *
lost_find_state(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], enum lost_state state)
{
	struct lost *lost;

	TAILQ_FOREACH(lost, lost_chain(table, name), chain)
		if (memcmp(lost->name, name, CLAIM_DIGEST_BYTES) == 0 && lost->state == state && !lost->joined)
			break;
	return lost;
}

/* Make an entry. */
static struct lost *
lost_new(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES])
{
	struct lost *lost = calloc(1, sizeof(*lost));

	check(lost != NULL);
	memcpy(lost->name, name, sizeof(lost->name));
	memcpy(lost->id, id, sizeof(lost->id));
	lost->state = LOST_FLYING;
	TAILQ_INSERT_TAIL(lost_chain(table, name), lost, chain);
	TAILQ_INSERT_TAIL(&table->order, lost, order);
	table->count++;
	return lost;
}

void
lost_fly(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES])
{
	if (lost_find(table, name, id) == NULL)
		lost_new(table, name, id);
}

void
lost_look(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const struct lost_who *who, int64_t now_us,
    struct lost_found *found)
{
	static const enum lost_state best_first[] = { LOST_ANSWERED, LOST_FLYING, LOST_UNKNOWN };
	struct lost *lost = NULL;

	*found = (struct lost_found){ .state = LOST_NONE };
	lost_expire(table, now_us);
	for (size_t i = 0; i < 3 && lost == NULL; i++)
		lost = lost_find_state(table, name, best_first[i]);
	if (lost == NULL)
		return;
	found->state = lost->state;
	memcpy(found->first, lost->id, sizeof(found->first));
	if (lost->state == LOST_FLYING) {
		lost->joined = true;
		lost->joiner = *who;
	} else if (lost->state == LOST_ANSWERED) {
		found->answer = buf_take(&lost->answer);
		lost_drop(table, lost);
	}
}

void
lost_leave(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES])
{
	struct lost *lost;

	TAILQ_FOREACH(lost, lost_chain(table, name), chain)
		if (lost->joined && memcmp(lost->joiner.id, id, CLAIM_ID_BYTES) == 0)
			lost->joined = false;
}

bool
lost_land(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES], enum lost_state state,
    struct str answer, int64_t keep_us, int64_t now_us, struct lost_who *joiner)
{
	struct lost *lost = lost_find(table, name, id);
	bool joined = lost && lost->joined;

	if (joined)
		*joiner = lost->joiner;
	if (state == LOST_NONE || (joined && state == LOST_ANSWERED)) {
		if (lost)
			lost_drop(table, lost);
		return joined;
	}
	if (lost == NULL)
		lost = lost_new(table, name, id);
	lost->joined = false;
	lost->state = state;
	lost->forget_us = now_us + keep_us;
	buf_clear(&lost->answer);
	buf_add(&lost->answer, answer);
	TAILQ_REMOVE(&table->order, lost, order);
	TAILQ_INSERT_TAIL(&table->order, lost, order);
	lost_expire(table, now_us);
	return joined;
}

/* The key of WHAT among a bucket's. */
static void
lost_key_of(struct buf *out, struct str prefix, struct str tag, struct str what)
{
	buf_add(out, prefix);
	buf_add(out, STR(":lost1:{"));
	buf_add(out, tag);
	buf_add(out, STR("}:"));
	buf_add(out, what);
}

void
lost_key(struct buf *out, struct str prefix, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES])
{
	char hex[2 * CLAIM_DIGEST_BYTES];

	str_hex_encode(name, CLAIM_DIGEST_BYTES, hex);
	lost_key_of(out, prefix, tag, (struct str){ hex, sizeof(hex) });
}

void
lost_mark_key(struct buf *out, struct str prefix, struct str tag)
{
	lost_key_of(out, prefix, tag, STR("any"));
}

void
lost_mark_who(struct buf *out, struct str member, int64_t start)
{
	buf_printf(out, "%.*s/%" PRId64, STR_ARG(member), start);
}

bool
lost_mark_is_of(struct str mark, struct str member, int64_t start)
{
	struct buf who = BUF_EMPTY;
	size_t space = 0;
	bool is;

	while (space < mark.n && mark.p[space] != ' ')
		space++;
	lost_mark_who(&who, member, start);
	is = space < mark.n && str_eq(str_sub(mark, space + 1, mark.n), buf_str(&who));
	buf_fini(&who);
	return is;
}

static const char lost_letters[] = { [LOST_NONE] = 'N', [LOST_FLYING] = 'F', [LOST_ANSWERED] = 'A', [LOST_UNKNOWN] = 'U' };

void
lost_text_write(struct buf *out, enum lost_state state, const char id[CLAIM_ID_BYTES], struct str answer)
{
	buf_add_char(out, lost_letters[state]);
	buf_add(out, (struct str){ id, CLAIM_ID_BYTES });
	if (state == LOST_ANSWERED)
		buf_add(out, answer);
}

bool
lost_text_read(struct str text, struct lost_text *out)
{
	*out = (struct lost_text){ .state = LOST_NONE };
	if (text.n < 1 + CLAIM_ID_BYTES)
		return false;
	out->first = str_sub(text, 1, 1 + CLAIM_ID_BYTES);
	out->answer = str_sub(text, 1 + CLAIM_ID_BYTES, text.n);
	for (size_t i = 0; i < sizeof(lost_letters); i++)
		if (text.p[0] == lost_letters[i]) {
			out->state = (enum lost_state)i;
			out->was = true;
		}
	return out->was;
}

size_t
lost_count(const struct lost_table *table)
{
	return table->count;
}
