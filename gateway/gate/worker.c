/* A worker: its loop, its front's hooks, its requests by slot, and the mail it gets. */
#include "gate/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/steps.h"
#include "gate/undelivered.h"

/* A client that takes its answer slower than this holds memory for nothing. */
#define WORKER_WRITE_TIMEOUT_US (30 * (int64_t)CLOCK_SECOND)
/* How often a draining worker looks whether its last answer has gone out. */
#define WORKER_DRAIN_LOOK_US (20 * CLOCK_MS)
#define WORKER_TARGET_BYTES 8192
/* Memory of so many requests is kept for the next ones, as many as a crowd has in flight: 1.6 MB. */
#define WORKER_SPARES 256

/* Run the requests that callbacks have made ready. */
static void
on_ready(void *arg)
{
	struct worker *worker = arg;

	while (worker->ready) {
		struct request *request = worker->ready;

		worker->ready = request->ready_next;
		if (worker->ready == NULL)
			worker->ready_tail = &worker->ready;
		request->ready_queued = false;
		request_run(request);
	}
}

void
worker_make_ready(struct worker *worker, struct request *request)
{
	if (request->ready_queued)
		return;
	request->ready_queued = true;
	request->ready_next = NULL;
	*worker->ready_tail = request;
	worker->ready_tail = &request->ready_next;
	loop_at_turn_end(worker->loop, &worker->ready_hook);
}

void
worker_random(struct worker *worker, uint8_t out[REQUEST_RANDOM_BYTES])
{
	if (worker->random_left == 0) {
		random_bytes(worker->random, sizeof(worker->random));
		worker->random_left = sizeof(worker->random);
	}
	worker->random_left -= REQUEST_RANDOM_BYTES;
	memcpy(out, worker->random + worker->random_left, REQUEST_RANDOM_BYTES);
}

/* --- the front's hooks; they run at the end of a turn, outside libevent's callbacks --- */

/* A head is there: whatever can be refused is refused before the body comes. */
static void
on_request(void *arg, struct front_request *client)
{
	request_run(request_new(arg, client));
}

/* The body is whole. */
static void
on_body(void *arg, struct front_request *client)
{
	struct request *request = front_owner(client);

	(void)arg;
	check_magic(request, REQUEST_MAGIC);
	request->body_came = true;
	request_make_ready(request);
}

/* The client's bytes cannot be trusted or came too slowly. */
static void
on_fault(void *arg, struct front_request *client, enum front_fault fault)
{
	struct request *request = front_owner(client) ? front_owner(client) : request_new(arg, client);

	check_magic(request, REQUEST_MAGIC);
	request->faulted = true;
	request->fault = fault;
	request_make_ready(request);
}

/* The client has gone without its answer. */
static void
on_gone(void *arg, struct front_request *client)
{
	struct request *request = front_owner(client);

	(void)arg;
	if (request == NULL)
		return;
	check_magic(request, REQUEST_MAGIC);
	request->client_gone = true;
	request->client = NULL;
	lost_fly_alone(request);
	request_make_ready(request);
}

/* The answer is in the kernel, or was lost on the way. */
static void
on_sent(void *arg, struct front_request *client, bool delivered)
{
	struct worker *worker = arg;
	struct delivery *delivery = front_owner(client);

	if (delivery)
		delivery_sent(&worker->deliveries, delivery, client, delivered);
	if (!delivered)
		log_line(LOG_DEBUG, "answer not delivered", log_s("peer", front_peer(client)));
}

/* Whether who connects to a listener is one of its trusted proxies. */
static bool
on_is_proxy(void *arg, size_t listener, struct str peer)
{
	const struct worker *worker = arg;
	struct network_address address;
	struct str host;

	return network_parse_hop(peer, &address, &host)
	    && network_any_holds(&worker->config->listen[listener].trusted_proxies, &address);
}

/* The front's limits of a configuration. */
static struct front_limits
worker_limits(const struct config *config)
{
	return (struct front_limits){
		.connections = (size_t)config->limits.connections,
		.head_bytes = (size_t)config->limits.head_bytes,
		.target_bytes = WORKER_TARGET_BYTES,
		.body_bytes = (size_t)config->limits.body_bytes,
		.head_timeout_us = config->limits.head_timeout_us,
		.body_timeout_us = config->limits.body_timeout_us,
		.idle_timeout_us = config->limits.idle_timeout_us,
		.write_timeout_us = WORKER_WRITE_TIMEOUT_US,
	};
}

static void on_drain_look(void *arg);

struct worker *
worker_new(unsigned index, struct worker_shared *shared, struct config *config, struct keyring *keyring, struct str proxy,
    struct tls_client *tls_client, struct tls_server **tls_servers)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	struct front_settings settings = {
		.limits = worker_limits(config),
		.connections = &shared->connections,
		.hooks = { on_request, on_body, on_fault, on_gone, on_sent, on_is_proxy, NULL, NULL },
		.number = index,
		.number_step = shared->worker_count,
	};

	check(worker != NULL);
	worker->index = index;
	worker->shared = shared;
	worker->config = config_ref(config);
	worker->keyring = keyring_ref(keyring);
	worker->known_tokens = caller_token_cache_new();
	worker->loop = loop_new();
	worker->stats = stats_new();
	worker->tls_servers = tls_servers;
	worker->ready_tail = &worker->ready;
	worker->ready_hook = (struct loop_hook){ .fn = on_ready, .arg = worker };
	worker_records_init(worker);
	spares_init(&worker->request_memory, sizeof(struct request), WORKER_SPARES);
	spares_init(&worker->arena_memory, ARENA_SPARE_BYTES, WORKER_SPARES);
	loop_timer_init(&worker->drain_timer, worker->loop, on_drain_look, worker);
	deliveries_init(&worker->deliveries, worker->loop, shared);
	worker->pool = pool_new(worker->loop, shared->resolver, config, tls_client, proxy);
	worker->resolutions = resolutions_new(worker);
	settings.arg = worker;
	if (spread_moves(&shared->spread)) {
		settings.hooks.leaves = worker_leaves;
		settings.hooks.on_leave = worker_on_leave;
	}
	worker->front = front_new(worker->loop, &settings);
	return worker;
}

/* The thread of a worker. */
static void *
worker_thread(void *arg)
{
	struct worker *worker = arg;

	loop_run(worker->loop);
	return NULL;
}

void
worker_start(struct worker *worker)
{
	char name[16];

	check(pthread_create(&worker->thread, NULL, worker_thread, worker) == 0);
	snprintf(name, sizeof(name), "worker %u", worker->index % 1000);
	pthread_setname_np(worker->thread, name);	/* top and perf tell threads apart by it */
	worker->running = true;
}

void
worker_free(struct worker **worker_p)
{
	struct worker *worker = *worker_p;

	if (worker == NULL)
		return;
	*worker_p = NULL;
	check(!worker->running && worker->request_count == 0);
	front_free(&worker->front);
	resolutions_free(&worker->resolutions);
	deliveries_fini(&worker->deliveries);
	pool_free(&worker->pool);
	for (size_t i = 0; worker->tls_servers && i < worker->config->listen_count; i++)
		tls_server_free(&worker->tls_servers[i]);
	free(worker->tls_servers);
	loop_timer_fini(&worker->drain_timer);
	loop_free(&worker->loop);
	stats_free(&worker->stats);
	config_unref(&worker->config);
	worker_drop_access(worker);
	keyring_unref(&worker->keyring);
	caller_token_cache_free(&worker->known_tokens);
	buf_fini(&worker->text);
	free(worker->slots);
	free(worker->free_slots);
	spares_fini(&worker->request_memory);
	spares_fini(&worker->arena_memory);
	free(worker);
}

/* --- slots --- */

/* Double the table of slots. */
static void
worker_grow(struct worker *worker)
{
	size_t count = worker->slot_count ? worker->slot_count * 2 : 64;

	worker->slots = reallocarray(worker->slots, count, sizeof(*worker->slots));
	worker->free_slots = reallocarray(worker->free_slots, count, sizeof(*worker->free_slots));
	check(worker->slots != NULL && worker->free_slots != NULL);
	for (size_t i = count; i-- > worker->slot_count;) {
		worker->slots[i] = NULL;
		worker->free_slots[worker->free_count++] = (uint32_t)i;
	}
	worker->slot_count = count;
}

void
worker_add(struct worker *worker, struct request *request)
{
	if (worker->free_count == 0)
		worker_grow(worker);
	request->ticket.worker = (uint16_t)worker->index;
	request->ticket.slot = worker->free_slots[--worker->free_count];
	request->ticket.generation = ++worker->generation;
	worker->slots[request->ticket.slot] = request;
	worker->request_count++;
}

void
worker_remove(struct worker *worker, struct request *request)
{
	uint32_t slot = request->ticket.slot;

	check(worker->slots[slot] == request && !request->ready_queued);
	worker->slots[slot] = NULL;
	worker->free_slots[worker->free_count++] = slot;
	worker->request_count--;
}

struct limiter_ticket
worker_ticket(struct worker *worker, const struct request *request)
{
	struct limiter_ticket ticket = request->ticket;

	ticket.generation = ++worker->generation;
	return ticket;
}

/* An answer that was taken for one who has gone is lost again. */
static void
worker_lose_again(struct worker *worker, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES], struct str text)
{
	struct lost_text lost;

	if (lost_text_read(text, &lost) && lost.state == LOST_ANSWERED)
		undelivered_land(worker->shared->undelivered, tag, name, lost.first.p, LOST_ANSWERED, lost.answer,
		    worker->config->idempotency.undelivered_us, loop_now(worker->loop));
}

void
worker_on_limiter(struct worker *worker, const struct limiter_event *event)
{
	struct request *request = event->ticket.slot < worker->slot_count ? worker->slots[event->ticket.slot] : NULL;

	if (request == NULL || request->ticket.generation != event->ticket.generation || !request->asked) {
		if (event->verdict == LIMITER_LOST)
			worker_lose_again(worker, str_from(event->lost_tag), event->lost_name, event->lost);
		return;		/* it crossed a cancel on its way */
	}
	if (event->verdict == LIMITER_NEXT) {
		request->said_next = true;
	} else if (event->verdict == LIMITER_GRANTED) {
		request->said_next = request->granted = true;
		request->token_asked_at = event->asked_at;
	} else if (event->verdict == LIMITER_LOST) {
		request->asked = false;
		lost_hear(request, false, event->lost);
	} else {
		request->limiter_final = true;
		request->final_verdict = event->verdict;
		request->final_retry_after_s = event->retry_after_s;
	}
	request_make_ready(request);
}

void
worker_on_polls(struct worker *worker, const struct polls_event *event)
{
	struct request *request = event->ticket.slot < worker->slot_count ? worker->slots[event->ticket.slot] : NULL;
	struct poll_answer *answer = event->answer;
	enum request_poll_phase phase = request ? request->poll.phase : POLL_OFF;

	/* A leader is told an answer where another's call has brought it first; that of a 200 of its own comes when it asks again. */
	if (request == NULL || request->poll.ticket.generation != event->ticket.generation
	    || !(phase == POLL_ASKED || (phase == POLL_LEADS && event->word == POLLS_ANSWER))) {
		poll_answer_unref(&answer);
		return;		/* it crossed a cancel on its way */
	}
	if (request->poll.event)
		poll_answer_unref(&request->poll.event->answer);
	else
		request->poll.event = arena_alloc(&request->arena, sizeof(*request->poll.event));
	*request->poll.event = *event;
	request->poll.said = true;
	request_make_ready(request);
}

void
worker_on_claims(struct worker *worker, struct claims_event *event)
{
	struct request *request = event->slot < worker->slot_count ? worker->slots[event->slot] : NULL;

	if (request == NULL || !request->claim_asked || request->claim_said
	    || memcmp(request->claim.id, event->id, sizeof(event->id)) != 0)
		return;		/* it has gone, and given back what it may have got */
	request->claim_said = true;
	request->claim_event = *event;
	request->claim_event.answer = buf_take(&event->answer);
	request_make_ready(request);
}

void
worker_on_found(struct worker *worker, const struct claims_found *found)
{
	struct request *request = found->who.slot < worker->slot_count ? worker->slots[found->who.slot] : NULL;

	if (request == NULL || !request->lost_asked || memcmp(request->id, found->who.id, sizeof(found->who.id)) != 0
	    || request->state != REQUEST_CLAIMING || request->client_gone) {
		worker_lose_again(worker, str_from(found->tag), found->name, found->text);
		return;
	}
	lost_hear(request, found->away, found->text);
	request_make_ready(request);
}

bool
worker_on_landed(struct worker *worker, const struct lost_who *who, struct lost_found *found)
{
	struct request *request = who->slot < worker->slot_count ? worker->slots[who->slot] : NULL;

	if (request == NULL || !request->lost_joined || request->lost_said || memcmp(request->id, who->id, sizeof(who->id)) != 0
	    || request->state != REQUEST_CLAIMING || request->client_gone)
		return false;
	request->lost_said = true;
	request->lost_found = *found;
	request->lost_found.answer = buf_take(&found->answer);
	request_make_ready(request);
	return true;
}

/* --- mail from main --- */

enum worker_order { WORKER_OPEN, WORKER_RELOAD, WORKER_KEYRING, WORKER_DRAIN, WORKER_ABORT, WORKER_STOP };

struct worker_mail {
	struct mail mail;
	struct worker *worker;
	enum worker_order order;
	int *fds;			/* OPEN; owned */
	struct config *config;		/* RELOAD; a reference */
	struct buf proxy;		/* RELOAD; owned, wiped */
	struct keyring *keyring;	/* RELOAD, KEYRING; a reference */
	struct tls_client *tls_client;	/* RELOAD; owned */
	struct tls_server **tls_servers;
};

/* Take over other keys; what was good by the old ones is judged again. */
static void
worker_take_keyring(struct worker *worker, struct keyring *keyring)
{
	keyring_unref(&worker->keyring);
	worker->keyring = keyring;
	caller_token_cache_clear(worker->known_tokens);
}

/* Take over a new configuration. Requests under way keep the snapshot they came under. */
static void
worker_take_config(struct worker *worker, struct worker_mail *m)
{
	struct front_limits limits = worker_limits(m->config);
	size_t count = worker->config->listen_count;

	front_set_limits(worker->front, &limits);
	for (size_t i = 0; i < count; i++) {
		front_set_tls(worker->front, i, m->tls_servers[i]);
		front_set_proxied(worker->front, i, m->config->listen[i].proxy_protocol);
		tls_server_free(&worker->tls_servers[i]);
	}
	free(worker->tls_servers);
	worker->tls_servers = m->tls_servers;
	pool_reload(worker->pool, m->config, m->tls_client, buf_str(&m->proxy));
	buf_wipe(&m->proxy);
	config_unref(&worker->config);
	worker->config = m->config;
	worker_take_keyring(worker, m->keyring);
}

/* Tell main once that nothing is left here. */
static void
on_drain_look(void *arg)
{
	struct worker *worker = arg;

	if (worker->request_count > 0 || !front_is_quiet(worker->front) || !spread_is_quiet(&worker->shared->spread))
		loop_timer_at(&worker->drain_timer, mono_add(loop_now(worker->loop), WORKER_DRAIN_LOOK_US));
	else if (!worker->drained_told) {
		worker->drained_told = true;
		worker->shared->on_drained(worker);
	}
}

/* Refuse who waits, close who is idle, and let what was sent end. */
static void
worker_begin_drain(struct worker *worker)
{
	worker->draining = true;
	front_drain(worker->front);
	for (size_t i = 0; i < worker->slot_count; i++)
		if (worker->slots[i]) {
			worker->slots[i]->draining = true;
			worker->slots[i]->aborted |= worker->slots[i]->on_errand != NULL;	/* nobody waits for it */
			request_make_ready(worker->slots[i]);
		}
	resolutions_drain(worker->resolutions);
	on_drain_look(worker);
}

/* Time is up. */
static void
worker_begin_abort(struct worker *worker)
{
	for (size_t i = 0; i < worker->slot_count; i++)
		if (worker->slots[i]) {
			worker->slots[i]->aborted = worker->slots[i]->draining = true;
			request_make_ready(worker->slots[i]);
		}
	front_abort(worker->front);
}

/* Accept on listener I, whose socket is FD. */
static void
worker_listen(struct worker *worker, size_t i, int fd)
{
	front_listen(worker->front, fd, worker->tls_servers[i]);
	front_set_proxied(worker->front, i, worker->config->listen[i].proxy_protocol);
}

/* An order from main. */
static void
on_order(struct mail *mail)
{
	struct worker_mail *m = (struct worker_mail *)mail;
	struct worker *worker = m->worker;

	switch (m->order) {
	case WORKER_OPEN:
		for (size_t i = 0; i < worker->config->listen_count; i++)
			worker_listen(worker, i, m->fds[i]);
		free(m->fds);
		break;
	case WORKER_RELOAD:
		worker_take_config(worker, m);
		break;
	case WORKER_KEYRING:
		worker_take_keyring(worker, m->keyring);
		break;
	case WORKER_DRAIN:
		worker_begin_drain(worker);
		break;
	case WORKER_ABORT:
		worker_begin_abort(worker);
		break;
	case WORKER_STOP:
		loop_stop(worker->loop);
		break;
	}
	free(m);
}

/* Post an order. */
static struct worker_mail *
worker_mail(struct worker *worker, enum worker_order order)
{
	struct worker_mail *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->mail.run = on_order;
	m->worker = worker;
	m->order = order;
	return m;
}

void
worker_open(struct worker *worker, int *fds)
{
	struct worker_mail *m = worker_mail(worker, WORKER_OPEN);

	m->fds = fds;
	loop_post(worker->loop, &m->mail);
}

void
worker_reload(struct worker *worker, struct config *config, struct keyring *keyring, struct str proxy, struct tls_client *tls_client,
    struct tls_server **tls_servers)
{
	struct worker_mail *m = worker_mail(worker, WORKER_RELOAD);

	m->config = config_ref(config);
	buf_add(&m->proxy, proxy);
	m->keyring = keyring_ref(keyring);
	m->tls_client = tls_client;
	m->tls_servers = tls_servers;
	loop_post(worker->loop, &m->mail);
}

void
worker_set_keyring(struct worker *worker, struct keyring *keyring)
{
	struct worker_mail *m = worker_mail(worker, WORKER_KEYRING);

	m->keyring = keyring_ref(keyring);
	loop_post(worker->loop, &m->mail);
}

void
worker_drain(struct worker *worker)
{
	loop_post(worker->loop, &worker_mail(worker, WORKER_DRAIN)->mail);
}

void
worker_abort(struct worker *worker)
{
	loop_post(worker->loop, &worker_mail(worker, WORKER_ABORT)->mail);
}

void
worker_stop(struct worker *worker)
{
	if (!worker->running)
		return;
	loop_post(worker->loop, &worker_mail(worker, WORKER_STOP)->mail);
	check(pthread_join(worker->thread, NULL) == 0);
	worker->running = false;
}
