/* What `jobgate status` shows of the instance: itself, what it depends on, its identities, the upstream's last 429s. */
#include "rules/report_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "rules/report_private.h"

/* The line to read first: which instance, and whether all is well. */
static void
text_head(struct buf *out, const json_t *status)
{
	const char *word = report_is(status, "status", "ok") ? "OK" : report_is(status, "status", "degraded") ? "DEGRADED"
		: "NOT READY, gets no traffic";
	size_t i;
	json_t *reason;

	buf_add_z(out, "jobgate ");
	report_add_member(out, status, "instance");
	buf_printf(out, ": %s; ", word);
	report_add_member(out, status, "phase");
	buf_add_z(out, ", up for ");
	report_add_ms(out, report_int(status, "uptime_ms", 0));
	buf_add_z(out, ", version ");
	report_add_member(out, status, "version");
	buf_add_z(out, "; ");
	report_add_time(out, status, "time");
	buf_add_char(out, '\n');
	json_array_foreach(json_object_get(status, "reasons"), i, reason) {
		buf_add_z(out, "  ! ");
		report_add(out, json_is_string(reason) ? json_string_value(reason) : "?");
		buf_add_char(out, '\n');
	}
}

/* Up, or what to think of it. */
static void
text_part(struct buf *out, const json_t *part, const char *name, const char *down)
{
	buf_printf(out, "  %-9s  %s", name, report_bool(part, "up") ? "up" : down);
	if (*report_string(part, "url")) {
		buf_add_z(out, ", ");
		report_add_member(out, part, "url");
	}
	buf_add_char(out, '\n');
}

/* The store: since when it is up, or down and why. */
static void
text_store(struct buf *out, const json_t *store)
{
	bool up = report_bool(store, "up");

	buf_printf(out, "  %-9s  ", "store");
	if (!report_is(store, "kind", "redis")) {
		buf_add_z(out, "embedded: the quota is counted for this instance alone\n");
		return;
	}
	buf_add_z(out, up ? "up" : report_bool(store, "tried") ? "DOWN" : "not tried yet");
	buf_add_z(out, " for ");
	report_add_ms(out, report_int(store, "since_ms", 0));
	buf_add_z(out, ", redis ");
	report_add_member(out, store, "address");
	if (*report_string(store, "why")) {
		buf_add_z(out, ": ");
		report_add_member(out, store, "why");
	}
	buf_add_char(out, '\n');
	if (report_bool(store, "evicts"))
		buf_printf(out, "  %-9s  IT MAY EVICT BUCKETS: set its maxmemory-policy to noeviction\n", "");
}

/* One 429 of the upstream. */
static void
text_thrown(struct buf *rows, const json_t *thrown)
{
	report_add_time(rows, thrown, "time");
	buf_add_char(rows, '\t');
	report_add_ms(rows, report_int(thrown, "ago_ms", 0));
	buf_add_char(rows, '\t');
	report_add_member(rows, thrown, "identity");
	buf_add_char(rows, '\t');
	report_add_ms(rows, report_int(thrown, "pause_ms", 0));
	buf_printf(rows, "\t%s\n", report_bool(thrown, "here") ? "this instance" : "another instance");
}

/* The upstream's last 429s. */
static void
text_throttled(struct buf *out, const json_t *throttled)
{
	const json_t *last = json_object_get(throttled, "last");
	struct buf rows = BUF_EMPTY;
	size_t i;
	json_t *thrown;

	if (json_array_size(last) == 0)
		return;
	buf_add_z(out, "\nlast 429s of the upstream\n");
	buf_add_z(&rows, "time\tago\tidentity\tRetry-After\tanswered to\n");
	json_array_foreach(last, i, thrown)
		text_thrown(&rows, thrown);
	report_table(out, buf_str(&rows), "lrlrl");
	buf_fini(&rows);
}

/* Everything, of a status. */
static void
text_write(struct buf *out, const json_t *status, const json_t *limiter)
{
	const json_t *store = json_object_get(limiter, "store"), *throttled = json_object_get(limiter, "throttled");
	size_t i;
	json_t *identity;

	text_head(out, status);
	buf_add_char(out, '\n');
	text_part(out, json_object_get(status, "journal"), "journal", "CANNOT WRITE: triggers are refused");
	text_part(out, json_object_get(status, "upstream"), "upstream", "CANNOT BE REACHED");
	text_store(out, store);
	buf_printf(out, "  %-9s  %" PRId64 " from the upstream to this instance since it runs\n", "429s",
	    report_int(throttled, "here", 0));
	json_array_foreach(json_object_get(limiter, "identities"), i, identity)
		report_identity(out, identity, store);
	text_throttled(out, throttled);
}

bool
report_text(struct str json, struct buf *out)
{
	json_t *status = json_loadb(json.p ? json.p : "", json.n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *limiter = json_object_get(status, "limiter");
	bool ours = report_is(status, "program", "jobgate") && json_is_object(limiter);

	if (ours)
		text_write(out, status, limiter);
	json_decref(status);
	return ours;
}
