/*
 * Several journals verified against each other.
 *
 * First all anchors are gathered (of one journal alone: while it is verified), then each journal is read once, and hears
 * what is said of it where its records pass. At the end it is weighed who is to be believed: nobody behind the first
 * record that is bad by itself, nor behind one that somebody else than the accused has otherwise. Whom all others
 * contradict is thus alone the bad one. Where a third journal has a later record of the accused right, either that one
 * was forged along with it or the anchor was: that cannot be known, and is told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "io/journal_progress.h"
#include "io/journal_verify.h"

struct verify_all {
	const struct str *directories;
	size_t count;
	struct journal_verified *each;		/* owned */
	struct journal_anchors anchors;		/* owned */
	struct journal_verdict *verdicts;
	bool believe;				/* everybody */
};

/* --- who is to be believed --- */

/* Whether somebody else than TARGET has something against WITNESS at OWN_SEQ or before, or it is bad by itself there. */
static bool
is_discredited(const struct verify_all *all, size_t target, const struct journal_anchor *anchor)
{
	const struct journal_verified *witness = &all->each[anchor->witness];

	if (all->believe)
		return false;
	if (anchor->own_seq >= witness->bad_from)
		return true;
	for (size_t i = 0; i < witness->hearing.count; i++) {
		const struct journal_accusation *a = &witness->hearing.accusations[i];

		if (a->anchor.witness != target && !a->ends && anchor->own_seq > a->agreed)
			return true;
	}
	return false;
}

/* A directory of a third journal that has ANCHOR's record of TARGET, or a later one, right; COUNT: none. */
static size_t
find_voucher(const struct verify_all *all, size_t target, const struct journal_anchor *anchor)
{
	const struct journal_hearing *hearing = &all->each[target].hearing;
	const char *witness = all->each[anchor->witness].verdict.journal;

	for (size_t i = 0; i < hearing->witnesses; i++)
		if (hearing->vouched[i] >= anchor->seq && strcmp(all->each[i].verdict.journal, witness) != 0)
			return i;
	return all->count;
}

/* --- telling --- */

/* Where record SEQ stands, in a journal that is a chain up to there; behind accepted damage lines cannot be counted. */
static void
tell_where(const struct verify_all *all, size_t target, uint64_t seq, struct journal_verdict *verdict)
{
	const struct journal_names *names = &all->each[target].names;
	uint64_t first = 0, next;
	size_t at = 0;
	int date;

	for (size_t i = 0; i < names->count; i++)
		if (journal_name_parse(names->names[i], &next, &date) && next <= seq) {
			first = next;
			at = i;
		}
	if (verdict->accepted > 0)
		snprintf(verdict->where, sizeof(verdict->where), "%.*s/%s, seq %" PRIu64, STR_ARG(all->directories[target]),
		    names->names[at], seq);
	else
		snprintf(verdict->where, sizeof(verdict->where), "%.*s/%s:%" PRIu64, STR_ARG(all->directories[target]),
		    names->names[at], seq - first + 1);
}

/* The journal of TARGET is bad: A says so. */
static void
tell_accused(const struct verify_all *all, size_t target, const struct journal_accusation *a)
{
	struct journal_verdict *v = &all->verdicts[target];
	struct str witness = all->directories[a->anchor.witness];
	uint64_t first = a->agreed >= v->first_seq ? a->agreed + 1 : v->first_seq;
	size_t voucher = find_voucher(all, target, &a->anchor);

	v->ok = false;
	if (a->ends) {
		tell_where(all, target, v->last_seq, v);
		snprintf(v->what, sizeof(v->what), "records are missing at the end: it ends with seq %" PRIu64
		    ", but %.*s has seen seq %" PRIu64 " (its anchor at seq %" PRIu64 "): cut off, or copied before that (--as-of)",
		    v->last_seq, STR_ARG(witness), a->anchor.seq, a->anchor.own_seq);
		return;
	}
	tell_where(all, target, first, v);
	snprintf(v->what, sizeof(v->what), "rewritten: the first bad record is one of seq %" PRIu64 " to %" PRIu64
	    "; %.*s has seen another seq %" PRIu64 " (its anchor at seq %" PRIu64 ")", first, a->anchor.seq, STR_ARG(witness),
	    a->anchor.seq, a->anchor.own_seq);
	if (voucher < all->count) {
		size_t n = strlen(v->what);

		snprintf(v->what + n, sizeof(v->what) - n, ", or that anchor is forged: %.*s has this or a later record right",
		    STR_ARG(all->directories[voucher]));
	}
}

/* Weigh what is said of one journal. */
static void
judge(const struct verify_all *all, size_t target)
{
	const struct journal_verified *one = &all->each[target];
	struct journal_verdict *v = &all->verdicts[target];
	bool accused = false;

	v->held = one->hearing.held;
	v->deleted = one->hearing.deleted;
	v->late = one->hearing.late;
	v->disputed = 0;
	for (size_t i = 0; i < one->hearing.count; i++) {
		const struct journal_accusation *a = &one->hearing.accusations[i];

		if (is_discredited(all, target, &a->anchor))
			v->disputed++;
		else if (!accused && (v->ok || (one->bad_from != UINT64_MAX && one->bad_from > a->anchor.seq))) {
			tell_accused(all, target, a);
			accused = true;
		}
	}
}

/* Weigh everything; where all is well but somebody was not believed, they discredit each other in a circle: it is told. */
static void
judge_all(struct verify_all *all)
{
	bool ok = true, disputed = false;

	for (size_t i = 0; i < all->count; i++) {
		judge(all, i);
		disputed = disputed || all->verdicts[i].disputed > 0;
	}
	for (size_t i = 0; i < all->count; i++)
		ok = ok && all->verdicts[i].ok;
	all->believe = ok && disputed;
	for (size_t i = 0; all->believe && i < all->count; i++)
		judge(all, i);
}

/* Name the journals that anchors speak of and that were not given. */
static void
find_strangers(const struct verify_all *all, struct journal_strangers *strangers)
{
	strangers->list = calloc(all->anchors.count + 1, sizeof(strangers->list[0]));
	strangers->count = 0;
	check(strangers->list != NULL);
	for (size_t i = 0; i < all->anchors.count; i++) {
		const struct journal_anchors_of *of = &all->anchors.of[i];
		struct journal_stranger *s = &strangers->list[strangers->count];
		size_t k = 0;

		while (k < all->count && strcmp(all->verdicts[k].journal, of->uuid) != 0)
			k++;
		if (k < all->count)
			continue;
		memcpy(s->journal, of->uuid, sizeof(of->uuid));
		s->anchors = of->count;
		for (size_t n = 0; n < of->count; n++)
			s->last_seq = of->list[n].seq > s->last_seq ? of->list[n].seq : s->last_seq;
		strangers->count++;
	}
}

void
journal_verify_all(const struct str *directories, size_t count, struct wall_time as_of,
    struct journal_progress *progress, struct journal_verdict *verdicts, struct journal_strangers *strangers)
{
	struct verify_all all = { .directories = directories, .count = count, .verdicts = verdicts,
		.each = calloc(count, sizeof(*all.each)) };
	bool alone = count == 1;

	check(all.each != NULL);
	for (size_t i = 0; progress && i < count; i++)
		journal_progress_measure(progress, directories[i], alone ? 1 : 2);
	for (size_t i = 0; !alone && i < count; i++)
		journal_anchors_gather(&all.anchors, directories[i], (uint32_t)i, as_of, progress);
	journal_anchors_sort(&all.anchors);
	for (size_t i = 0; i < count; i++) {
		journal_verify_one(directories[i], alone ? NULL : &all.anchors, count, alone ? &all.anchors : NULL, progress,
		    &all.each[i]);
		verdicts[i] = all.each[i].verdict;
	}
	judge_all(&all);
	find_strangers(&all, strangers);
	for (size_t i = 0; i < count; i++)
		journal_verified_fini(&all.each[i]);
	free(all.each);
	journal_anchors_fini(&all.anchors);
}
