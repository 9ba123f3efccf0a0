/* Metrics of the instance as text. */
#include "gate/metrics.h"

#include <stdio.h>

#include "base/log.h"
#include "gate/stats.h"

struct metrics {
	struct buf *out;
	const struct metrics_source *source;
	bool open;
	struct stats *sum;	/* of all workers */
};

/* Add up an array of counters. */
static void
metrics_sum(struct stats *sum, const struct stats *one)
{
	atomic_uint_fast64_t *to = (atomic_uint_fast64_t *)sum;
	const atomic_uint_fast64_t *from = (const atomic_uint_fast64_t *)one;

	_Static_assert(sizeof(struct stats) % sizeof(atomic_uint_fast64_t) == 0, "struct stats is counters only");
	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++) {
		uint64_t n = atomic_load_explicit(&from[i], memory_order_relaxed);

		if (n)
			stats_add(&to[i], n);
	}
}

/* Begin a family: NAME without the suffix that counters' samples carry. */
static void
metrics_family(struct metrics *m, const char *name, const char *type, const char *help)
{
	const char *suffix = !m->open && str_eq(str_from(type), STR("counter")) ? "_total" : "";

	if (!m->open && str_eq(str_from(type), STR("info"))) {
		type = "gauge";
		suffix = "_info";
	}
	buf_printf(m->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
}

/* Append a label's value, escaped as both formats want it. */
static void
metrics_escape(struct buf *out, struct str value)
{
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '\n') {
			buf_add(out, STR("\\n"));
			continue;
		}
		if (value.p[i] == '"' || value.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, value.p[i]);
	}
}

struct metrics_label { const char *name; struct str value; };

/* Append one sample; the list of labels ends with a NULL name. */
static void
metrics_sample(struct metrics *m, const char *name, const struct metrics_label *labels, double value)
{
	buf_add_z(m->out, name);
	for (size_t i = 0; labels && labels[i].name; i++) {
		buf_printf(m->out, "%c%s=\"", i ? ',' : '{', labels[i].name);
		metrics_escape(m->out, labels[i].value);
		buf_add_char(m->out, '"');
	}
	if (labels && labels[0].name)
		buf_add_char(m->out, '}');
	buf_printf(m->out, " %.17g\n", value);
}

#define LABELS(...) (const struct metrics_label[]){ __VA_ARGS__, { NULL, { 0, 0 } } }

/* The name of a caller's slot. */
static struct str
metrics_caller(const struct metrics *m, size_t slot)
{
	if (slot == STATS_CALLER_OTHER)
		return STR("other");
	return slot == STATS_CALLER_UNKNOWN ? STR("unknown") : str_from(m->source->labels->names[slot].caller);
}

/* The identity of a caller's slot; `other` and `unknown` have none. */
static struct str
metrics_caller_identity(const struct metrics *m, size_t slot)
{
	return slot >= STATS_CALLERS_MAX ? STR("") : str_from(m->source->labels->names[slot].identity);
}

/* The text of a status; 000 where the caller had gone. */
static struct str
metrics_code(size_t slot, char text[8])
{
	int n = snprintf(text, 8, "%03d", stats_code_at(slot));

	return (struct str){ text, (size_t)n };
}

/* What a refusal is called: its own code, or the more telling one of its detail. */
static struct str
metrics_refusal(enum refusal refusal)
{
	struct str detail = refusal_detail_code(refusal);

	return detail.p ? detail : refusal_code(refusal);
}

/* Append a histogram with what LABEL says. */
static void
metrics_histogram(struct metrics *m, const char *name, struct metrics_label label, const struct stats_histogram *h)
{
	char series[96], bound[32];
	uint64_t count = 0;

	for (size_t i = 0; i < STATS_BUCKETS; i++) {
		struct metrics_label labels[3] = { label };
		size_t n = label.name ? 1 : 0;

		count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
		snprintf(bound, sizeof(bound), "%g", (double)(1u << i) / 1000);
		labels[n].name = "le";
		labels[n].value = i == STATS_BUCKETS - 1 ? STR("+Inf") : str_from(bound);
		labels[n + 1].name = NULL;
		snprintf(series, sizeof(series), "%s_bucket", name);
		metrics_sample(m, series, labels, (double)count);
	}
	snprintf(series, sizeof(series), "%s_sum", name);
	metrics_sample(m, series, LABELS(label), (double)atomic_load(&h->sum_us) / CLOCK_SECOND);
	snprintf(series, sizeof(series), "%s_count", name);
	metrics_sample(m, series, LABELS(label), (double)count);
}

/* Requests by caller, identity, operation and code. */
static void
metrics_requests(struct metrics *m)
{
	char text[8];

	metrics_family(m, "jobgate_requests", "counter", "Requests answered, by the status the caller got (000: it had gone).");
	for (size_t c = 0; c < STATS_CALLER_SLOTS; c++)
		for (size_t op = 0; op < OPERATION_COUNT; op++)
			for (size_t code = 0; code < STATS_CODE_SLOTS; code++) {
				uint64_t n = atomic_load(&m->sum->requests[c][op][code]);

				if (n)
					metrics_sample(m, "jobgate_requests_total", LABELS({ "caller", metrics_caller(m, c) },
					    { "identity", metrics_caller_identity(m, c) },
					    { "operation", operation_name((enum operation)op) },
					    { "code", metrics_code(code, text) }), (double)n);
			}
	metrics_family(m, "jobgate_request_duration_seconds", "histogram", "From the head's arrival to the answer.");
	for (size_t op = 0; op < OPERATION_COUNT; op++)
		metrics_histogram(m, "jobgate_request_duration_seconds",
		    (struct metrics_label){ "operation", operation_name((enum operation)op) }, &m->sum->duration[op]);
	metrics_family(m, "jobgate_refusals", "counter", "Requests refused by the gateway.");
	for (size_t c = 0; c < STATS_CALLER_SLOTS; c++)
		for (size_t r = 1; r < REFUSAL_COUNT; r++) {
			uint64_t n = atomic_load(&m->sum->refusals[c][r]);

			if (n)
				metrics_sample(m, "jobgate_refusals_total", LABELS({ "caller", metrics_caller(m, c) },
				    { "error_code", metrics_refusal((enum refusal)r) }), (double)n);
		}
}

/* Who was not let in, by the reason that only we are told. */
static void
metrics_strangers(struct metrics *m)
{
	metrics_family(m, "jobgate_authentication_failures", "counter", "Requests that were not authenticated, by the reason.");
	for (size_t i = CREDENTIAL_GOOD + 1; i < CREDENTIAL_FAILURES; i++)
		metrics_sample(m, "jobgate_authentication_failures_total",
		    LABELS({ "reason", credential_failure_name((enum credential_failure)i) }),
		    (double)atomic_load(&m->sum->unauthenticated[i]));
}

/* What belongs to an identity. */
static void
metrics_identities(struct metrics *m)
{
	const struct config *config = m->source->config;
	size_t count = config->identity_count < STATS_IDENTITY_SLOTS ? config->identity_count : STATS_IDENTITY_SLOTS;

	metrics_family(m, "jobgate_wait_seconds", "histogram", "Time that requests waited for a token.");
	for (size_t i = 0; i < count; i++)
		metrics_histogram(m, "jobgate_wait_seconds",
		    (struct metrics_label){ "identity", config->identities[i].name }, &m->sum->wait[i]);
	metrics_family(m, "jobgate_queue_requests", "gauge", "Requests waiting now.");
	for (size_t i = 0; i < config->identity_count; i++)
		metrics_sample(m, "jobgate_queue_requests", LABELS({ "identity", config->identities[i].name }),
		    (double)limiter_identity_counts(m->source->limiter, i).queued);
	metrics_family(m, "jobgate_quota_limit", "gauge", "Calls per window that the configuration states, less outside.");
	for (size_t i = 0; i < config->identity_count; i++)
		metrics_sample(m, "jobgate_quota_limit", LABELS({ "identity", config->identities[i].name }),
		    (double)limiter_identity_counts(m->source->limiter, i).limit);
	metrics_family(m, "jobgate_grants", "counter", "Tokens granted to this instance.");
	for (size_t i = 0; i < config->identity_count; i++)
		metrics_sample(m, "jobgate_grants_total", LABELS({ "identity", config->identities[i].name }),
		    (double)limiter_identity_counts(m->source->limiter, i).grants);
}

/* What the upstream answered. */
static void
metrics_upstream(struct metrics *m)
{
	const struct config *config = m->source->config;
	char text[8];

	metrics_family(m, "jobgate_upstream_responses", "counter", "Whole responses of the upstream.");
	for (size_t i = 0; i < STATS_IDENTITY_SLOTS && i < config->identity_count; i++)
		for (size_t code = 0; code < STATS_CODE_SLOTS; code++) {
			uint64_t n = atomic_load(&m->sum->upstream[i][code]);

			if (n)
				metrics_sample(m, "jobgate_upstream_responses_total",
				    LABELS({ "identity", config->identities[i].name }, { "code", metrics_code(code, text) }),
				    (double)n);
		}
	metrics_family(m, "jobgate_upstream_request_duration_seconds", "histogram", "From the first byte sent to the end.");
	metrics_histogram(m, "jobgate_upstream_request_duration_seconds", (struct metrics_label){ NULL, { 0, 0 } },
	    &m->sum->upstream_duration);
	metrics_family(m, "jobgate_outcomes", "counter", "Triggers by their result.");
	for (size_t r = 0; r < RESULT_COUNT; r++)
		metrics_sample(m, "jobgate_outcomes_total", LABELS({ "result", record_result_name((enum record_result)r) }),
		    (double)atomic_load(&m->sum->outcomes[r]));
}

/* What became of looking for runs of unknown outcome. */
static void
metrics_resolutions(struct metrics *m)
{
	metrics_family(m, "jobgate_resolutions", "counter", "Unknown outcomes that were looked for, by what came of it.");
	for (size_t why = 0; why < RESOLVE_WHY_COUNT; why++)
		metrics_sample(m, "jobgate_resolutions_total", LABELS({ "why", resolve_why_name((enum resolve_why)why) }),
		    (double)atomic_load(&m->sum->resolutions[why]));
	metrics_family(m, "jobgate_resolutions_waiting", "gauge", "Unknown outcomes that are being looked for.");
	metrics_sample(m, "jobgate_resolutions_waiting", NULL, (double)m->source->resolutions);
}

/* What was answered by what is kept. */
static void
metrics_polls(struct metrics *m)
{
	struct polls_counts counts = polls_counts(m->source->polls);

	metrics_family(m, "jobgate_polls", "counter", "Polls by where their answers came from.");
	for (size_t how = POLLS_NONE + 1; how < POLLS_HOW_COUNT; how++)
		metrics_sample(m, "jobgate_polls_total", LABELS({ "cache", str_from(polls_how_name((enum polls_how)how)) }),
		    (double)atomic_load(&m->sum->polls[how]));
	metrics_family(m, "jobgate_polls_kept", "gauge", "Answers to polls that are kept.");
	metrics_sample(m, "jobgate_polls_kept", NULL, (double)counts.answers);
	metrics_family(m, "jobgate_polls_waiting", "gauge", "Polls that wait for an answer, a call or a change now.");
	metrics_sample(m, "jobgate_polls_waiting", NULL, (double)counts.waiting);
	metrics_family(m, "jobgate_polls_shared", "gauge", "Whether kept answers are shared with other instances.");
	metrics_sample(m, "jobgate_polls_shared", NULL, counts.shared);
	metrics_family(m, "jobgate_polls_kept_bytes", "gauge", "Memory of the answers that are kept.");
	metrics_sample(m, "jobgate_polls_kept_bytes", NULL, (double)counts.bytes);
}

/* The store and the journal. */
static void
metrics_stores(struct metrics *m)
{
	static const char *const kinds[JOURNAL_KIND_COUNT] = { "intent", "outcome", "refusal", "event", "anchor" };
	struct limiter_counts store = limiter_counts(m->source->limiter);
	struct journal_counts journal = journal_counts(m->source->journal);

	metrics_family(m, "jobgate_store_up", "gauge", "Whether the quota's store answers.");
	metrics_sample(m, "jobgate_store_up", NULL, store.store_up);
	metrics_family(m, "jobgate_store_commands", "counter", "Commands sent to the store.");
	metrics_sample(m, "jobgate_store_commands_total", LABELS({ "result", STR("ok") }), (double)store.commands_ok);
	metrics_sample(m, "jobgate_store_commands_total", LABELS({ "result", STR("failed") }), (double)store.commands_failed);
	metrics_family(m, "jobgate_audit_records", "counter", "Records written to the journal.");
	for (size_t i = 0; i < JOURNAL_KIND_COUNT; i++)
		metrics_sample(m, "jobgate_audit_records_total", LABELS({ "kind", str_from(kinds[i]) }),
		    (double)journal.records[i]);
	metrics_family(m, "jobgate_audit_up", "gauge", "Whether the journal can be written.");
	metrics_sample(m, "jobgate_audit_up", NULL, journal_is_up(m->source->journal));
	metrics_family(m, "jobgate_audit_free_bytes", "gauge",
	    "Free space where the journal is; -1 where it is not told.");
	metrics_sample(m, "jobgate_audit_free_bytes", NULL, (double)journal_free_bytes(m->source->journal));
	metrics_family(m, "jobgate_audit_retention_up", "gauge", "Whether nothing keeps audit.retention from deleting.");
	metrics_sample(m, "jobgate_audit_retention_up", NULL, !journal_retention_is_ill(m->source->journal));
	metrics_family(m, "jobgate_audit_anchors_up", "gauge", "Whether the journal's head was shown to the fleet when it last should have been.");
	metrics_sample(m, "jobgate_audit_anchors_up", NULL, !m->source->head_not_shown);
}

/* Idempotency-Keys, and answers that nobody received. */
static void
metrics_claims(struct metrics *m)
{
	struct claims_counts counts = claims_counts(m->source->claims);
	struct undelivered_counts lost = undelivered_counts(m->source->undelivered);

	metrics_family(m, "jobgate_idempotency_claims", "counter", "Requests with an Idempotency-Key, by what was known of it.");
	for (size_t i = 0; i < CLAIMS_VERDICT_COUNT; i++)
		metrics_sample(m, "jobgate_idempotency_claims_total",
		    LABELS({ "result", claims_verdict_name((enum claims_verdict)i) }), (double)counts.verdicts[i]);
	metrics_family(m, "jobgate_idempotency_untold", "counter", "Ends that the store of keys was not told of; they count as unknown.");
	metrics_sample(m, "jobgate_idempotency_untold_total", NULL, (double)counts.untold);
	metrics_family(m, "jobgate_idempotency_keys", "gauge", "Keys in the embedded store.");
	metrics_sample(m, "jobgate_idempotency_keys", NULL, (double)counts.held);
	metrics_family(m, "jobgate_idempotency_bytes", "gauge", "What the embedded store takes for keys.");
	metrics_sample(m, "jobgate_idempotency_bytes", NULL, (double)counts.bytes);
	metrics_family(m, "jobgate_idempotency_undelivered", "counter", "Answers to runs that nobody received, and later runs that got them.");
	metrics_sample(m, "jobgate_idempotency_undelivered_total", LABELS({ "result", STR("remembered") }), (double)lost.remembered);
	metrics_sample(m, "jobgate_idempotency_undelivered_total", LABELS({ "result", STR("replayed") }), (double)lost.replayed);
	metrics_sample(m, "jobgate_idempotency_undelivered_total", LABELS({ "result", STR("joined") }), (double)lost.joined);
	metrics_sample(m, "jobgate_idempotency_undelivered_total", LABELS({ "result", STR("unknown") }), (double)lost.unknown);
	metrics_family(m, "jobgate_idempotency_store_up", "gauge", "Whether the store of keys answers.");
	metrics_sample(m, "jobgate_idempotency_store_up", NULL, counts.store_up);
}

/* How long the journal's fdatasync takes; its bounds are finer than a request's. */
static void
metrics_sync(struct metrics *m)
{
	struct journal_counts journal = journal_counts(m->source->journal);
	size_t n = sizeof(journal.sync_buckets) / sizeof(journal.sync_buckets[0]);
	uint64_t count = 0;
	char bound[32];

	metrics_family(m, "jobgate_audit_sync_duration_seconds", "histogram", "Time of an fdatasync of the journal.");
	for (size_t i = 0; i < n; i++) {
		count += journal.sync_buckets[i];
		snprintf(bound, sizeof(bound), "%g", 64e-6 * (double)(1u << i));
		metrics_sample(m, "jobgate_audit_sync_duration_seconds_bucket",
		    LABELS({ "le", i == n - 1 ? STR("+Inf") : str_from(bound) }), (double)count);
	}
	metrics_sample(m, "jobgate_audit_sync_duration_seconds_sum", NULL, (double)journal.sync_us_sum / CLOCK_SECOND);
	metrics_sample(m, "jobgate_audit_sync_duration_seconds_count", NULL, (double)count);
}

void
metrics_write(struct buf *out, const struct metrics_source *source, bool open_metrics)
{
	struct metrics m = { out, source, open_metrics, stats_new() };

	for (size_t i = 0; i < source->worker_count; i++)
		metrics_sum(m.sum, source->workers[i]->stats);
	metrics_requests(&m);
	metrics_strangers(&m);
	metrics_identities(&m);
	metrics_upstream(&m);
	metrics_resolutions(&m);
	metrics_polls(&m);
	metrics_stores(&m);
	metrics_sync(&m);
	metrics_claims(&m);
	metrics_family(&m, "jobgate_workers_serving", "gauge", "Workers over which plain connections are spread now.");
	metrics_sample(&m, "jobgate_workers_serving", NULL, (double)spread_active(&source->workers[0]->shared->spread));
	metrics_family(&m, "jobgate_log_dropped", "counter", "Log lines dropped because nobody read them.");
	metrics_sample(&m, "jobgate_log_dropped_total", NULL, (double)log_dropped());
	metrics_family(&m, "jobgate_build", "info", "The version that runs.");
	metrics_sample(&m, "jobgate_build_info", LABELS({ "version", STR(JOBGATE_VERSION) }), 1);
	buf_add_z(out, "# EOF\n");	/* a comment in the classic format */
	stats_free(&m.sum);
}
