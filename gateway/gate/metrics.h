/*
 * Metrics of the instance as text: OpenMetrics 1.0, or the same families in the classic format 0.0.4 for who accepts only
 * text/plain (promtool reads nothing else). They differ in the names of counters' families alone; both end in # EOF.
 */
#ifndef JOBGATE_GATE_METRICS_H
#define JOBGATE_GATE_METRICS_H

#include "gate/undelivered.h"
#include "gate/worker.h"

struct metrics_source {
	struct worker **workers;
	size_t worker_count;
	const struct config *config;
	const struct stats_labels *labels;
	const struct limiter *limiter;
	const struct polls *polls;
	const struct claims *claims;
	struct undelivered *undelivered;
	const struct journal *journal;
	size_t resolutions;		/* unknown outcomes that are being looked for now */
	bool head_not_shown;
};

/* Append everything. Main's thread; reads only atomics. */
void metrics_write(struct buf *out, const struct metrics_source *source, bool open_metrics);

#endif
