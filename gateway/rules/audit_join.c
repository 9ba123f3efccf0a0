/* A journal's triggers put together from its lines. */
#include "rules/audit_join.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void
audit_join_init(struct audit_join *join, const struct audit_filter *filter)
{
	*join = (struct audit_join){ .filter = filter };
	TAILQ_INIT(&join->triggers);
	TAILQ_INIT(&join->ahead);
	TAILQ_INIT(&join->remembered);
}

/* Forget the resolutions up to SEQ. */
static void
join_pass_ahead(struct audit_join *join, uint64_t seq)
{
	struct audit_ahead *ahead;

	while ((ahead = TAILQ_FIRST(&join->ahead)) != NULL && ahead->seq <= seq) {
		TAILQ_REMOVE(&join->ahead, ahead, link);
		buf_fini(&ahead->line);
		free(ahead);
	}
}

/* Free a trigger that is in no list. */
static void
trigger_free(struct audit_trigger *trigger)
{
	buf_fini(&trigger->line);
	buf_fini(&trigger->outcome);
	buf_fini(&trigger->resolution);
	free(trigger);
}

/* Take a trigger out of those that are remembered. */
static void
join_recall(struct audit_join *join, struct audit_trigger *trigger)
{
	TAILQ_REMOVE(&join->remembered, trigger, link);
	join->remembered_count--;
}

/* Remember it no longer. */
static void
join_forget(struct audit_join *join, struct audit_trigger *trigger)
{
	join_recall(join, trigger);
	trigger_free(trigger);
}

void
audit_join_fini(struct audit_join *join)
{
	struct audit_trigger *trigger;

	while ((trigger = TAILQ_FIRST(&join->triggers)) != NULL)
		audit_join_drop(join, trigger);
	while ((trigger = TAILQ_FIRST(&join->remembered)) != NULL)
		join_forget(join, trigger);
	join_pass_ahead(join, UINT64_MAX);
}

/* Where the search for an open trigger of that request begins. */
static struct audit_trigger **
join_chain(struct audit_join *join, struct str request_id)
{
	return &join->open[str_hash_end(str_hash(STR_HASH_BEGIN, request_id)) % AUDIT_JOIN_CHAINS];
}

/* Take a trigger out of the open ones. */
static void
join_close(struct audit_join *join, struct audit_trigger *trigger)
{
	struct audit_trigger **p = join_chain(join, trigger->record.values[AUDIT_REQUEST_ID].text);

	while (*p && *p != trigger)
		p = &(*p)->chain_next;
	if (*p == NULL)
		return;
	*p = trigger->chain_next;
	join->open_count--;
}

void
audit_join_drop(struct audit_join *join, struct audit_trigger *trigger)
{
	if (!trigger->whole)
		join_close(join, trigger);
	TAILQ_REMOVE(&join->triggers, trigger, link);
	trigger_free(trigger);
}

void
audit_join_done(struct audit_join *join, struct audit_trigger *trigger)
{
	if (!join->remembers || !trigger->whole || !str_eq(trigger->record.values[AUDIT_RESULT].text, STR("unknown"))) {
		audit_join_drop(join, trigger);
		return;
	}
	if (join->remembered_count == AUDIT_JOIN_REMEMBERED)
		join_forget(join, TAILQ_FIRST(&join->remembered));
	TAILQ_REMOVE(&join->triggers, trigger, link);
	TAILQ_INSERT_TAIL(&join->remembered, trigger, link);
	join->remembered_count++;
}

/* Keep LINE, an intent, a refusal or a replay that RECORD was read from. */
static void
join_keep(struct audit_join *join, struct str line, const struct audit_record *record, bool whole)
{
	struct audit_trigger *trigger = calloc(1, sizeof(*trigger)), **chain;

	check(trigger != NULL);
	buf_add(&trigger->line, line);
	trigger->record = *record;
	audit_record_rebase(&trigger->record, line.p, trigger->line.p);
	trigger->whole = whole;
	TAILQ_INSERT_TAIL(&join->triggers, trigger, link);
	if (whole)
		return;
	chain = join_chain(join, trigger->record.values[AUDIT_REQUEST_ID].text);
	trigger->chain_next = *chain;
	*chain = trigger;
	join->open_count++;
}

void
audit_join_ahead(struct audit_join *join, struct str line)
{
	struct audit_ahead *last = TAILQ_LAST(&join->ahead, audit_aheads), *ahead;
	struct audit_record record;

	if (audit_record_read(line, &record) != NULL || record.kind != AUDIT_RESOLUTION || record.seq <= join->last_seq
	    || (last && record.seq <= last->seq) || !str_eq(record.values[AUDIT_RESULT].text, STR("accepted")))
		return;
	ahead = calloc(1, sizeof(*ahead));
	check(ahead != NULL);
	ahead->seq = record.seq;
	buf_add(&ahead->line, line);
	audit_record_rebase(&record, line.p, ahead->line.p);
	ahead->request_id = record.values[AUDIT_REQUEST_ID].text;
	TAILQ_INSERT_TAIL(&join->ahead, ahead, link);
}

/* Put what the resolution LINE says to its trigger. */
static void
trigger_resolve(struct audit_trigger *trigger, struct str line)
{
	struct audit_record resolution;

	buf_add(&trigger->resolution, line);
	audit_record_read(buf_str(&trigger->resolution), &resolution);
	audit_record_resolve(&trigger->record, &resolution);
}

/* A resolution has come: its trigger, where it is remembered, comes out again. */
static void
join_take_resolution(struct audit_join *join, struct str line, const struct audit_record *record)
{
	struct str id = record->values[AUDIT_REQUEST_ID].text;
	struct audit_trigger *trigger;

	TAILQ_FOREACH(trigger, &join->remembered, link)
		if (str_eq(trigger->record.values[AUDIT_REQUEST_ID].text, id))
			break;
	if (trigger == NULL || !str_eq(record->values[AUDIT_RESULT].text, STR("accepted")))
		return;
	join_recall(join, trigger);
	trigger_resolve(trigger, line);
	TAILQ_INSERT_TAIL(&join->triggers, trigger, link);
	if (!audit_filter_matches(join->filter, &trigger->record))
		audit_join_drop(join, trigger);
}

/* Put the resolution of an unknown outcome to its trigger, where one stands ahead. */
static void
join_resolution(struct audit_join *join, struct audit_trigger *trigger)
{
	struct audit_ahead *ahead;

	if (!str_eq(trigger->record.values[AUDIT_RESULT].text, STR("unknown")))
		return;
	TAILQ_FOREACH(ahead, &join->ahead, link)
		if (str_eq(ahead->request_id, trigger->record.values[AUDIT_REQUEST_ID].text))
			break;
	if (ahead)
		trigger_resolve(trigger, buf_str(&ahead->line));
}

/* An outcome: put it to its intent, and drop both where they turn out not to be looked for. */
static void
join_outcome(struct audit_join *join, struct str line, const struct audit_record *record)
{
	struct str id = record->values[AUDIT_REQUEST_ID].text;
	struct audit_trigger *trigger = *join_chain(join, id);
	struct audit_record outcome = *record;

	while (trigger && !str_eq(trigger->record.values[AUDIT_REQUEST_ID].text, id))
		trigger = trigger->chain_next;
	if (trigger == NULL)
		return;		/* its intent is not looked for, or older than what is read */
	join_close(join, trigger);
	buf_add(&trigger->outcome, line);
	audit_record_rebase(&outcome, line.p, trigger->outcome.p);
	audit_record_join(&trigger->record, &outcome);
	join_resolution(join, trigger);
	trigger->whole = true;
	if (!audit_filter_matches(join->filter, &trigger->record))
		audit_join_done(join, trigger);
}

/* Note what seq this record has, and which are missing before it. */
static void
join_count(struct audit_join *join, const struct audit_record *record)
{
	struct str journal = record->values[AUDIT_JOURNAL].text;

	if (join->first_seq == 0)
		join->first_seq = record->seq;
	else if (record->seq > join->last_seq + 1 && join->gap_count++ < AUDIT_JOIN_GAPS)
		join->gaps[join->gap_count - 1] = (struct audit_gap){ join->last_seq + 1, record->seq - 1 };
	join->last_seq = record->seq;
	join->last_time = record->time;
	if (journal.n < sizeof(join->journal))
		memcpy(join->journal, journal.p, journal.n);
}

bool
audit_join_line(struct audit_join *join, struct str line)
{
	struct audit_record record;

	if (audit_record_read(line, &record) != NULL) {
		join->bad_lines++;
		return false;
	}
	join_count(join, &record);
	join_pass_ahead(join, record.seq);
	if (record.kind == AUDIT_OUTCOME)
		join_outcome(join, line, &record);
	else if (record.kind == AUDIT_RESOLUTION)
		join_take_resolution(join, line, &record);
	else if (record.kind == AUDIT_INTENT && audit_filter_may_match(join->filter, &record))
		join_keep(join, line, &record, false);
	else if ((record.kind == AUDIT_REFUSAL || record.kind == AUDIT_REPLAY) && audit_filter_matches(join->filter, &record))
		join_keep(join, line, &record, true);
	return true;
}

struct audit_trigger *
audit_join_first(struct audit_join *join)
{
	struct audit_trigger *first = TAILQ_FIRST(&join->triggers);

	return first && first->whole ? first : NULL;
}

struct audit_trigger *
audit_join_any_whole(struct audit_join *join)
{
	struct audit_trigger *trigger;

	TAILQ_FOREACH(trigger, &join->triggers, link)
		if (trigger->whole)
			return trigger;
	return NULL;
}

struct audit_trigger *
audit_join_as_it_is(struct audit_join *join)
{
	struct audit_trigger *first;

	while ((first = TAILQ_FIRST(&join->triggers)) != NULL) {
		if (first->whole || audit_filter_matches(join->filter, &first->record))
			return first;
		audit_join_drop(join, first);
	}
	return NULL;
}
