/* Counters of one instance. */
#include "gate/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const int codes[STATS_CODE_SLOTS] = { 0, 200, 201, 202, 204, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404,
	405, 406, 408, 409, 410, 412, 413, 414, 415, 417, 422, 424, 428, 429, 431, 499, 500, 501, 502, 503, 504, 505, 507,
	511 };

struct stats *
stats_new(void)
{
	struct stats *stats = calloc(1, sizeof(*stats));

	check(stats != NULL);
	return stats;
}

void
stats_free(struct stats **stats)
{
	free(*stats);
	*stats = NULL;
}

/* The slot of a caller by its name and identity, a new one where there is room. */
static size_t
stats_label_slot(struct stats_labels *labels, struct str caller, struct str identity)
{
	size_t i;

	for (i = 0; i < labels->count; i++)
		if (str_eq(str_from(labels->names[i].caller), caller) && str_eq(str_from(labels->names[i].identity), identity))
			return i;
	if (labels->count == STATS_CALLERS_MAX)
		return STATS_CALLER_OTHER;
	labels->names[i].caller = strndup(caller.p, caller.n);
	labels->names[i].identity = strndup(identity.p, identity.n);
	check(labels->names[i].caller && labels->names[i].identity);
	labels->count++;
	return i;
}

void
stats_label(struct stats_labels *labels, struct config *config)
{
	for (size_t i = 0; i < config->caller_count; i++) {
		struct config_caller *caller = &config->callers[i];

		caller->label = stats_label_slot(labels, caller->name, config->identities[caller->identity].name);
	}
}

void
stats_labels_fini(struct stats_labels *labels)
{
	for (size_t i = 0; i < labels->count; i++) {
		free(labels->names[i].caller);
		free(labels->names[i].identity);
	}
}

size_t
stats_caller_slot(const struct config_caller *caller)
{
	if (caller == NULL)
		return STATS_CALLER_UNKNOWN;
	return caller->label;
}

size_t
stats_identity_slot(size_t identity)
{
	return identity < STATS_IDENTITY_SLOTS ? identity : STATS_IDENTITY_SLOTS - 1;
}

size_t
stats_code_slot(int status)
{
	for (size_t i = 0; i < STATS_CODE_SLOTS; i++)
		if (codes[i] == status)
			return i;
	for (size_t i = 0; i < STATS_CODE_SLOTS; i++)	/* hardly ever */
		if (codes[i] / 100 == status / 100)
			return i;
	return 0;
}

int
stats_code_at(size_t slot)
{
	return codes[slot];
}

void
stats_observe(struct stats_histogram *histogram, int64_t us)
{
	size_t bucket = 0;

	while (bucket < STATS_BUCKETS - 1 && us > ((int64_t)1000 << bucket))
		bucket++;
	stats_add(&histogram->buckets[bucket], 1);
	stats_add(&histogram->sum_us, us > 0 ? (uint64_t)us : 0);
}
