/* What `jobgate status` shows of an identity: whether tokens are granted and if not, why; the level; who waits; the members. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "rules/report_private.h"

/* An answer older than this is told to be old: the store is called three times within it. */
#define IDENTITY_OLD_MS 2000

/* Whom the store waits for: by name where it is one. */
static void
identity_add_unheard(struct buf *out, const json_t *identity)
{
	const json_t *last = NULL;
	size_t i, count = 0;
	json_t *member;

	json_array_foreach(json_object_get(identity, "members"), i, member)
		if (!report_bool(member, "self") && report_int(member, "silent_ms", -1) >= 0) {
			last = member;
			count++;
		}
	if (count == 1) {
		buf_add_z(out, "member ");
		report_add_member(out, last, "id");
		buf_add_z(out, " is to be heard first");
	} else if (count > 1) {
		buf_printf(out, "the %zu members that are silent (see below) are to be heard first", count);
	} else {
		buf_add_z(out, "the other members are to be heard first");
	}
}

/* Is what the store said last so old that it says little of the present? */
static bool
identity_is_old(const json_t *identity)
{
	return report_int(identity, "heard_ago_ms", -1) > IDENTITY_OLD_MS;
}

/* What the state of a bucket that grants nothing means. */
static const struct { const char *state, *meaning; } meanings[] = {
	{ "settling", "the bucket is new to the store and waits for the members to come" },
	{ "unknown", "this instance or another has restarted: what it had taken must come back first" },
	{ "paused", "the upstream has answered 429 and wants a pause" },
	{ "strange", "this instance tells the store anew what it knows" },
	{ "crowded", "the store knows as many members as it can, and this instance is none of them" },
	{ "left", "this instance has said good-bye to the fleet and ends" },
};

/* Why nothing is granted while the store is away. */
static void
identity_add_away(struct buf *out, const json_t *identity, const json_t *store)
{
	buf_add_z(out, "the store is away, requests wait");
	if (!report_is(store, "on_failure", "share"))
		buf_add_z(out, ", as store.on_failure has it");
	else if (report_int(identity, "opens_in_ms", -1) >= 0)
		buf_printf(out, " until the share of %" PRId64 " may be spent here", report_int(identity, "share", 0));
	else
		buf_add_z(out, "; this instance has no share that it could spend alone");
}

/* Why nothing is granted, and for how long. */
static void
identity_add_why(struct buf *out, const json_t *identity, const json_t *store)
{
	int64_t opens_in_ms = report_int(identity, "opens_in_ms", -1);

	if (report_is(identity, "state", "store_away"))
		identity_add_away(out, identity, store);
	if (report_is(identity, "state", "unheard"))
		identity_add_unheard(out, identity);
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (report_is(identity, "state", meanings[i].state))
			buf_add_z(out, meanings[i].meaning);
	if (opens_in_ms < 0)
		return;
	buf_add_z(out, "; at most ");
	report_add_ms(out, opens_in_ms);
	buf_add_z(out, " more");
}

/* Are all tokens out, or kept back? Then less than one a window comes. */
static bool
identity_is_spent(const json_t *identity)
{
	double window_s = (double)report_int(report_get(identity, "quota"), "window_ms", 0) / 1000;

	return (double)report_int(identity, "out", 0) + (double)report_int(identity, "reserved", 0)
		>= (double)report_int(identity, "limit", INT64_MAX)
	    && json_number_value(report_get(identity, "rate_per_s")) * window_s < 1.5;
}

/* Whether tokens are granted. */
static void
identity_granting(struct buf *out, const json_t *identity, const json_t *store)
{
	buf_printf(out, "  %-9s  ", "granting");
	if (!report_is(identity, "state", "open")) {
		buf_add_z(out, "NOTHING: ");
		identity_add_why(out, identity, store);
		buf_add_char(out, '\n');
		return;
	}
	if (identity_is_spent(identity))
		buf_add_z(out, "NOTHING for now: all tokens are out, or kept back");
	else
		buf_printf(out, "%.2f a second", json_number_value(report_get(identity, "rate_per_s")));
	if (report_bool(identity, "alone"))
		buf_add_z(out, ", ALONE: the store is away, this instance spends its share");
	else if (report_is(store, "kind", "redis") && !identity_is_spent(identity))
		buf_add_z(out, " to the whole fleet");
	if (report_int(identity, "next_turn_ms", -1) >= 0) {
		buf_add_z(out, ", the next here in ");
		report_add_ms(out, report_int(identity, "next_turn_ms", 0));
	}
	buf_add_char(out, '\n');
}

/* The level. */
static void
identity_tokens(struct buf *out, const json_t *identity)
{
	int64_t heard_ago_ms = report_int(identity, "heard_ago_ms", -1), reserved = report_int(identity, "reserved", 0);
	int64_t ahead = report_int(identity, "ahead", 0);

	buf_printf(out, "  %-9s  ", "tokens");
	if (heard_ago_ms < 0) {
		buf_add_z(out, "not known, the store has not answered yet\n");
		return;
	}
	buf_printf(out, "%" PRId64 " of %" PRId64 " out (%" PRId64 " taken by this instance), %" PRId64 " free that nobody wants",
	    report_int(identity, "out", 0), report_int(identity, "limit", 0), report_int(identity, "taken_here", 0),
	    report_int(identity, "left", 0));
	if (ahead > 0)
		buf_printf(out, ", %" PRId64 " in hand here for who comes next", ahead);
	if (reserved > 0)
		buf_printf(out, ", %" PRId64 " kept for silent members", reserved);
	if (identity_is_old(identity) && !report_bool(identity, "alone")) {
		buf_add_z(out, "; as of ");
		report_add_ms(out, heard_ago_ms);
		buf_add_z(out, " ago");
	}
	buf_add_char(out, '\n');
}

/* How far the limit is below what is stated. */
static void
identity_eased(struct buf *out, const json_t *identity)
{
	int64_t limit = report_int(identity, "limit", 0), stated = report_int(report_get(identity, "quota"), "requests", 0);

	if (limit >= stated || stated <= 0 || report_bool(identity, "alone"))
		return;
	buf_printf(out, "  %-9s  %" PRId64 " instead of %" PRId64 " (%.0f %%): lowered after 429s of the upstream, or another "
	    "instance states less\n", "limit", limit, stated, 100 * (double)limit / (double)stated);
}

/* Which own limits hold a lane; false where none does. */
static bool
lane_add_limits(struct buf *rows, const json_t *lane)
{
	const char *before = "";
	size_t i;
	json_t *limit;

	json_array_foreach(json_object_get(lane, "limits"), i, limit) {
		if (!report_bool(limit, "holds"))
			continue;
		buf_add_z(rows, before);
		before = ", ";
		if (report_is(limit, "kind", "rule")) {
			buf_add_z(rows, "rule ");
			report_add_member(rows, limit, "name");
			buf_add_z(rows, ": ");
		} else {
			buf_add_z(rows, "the caller's own rate: ");
		}
		report_add_rate(rows, limit);
	}
	return *before != '\0';
}

/* The rules that a lane is counted on: they tell lanes of one caller apart. */
static void
lane_add_rules(struct buf *rows, const json_t *lane)
{
	const char *before = "";
	size_t i;
	json_t *limit;

	json_array_foreach(json_object_get(lane, "limits"), i, limit)
		if (report_is(limit, "kind", "rule")) {
			buf_add_z(rows, before);
			report_add_member(rows, limit, "name");
			before = ",";
		}
	buf_add_z(rows, *before ? "" : "-");
}

/* Append a row for a lane. */
static void
identity_lane(struct buf *rows, const json_t *lane, bool open)
{
	int64_t ready = report_int(lane, "ready", 0), making_ready = report_int(lane, "making_ready", 0);

	report_add_member(rows, lane, "caller");
	buf_add_char(rows, '\t');
	lane_add_rules(rows, lane);
	buf_printf(rows, "\t%" PRId64 "\t%" PRId64 "\t", report_int(lane, "waiting", 0), ready);
	report_add_ms(rows, report_int(lane, "oldest_ms", 0));
	buf_add_char(rows, '\t');
	if (!open)
		buf_add_z(rows, "(nothing is granted)");
	else if (!lane_add_limits(rows, lane))
		buf_add_z(rows, ready == 0 && making_ready > 0 ? "connection to the upstream or journal" : "its turn");
	buf_add_char(rows, '\n');
}

/* Who waits. */
static void
identity_queue(struct buf *out, const json_t *identity)
{
	const json_t *queue = json_object_get(identity, "queue");
	bool open = report_is(identity, "state", "open");
	struct buf rows = BUF_EMPTY;
	size_t i;
	json_t *lane;

	buf_printf(out, "  %-9s  %" PRId64 " here, at most %" PRId64, "waiting", report_int(queue, "waiting", 0),
	    report_int(queue, "capacity", 0));
	if (report_int(queue, "waiting", 0) > 0) {
		buf_printf(out, "; %" PRId64 " ready to be sent, the oldest waits for ", report_int(queue, "ready", 0));
		report_add_ms(out, report_int(queue, "oldest_ms", 0));
		buf_add_z(&rows, "caller\trules\twaiting\tready\toldest\twaits for\n");
	}
	buf_add_char(out, '\n');
	json_array_foreach(json_object_get(queue, "lanes"), i, lane)
		identity_lane(&rows, lane, open);
	if (rows.n)
		buf_add_char(out, '\n');
	report_table(out, buf_str(&rows), "llrrrl");
	if (report_int(queue, "more_lanes", 0) > 0)
		buf_printf(out, "  and %" PRId64 " more, in which %" PRId64 " wait\n", report_int(queue, "more_lanes", 0),
		    report_int(queue, "more_waiting", 0));
	buf_fini(&rows);
}

/* Append a row for a member. */
static void
identity_member(struct buf *rows, const json_t *member, bool old)
{
	int64_t silent_ms = report_int(member, "silent_ms", -1), share = report_int(member, "share", -1);

	report_add_member(rows, member, "id");
	if (share >= 0)
		buf_printf(rows, "\t%" PRId64 "\t", share);
	else
		buf_add_z(rows, "\t-\t");
	if (report_bool(member, "self")) {
		buf_add_z(rows, "this instance");
	} else if (silent_ms < 0) {
		buf_add_z(rows, old ? "was heard, when the store answered last" : "heard");
	} else {
		buf_add_z(rows, "SILENT for ");
		report_add_ms(rows, silent_ms);
		buf_add_z(rows, ": its share is kept back for ");
		report_add_ms(rows, report_int(member, "kept_ms", 0));
		buf_add_z(rows, " more");
	}
	buf_add_char(rows, '\n');
}

/* The members of the fleet; none on a store of its own. */
static void
identity_members(struct buf *out, const json_t *identity)
{
	const json_t *members = json_object_get(identity, "members");
	struct buf rows = BUF_EMPTY;
	size_t i;
	json_t *member;

	if (json_array_size(members) == 0)
		return;
	buf_add_z(&rows, "member\tshare\tof the fleet\n");
	json_array_foreach(members, i, member)
		identity_member(&rows, member, identity_is_old(identity));
	buf_add_char(out, '\n');
	report_table(out, buf_str(&rows), "lrl");
	buf_fini(&rows);
}

void
report_identity(struct buf *out, const struct json_t *identity, const struct json_t *store)
{
	const json_t *quota = json_object_get(identity, "quota");

	buf_add_z(out, "\nidentity ");
	report_add_member(out, identity, "name");
	buf_add_z(out, ": ");
	report_add_rate(out, quota);
	buf_printf(out, ", %" PRId64 " of them at once\n", report_int(quota, "burst", 0));
	identity_granting(out, identity, store);
	identity_tokens(out, identity);
	identity_eased(out, identity);
	identity_queue(out, identity);
	identity_members(out, identity);
}
