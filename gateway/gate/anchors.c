/* Anchors: heads shown, and heads written down. */
#include "gate/anchors.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gate/condition.h"
#include "io/journal_chain.h"

/* Heads that only anchors have moved are shown every so many intervals. */
#define ANCHORS_ALL_EVERY 60
/*
 * A head is kept for the others, a dead instance's too, for a day, or for so many intervals: whoever starts meanwhile
 * writes it down.
 */
#define ANCHORS_KEEP_US (INT64_C(86400) * CLOCK_SECOND)
#define ANCHORS_KEEP_INTERVALS 10
/* A new journal has its first record on the disk within a second. */
#define ANCHORS_FIRST_US ((int64_t)CLOCK_SECOND)

_Static_assert(HEADS_UUID_BYTES == JOURNAL_UUID_BYTES && HEADS_HASH_HEX == JOURNAL_HASH_HEX, "heads are of journals");

struct anchors {
	struct loop *loop;
	struct limiter *limiter;
	struct audit *audit;
	struct loop_timer timer;
	int64_t interval_us;		/* 0: off, or there are no others */
	bool begun;			/* anchors_show was called */
	int shows;			/* since everything was shown */
	struct heads written;		/* the last that was written of each journal that is shown */
	struct condition condition;
};

/* Write down which heads are news. */
static void
anchors_write(struct anchors *anchors, const struct heads *told)
{
	struct heads *written = calloc(1, sizeof(*written));
	struct str own = journal_uuid(audit_journal(anchors->audit));

	check(written != NULL);
	for (size_t i = 0; i < told->count; i++) {
		const struct heads_head *head = &told->heads[i];

		if (str_eq(str_from(head->journal), own))
			continue;
		if (heads_have(&anchors->written, head) || audit_anchor(anchors->audit, head))
			heads_add(written, head);
	}
	anchors->written = *written;
	free(written);
}

/* The others' heads have come, or not. */
static void
on_told(void *arg, const struct heads *heads, const char *why)
{
	struct anchors *anchors = arg;

	condition_set(&anchors->condition, heads != NULL, heads ? "" : why, loop_now(anchors->loop));
	if (heads && anchors->interval_us > 0)
		anchors_write(anchors, heads);
}

/* Show the head; false where there is none yet. */
static bool
anchors_show_head(struct anchors *anchors)
{
	struct journal *journal = audit_journal(anchors->audit);
	int64_t keep_us = anchors->interval_us * ANCHORS_KEEP_INTERVALS;
	struct journal_head head;
	struct heads_head own;

	if (!journal_synced_head(journal, anchors->shows == 0, &head))
		return false;
	anchors->shows = (anchors->shows + 1) % ANCHORS_ALL_EVERY;
	memcpy(own.journal, journal_uuid(journal).p, HEADS_UUID_BYTES);
	own.journal[HEADS_UUID_BYTES] = '\0';
	own.seq = head.seq;
	memcpy(own.hash, head.hash, HEADS_HASH_HEX);
	limiter_show_head(anchors->limiter, &own, (keep_us > ANCHORS_KEEP_US ? keep_us : ANCHORS_KEEP_US) / CLOCK_MS,
	    anchors->loop, on_told, anchors);
	return true;
}

void
anchors_show(struct anchors *anchors)
{
	int64_t wait_us;

	anchors->begun = true;
	if (anchors->interval_us == 0)
		return;
	wait_us = anchors_show_head(anchors) ? anchors->interval_us : ANCHORS_FIRST_US;
	loop_timer_at(&anchors->timer, mono_add(loop_now(anchors->loop), wait_us));
}

/* An interval is over. */
static void
on_timer(void *arg)
{
	anchors_show(arg);
}

void
anchors_set(struct anchors *anchors, const struct config *config)
{
	int64_t interval_us = config->store.redis ? config->audit_anchors_us : 0;

	if (interval_us == anchors->interval_us)
		return;
	anchors->interval_us = interval_us;
	loop_timer_clear(&anchors->timer);
	if (interval_us == 0)
		condition_set(&anchors->condition, true, "", loop_now(anchors->loop));
	else if (anchors->begun)
		loop_timer_at(&anchors->timer, loop_now(anchors->loop));
}

struct anchors *
anchors_new(struct loop *loop, struct limiter *limiter, struct audit *audit, const struct config *config)
{
	struct anchors *anchors = calloc(1, sizeof(*anchors));

	check(anchors != NULL);
	*anchors = (struct anchors){ .loop = loop, .limiter = limiter, .audit = audit,
		.condition = CONDITION_INIT("audit head not shown", "audit head shown again") };
	loop_timer_init(&anchors->timer, loop, on_timer, anchors);
	anchors_set(anchors, config);
	return anchors;
}

void
anchors_free(struct anchors **anchors)
{
	if (*anchors == NULL)
		return;
	loop_timer_fini(&(*anchors)->timer);
	free(*anchors);
	*anchors = NULL;
}

bool
anchors_are_ill(const struct anchors *anchors)
{
	return condition_is_ill(&anchors->condition);
}
