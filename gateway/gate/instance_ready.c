/* Readiness: whether this instance should get traffic, and what is ill, in words. */
#include "gate/instance_private.h"

bool
instance_is_ready(void *arg)
{
	struct instance *instance = arg;

	return atomic_load(&instance->open) && !atomic_load(&instance->draining) && journal_is_up(instance->journal);
}

/* Append a reason. */
static void
ready_reason(struct buf *reasons, const char *text)
{
	buf_printf(reasons, "%s\"%s\"", reasons->n ? "," : "", text);
}

/* What is the matter with the quota of any identity; each is said once, however many have it. */
static void
ready_identities(const struct instance *instance, struct buf *reasons)
{
	bool paused = false, settling = false, alone = false;

	for (size_t i = 0; i < instance->config->identity_count; i++) {
		struct limiter_identity_counts counts = limiter_identity_counts(instance->limiter, i);

		paused = paused || counts.paused;
		settling = settling || counts.settling;
		alone = alone || counts.alone;
	}
	if (alone)
		ready_reason(reasons, "the quota's store is away; this instance spends its share");
	if (settling)
		ready_reason(reasons, "the quota waits for the fleet's members to be heard, or for what they took to come back");
	if (paused)
		ready_reason(reasons, "the upstream throttles an identity");
}

/* What is the matter with the quota. */
static void
ready_limiter(const struct instance *instance, struct buf *reasons)
{
	struct limiter_counts counts = limiter_counts(instance->limiter);

	if (!counts.store_up)
		ready_reason(reasons, "the quota's store does not answer");
	ready_identities(instance, reasons);
	if (counts.store_evicts)
		ready_reason(reasons, "the quota's store may evict buckets (its maxmemory-policy is not noeviction)");
}

int
instance_readiness(void *arg, struct buf *reasons)
{
	struct instance *instance = arg;

	if (!atomic_load(&instance->open))
		ready_reason(reasons, "starting");
	if (atomic_load(&instance->draining))
		ready_reason(reasons, "draining");
	if (!journal_is_up(instance->journal))
		ready_reason(reasons, "the audit journal cannot be written");
	if (instance->audit && audit_space_is_low(instance->audit))
		ready_reason(reasons, "the audit journal's file system has little space left (audit.warn_free)");
	if (journal_retention_is_ill(instance->journal))
		ready_reason(reasons, "audit.retention deletes nothing (the log says why)");
	if (instance->limiter)
		ready_limiter(instance, reasons);
	if (instance->issuers && issuers_are_ill(instance->issuers))
		ready_reason(reasons, "an issuer's keys cannot be had; the last good ones, if any, are in use");
	if (condition_is_ill(&instance->upstream))
		ready_reason(reasons, "the upstream cannot be reached");
	if (access_tokens_are_ill(instance->access))
		ready_reason(reasons, "the credential of an identity gets no token");
	return instance_is_ready(instance) ? 200 : 503;
}
