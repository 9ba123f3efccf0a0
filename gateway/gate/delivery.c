/* Answers on their way to the client. */
#include "gate/delivery.h"

#include <string.h>

#include "base/check.h"
#include "gate/undelivered.h"
#include "gate/worker.h"
#include "io/front_delivery.h"

#define DELIVERY_MAGIC 0xde11feu
/*
 * Who sends its next request, or goes, is looked at then. Of others the system acknowledges at once, or after 40 ms; another continent's,
 * 300 ms later. Looked at ever less often.
 */
#define DELIVERY_LOOK_US (20 * CLOCK_MS)
#define DELIVERY_LOOK_MAX_US (100 * CLOCK_MS)
/* Deliveries that are kept for the next ones: as many as a crowd has in flight, 80 KB. */
#define DELIVERY_SPARES 256
/* What is not acknowledged by then has a dead network before it. */
#define DELIVERY_GIVE_UP_US (10 * (int64_t)CLOCK_SECOND)

struct delivery {
	unsigned magic;
	LIST_ENTRY(delivery) link;
	struct deliveries *deliveries;
	uint8_t name[CLAIM_DIGEST_BYTES];
	char tag[LOST_TAG_BYTES];
	char id[CLAIM_ID_BYTES];
	struct buf answer;
	int64_t keep_us;
	struct front_watched client;	/* its connection, while it is looked at */
	struct mono_time sent;
	int64_t look_us;
	struct loop_timer timer;
};

static void on_look(void *arg);
static void on_news(void *arg);

void
deliveries_init(struct deliveries *deliveries, struct loop *loop, struct worker_shared *shared)
{
	deliveries->loop = loop;
	deliveries->shared = shared;
	deliveries->answer_memory.count = 0;
	LIST_INIT(&deliveries->list);
	spares_init(&deliveries->spares, sizeof(struct delivery), DELIVERY_SPARES);
}

/* Forget a delivery. */
static void
delivery_free(struct delivery *delivery)
{
	LIST_REMOVE(delivery, link);
	loop_timer_fini(&delivery->timer);
	front_delivery_leave(&delivery->client);
	spare_bufs_give(&delivery->deliveries->answer_memory, &delivery->answer);
	delivery->magic = 0;
	spares_give(&delivery->deliveries->spares, delivery);
}

void
deliveries_fini(struct deliveries *deliveries)
{
	while (!LIST_EMPTY(&deliveries->list))
		delivery_free(LIST_FIRST(&deliveries->list));
	spares_fini(&deliveries->spares);
	spare_bufs_fini(&deliveries->answer_memory);
}

struct delivery *
delivery_new(struct deliveries *deliveries, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES],
    struct buf *answer, int64_t keep_us)
{
	struct delivery *delivery = spares_take(&deliveries->spares);

	delivery->magic = DELIVERY_MAGIC;
	delivery->deliveries = deliveries;
	memcpy(delivery->name, name, sizeof(delivery->name));
	check(tag.n < sizeof(delivery->tag));
	memcpy(delivery->tag, tag.p, tag.n);
	delivery->tag[tag.n] = '\0';
	memcpy(delivery->id, id, sizeof(delivery->id));
	delivery->answer = buf_take(answer);
	delivery->keep_us = keep_us;
	delivery->client = (struct front_watched){ .conn = NULL };
	loop_timer_init(&delivery->timer, deliveries->loop, on_look, delivery);
	LIST_INSERT_HEAD(&deliveries->list, delivery, link);
	return delivery;
}

/* It is known whether the answer has arrived. */
static void
delivery_end(struct delivery *delivery, bool arrived)
{
	struct deliveries *deliveries = delivery->deliveries;

	if (!arrived)
		undelivered_land(deliveries->shared->undelivered, str_from(delivery->tag), delivery->name, delivery->id, LOST_ANSWERED, buf_str(&delivery->answer),
		    delivery->keep_us, loop_now(deliveries->loop));
	delivery_free(delivery);
}

/* The client has sent more, and its system has acknowledged with that what had come; or it has gone. */
static void
on_news(void *arg)
{
	struct delivery *delivery = arg;
	enum front_delivery state;

	check_magic(delivery, DELIVERY_MAGIC);
	state = front_delivery_look(&delivery->client);
	if (state != FRONT_UNDER_WAY)
		delivery_end(delivery, state == FRONT_DELIVERED);
}

/* Say when to look the next time, and ever later; or give up. */
static void
delivery_wait(struct delivery *delivery, struct mono_time now)
{
	if (mono_since(now, delivery->sent) > DELIVERY_GIVE_UP_US) {
		delivery_end(delivery, false);
		return;
	}
	delivery->look_us = delivery->look_us * 2 > DELIVERY_LOOK_MAX_US ? DELIVERY_LOOK_MAX_US : delivery->look_us * 2;
	loop_timer_at(&delivery->timer, mono_add(now, delivery->look_us));
}

/* Some time has passed, and nothing was heard. */
static void
on_look(void *arg)
{
	struct delivery *delivery = arg;
	enum front_delivery state;

	check_magic(delivery, DELIVERY_MAGIC);
	state = front_delivery_look(&delivery->client);
	if (state == FRONT_UNDER_WAY)
		delivery_wait(delivery, loop_now(delivery->deliveries->loop));
	else
		delivery_end(delivery, state == FRONT_DELIVERED);
}

void
delivery_sent(struct deliveries *deliveries, struct delivery *delivery, struct front_request *client, bool written)
{
	check_magic(delivery, DELIVERY_MAGIC);
	delivery->sent = loop_now(deliveries->loop);
	delivery->look_us = DELIVERY_LOOK_US / 2;
	if (written && front_delivery_watch(client, &delivery->client, on_news, delivery))
		delivery_wait(delivery, delivery->sent);
	else
		delivery_end(delivery, written);	/* without a descriptor nothing more can be told */
}
