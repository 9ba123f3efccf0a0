/*
 * Counters of one instance: each worker has its own block of relaxed atomics, readers add them up. No locks, any thread.
 */
#ifndef JOBGATE_GATE_STATS_H
#define JOBGATE_GATE_STATS_H

#include <stdatomic.h>

#include "gate/polls.h"
#include "rules/config.h"
#include "rules/credential.h"
#include "rules/operation.h"
#include "rules/record.h"
#include "rules/reply.h"

/* Named callers with labels of their own; beyond them `other` (contract); callers without a name are `unknown`. */
#define STATS_CALLERS_MAX 200
#define STATS_CALLER_OTHER STATS_CALLERS_MAX
#define STATS_CALLER_UNKNOWN (STATS_CALLERS_MAX + 1)
#define STATS_CALLER_SLOTS (STATS_CALLERS_MAX + 2)
/* Identities with slots of their own; more share the last one. */
#define STATS_IDENTITY_SLOTS 64
/* Statuses with a slot of their own (stats_code_at); any other is counted in the first of its class. */
#define STATS_CODE_SLOTS 40
/* Histograms: bounds 1 ms doubling to 65.536 s, then +Inf. */
#define STATS_BUCKETS 18

struct stats_histogram {
	atomic_uint_fast64_t buckets[STATS_BUCKETS];	/* not cumulative */
	atomic_uint_fast64_t sum_us;
};

struct stats {
	atomic_uint_fast64_t requests[STATS_CALLER_SLOTS][OPERATION_COUNT][STATS_CODE_SLOTS];
	atomic_uint_fast64_t refusals[STATS_CALLER_SLOTS][REFUSAL_COUNT];
	atomic_uint_fast64_t unauthenticated[CREDENTIAL_FAILURES];
	atomic_uint_fast64_t upstream[STATS_IDENTITY_SLOTS][STATS_CODE_SLOTS];
	atomic_uint_fast64_t outcomes[RESULT_COUNT];
	atomic_uint_fast64_t resolutions[RESOLVE_WHY_COUNT];
	atomic_uint_fast64_t polls[POLLS_HOW_COUNT];
	struct stats_histogram duration[OPERATION_COUNT];
	struct stats_histogram wait[STATS_IDENTITY_SLOTS];
	struct stats_histogram upstream_duration;
};

/* Zeroed; pages that are never counted in cost nothing. */
struct stats *stats_new(void);
void stats_free(struct stats **stats);

static inline void
stats_add(atomic_uint_fast64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/*
 * Which caller a slot belongs to, for the life of the process: a reload may reorder callers, counters stay with their names.
 * Main's thread alone.
 */
struct stats_labels {
	struct { char *caller, *identity; } names[STATS_CALLERS_MAX];	/* owned */
	size_t count;
};

/* Give each caller of CONFIG its slot, before the snapshot is shared. */
void stats_label(struct stats_labels *labels, struct config *config);
void stats_labels_fini(struct stats_labels *labels);

/* The slot of a caller (NULL: unknown), an identity, a status. */
size_t stats_caller_slot(const struct config_caller *caller);
size_t stats_identity_slot(size_t identity);
size_t stats_code_slot(int status);
/* The status of a slot; 0 is "the caller had gone". */
int stats_code_at(size_t slot);

void stats_observe(struct stats_histogram *histogram, int64_t us);

#endif
