/*
 * Deliveries: answers to runs on their way to the client. One that does not arrive is remembered (gate/undelivered) for the next
 * identical run. A worker's own; not for threads.
 *
 *   (lost_delivery) -> the front writes -> sent -> looked at until acknowledged -> freed
 *                            '- not written -------------'- reset, or too late -> remembered, freed
 *
 * It is looked at when the client sends its next request, or goes, and now and then where nothing is heard.
 *
 * A delivery owns its bytes: the request that made it is long gone when the answer arrives.
 */
#ifndef JOBGATE_GATE_DELIVERY_H
#define JOBGATE_GATE_DELIVERY_H

#include <sys/queue.h>

#include "base/buf.h"
#include "base/spare_bufs.h"
#include "base/spares.h"
#include "io/front.h"
#include "rules/claim.h"

struct worker_shared;
struct delivery;

struct deliveries {
	struct loop *loop;
	struct worker_shared *shared;
	LIST_HEAD(, delivery) list;
	struct spares spares;
	struct spare_bufs answer_memory;	/* for ANSWER of the next */
};

void deliveries_init(struct deliveries *deliveries, struct loop *loop, struct worker_shared *shared);
/* What is on its way then counts as delivered. */
void deliveries_fini(struct deliveries *deliveries);

/* ANSWER (taken) is that of request ID to what is named NAME (and TAG), remembered for KEEP_US. It becomes the front request's owner. */
struct delivery *delivery_new(struct deliveries *deliveries, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    struct buf *answer, int64_t keep_us);
/* The front's word; the delivery is the list's from now on. */
void delivery_sent(struct deliveries *deliveries, struct delivery *delivery, struct front_request *client, bool written);

#endif
