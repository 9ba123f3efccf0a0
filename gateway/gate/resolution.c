/* Runs whose fate is unknown are looked for among their item's instances. */
#include "gate/resolution.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/check.h"
#include "base/log.h"
#include "gate/steps.h"
#include "gate/worker.h"
#include "rules/proxy.h"
#include "rules/resolve.h"

#define RESOLUTION_MAGIC 0x4e501e0u
/* A list keeps what is active and about a hundred that have ended; more pages than this are not paid for. */
#define RESOLUTION_PAGES_MAX 10
/* A list that cannot have a token in this time is tried again after the delay. */
#define RESOLUTION_WAIT_US (20 * (int64_t)CLOCK_SECOND)
/* Readers look for its record in RECORD_RESOLUTION_WITHIN_US; the last list and the disk take their time too. */
#define RESOLUTION_LIFE_US (RECORD_RESOLUTION_WITHIN_US - 3 * 60 * (int64_t)CLOCK_SECOND)

struct resolution {
	unsigned magic;
	TAILQ_ENTRY(resolution) link;
	struct resolutions *all;
	struct arena arena;
	struct config *config;		/* referenced: the run's */
	const struct config_caller *caller;
	struct record_request record;	/* of the run; in the arena, as all that follows */
	struct str principal, workspace, item, instances_path, activity;
	struct buf authorization;	/* the run's own; empty where the identity has a credential; wiped */
	struct wall_time sent;
	struct mono_time sent_mono;	/* the same, for other runs': the wall's clock may step between */
	int64_t sent_within_us;		/* it was sent so long after that at most: an orphan's intent may have waited */
	struct mono_time begun;
	struct loop_timer timer;
	bool listing;			/* an errand is under way */
	int lists, tries, pages;
	struct resolve_found found;	/* on the pages of this try */
	struct str token;		/* of the next page; p NULL: the first */
};

TAILQ_HEAD(resolution_list, resolution);

struct resolutions {
	struct worker *worker;
	struct resolution_list list;
};

struct resolutions *
resolutions_new(struct worker *worker)
{
	struct resolutions *all = calloc(1, sizeof(*all));

	check(all != NULL);
	all->worker = worker;
	TAILQ_INIT(&all->list);
	return all;
}

/* Forget one, and its token. */
static void
resolution_free(struct resolution *r)
{
	check(!r->listing);
	TAILQ_REMOVE(&r->all->list, r, link);
	atomic_fetch_sub(&r->all->worker->shared->resolutions, 1);
	loop_timer_fini(&r->timer);
	buf_wipe(&r->authorization);
	config_unref(&r->config);
	arena_fini(&r->arena);
	r->magic = 0;
	free(r);
}

void
resolutions_free(struct resolutions **all_p)
{
	struct resolutions *all = *all_p;

	if (all == NULL)
		return;
	*all_p = NULL;
	while (!TAILQ_EMPTY(&all->list))
		resolution_free(TAILQ_FIRST(&all->list));
	free(all);
}

/* When an instance of the run may have begun, by the service's clock. */
static void
resolution_span(const struct resolution *r, struct wall_time *from, struct wall_time *to)
{
	from->us = r->sent.us - RESOLVE_SKEW_US;
	to->us = r->sent.us + r->sent_within_us + r->config->resolve.window_us;
}

/* Where the instance that was found is asked for, as the upstream would have said it. */
static struct str
resolution_location(struct resolution *r, struct str instance)
{
	struct buf prefix = BUF_EMPTY;
	struct str location;

	proxy_add_private_prefix(r->config, r->workspace, &prefix);
	location = arena_printf(&r->arena, "https://%.*s%.*s%.*s/%.*s", STR_ARG(buf_str(&prefix)),
	    STR_ARG(r->config->upstream.authority), STR_ARG(r->instances_path), STR_ARG(instance));
	buf_fini(&prefix);
	return location;
}

/* Record what came of it, and forget it. */
static void
resolution_end(struct resolution *r, enum resolve_why why)
{
	struct worker *worker = r->all->worker;
	struct record_resolution said = { .why = why, .by_activity = r->activity.p != NULL, .lists = r->lists };

	if (why == RESOLVE_MATCHED) {
		said.instance_id = (struct str){ r->found.id, sizeof(r->found.id) };
		said.location = resolution_location(r, said.instance_id);
		runs_ended(worker->shared->runs, r->record.request_id, RUNS_INSTANCE, said.instance_id);
	}
	audit_resolution(worker->shared->audit, &r->record, &said);
	stats_add(&worker->stats->resolutions[why], 1);
	log_line(why == RESOLVE_MATCHED ? LOG_INFO : LOG_WARN, "resolution", log_s("request_id", r->record.request_id),
	    log_s("caller", r->record.caller), log_s("item", r->item), log_s("why", resolve_why_name(why)),
	    log_s("instance_id", said.instance_id), log_i("lists", r->lists));
	resolution_free(r);
}

/* Whether its time is over: nobody waits for it longer, or it may not go with the run's token any more. */
static bool
resolution_is_over(const struct resolution *r)
{
	int64_t age_us = mono_since(loop_now(r->all->worker->loop), r->begun);

	return age_us >= (r->authorization.n > 0 ? RESOLUTION_TOKEN_US : RESOLUTION_LIFE_US);
}

/* Look again after the delay; where that may not be, end with WHY. */
static void
resolution_again(struct resolution *r, enum resolve_why why)
{
	struct worker *worker = r->all->worker;

	if (worker->draining)
		resolution_end(r, RESOLVE_FAILED);
	else if (r->tries >= r->config->resolve.tries || resolution_is_over(r))
		resolution_end(r, why);
	else
		loop_timer_at(&r->timer, mono_add(loop_now(worker->loop), r->config->resolve.delay_us));
}

/* Whether an instance is known to be another run's. */
static bool
on_is_taken(void *arg, struct str id)
{
	struct resolution *r = arg;

	return runs_has_instance(r->all->worker->shared->runs, r->item, id);
}

/*
 * Whether another run may have started what was found; by its activity it is its own. Of a predecessor's runs the
 * intent is known, and not how long they waited after it. One that was open when the page with its instance was read
 * may have heard of it since: so that is asked again, and last.
 */
static bool
resolution_is_contested(const struct resolution *r)
{
	struct mono_time first = mono_add(r->sent_mono,
	    -RESOLVE_SKEW_US - r->caller->wait_max_us - r->config->resolve.window_us);
	struct mono_time last = mono_add(r->sent_mono,
	    r->sent_within_us + r->config->resolve.window_us + RESOLVE_SKEW_US);
	struct runs *runs = r->all->worker->shared->runs;

	if (r->activity.p != NULL)
		return false;
	return !runs_knows_since(runs, first) || runs_any_open(runs, r->item, r->record.request_id, first, last)
	    || runs_has_instance(runs, r->item, (struct str){ r->found.id, sizeof(r->found.id) });
}

static void resolution_list(struct resolution *r);

/* The whole list was read. */
static void
resolution_judge(struct resolution *r)
{
	enum resolve_why why = resolve_judge(&r->found, resolution_is_contested(r));

	r->tries++;
	if (why == RESOLVE_MATCHED)
		resolution_end(r, why);
	else
		resolution_again(r, why);
}

/* A page has come. */
static void
resolution_read(struct resolution *r, struct str body)
{
	struct resolve_run run = { .job_type = r->record.job_type, .activity = r->activity, .is_taken = on_is_taken,
		.arg = r };

	resolution_span(r, &run.from, &run.to);
	r->lists++;
	r->pages++;
	if (!resolve_read_page(&r->arena, body, &run, &r->found, &r->token)) {
		r->tries++;
		resolution_again(r, RESOLVE_FAILED);
	} else if (r->token.p == NULL) {
		resolution_judge(r);
	} else if (r->pages >= RESOLUTION_PAGES_MAX || resolution_is_over(r)) {
		resolution_end(r, RESOLVE_FAILED);
	} else {
		resolution_list(r);
	}
}

/* Whether the answer will be the same however often it is asked for: the token or the item is no good. */
static bool
resolution_is_hopeless(const struct request *errand)
{
	return errand->upstream_status == 401 || errand->upstream_status == 403 || errand->upstream_status == 404;
}

/* An errand has ended. */
static void
on_listed(void *arg, struct request *errand)
{
	struct resolution *r = arg;

	check_magic(r, RESOLUTION_MAGIC);
	r->listing = false;
	if (errand->refusal == REFUSAL_NONE && errand->upstream_status == 200) {
		resolution_read(r, buf_str(&errand->answer.body));
	} else if (resolution_is_hopeless(errand)) {
		resolution_end(r, RESOLVE_FAILED);
	} else {
		r->tries += errand->was_sent ? 1 : 0;	/* what has cost a call is a try */
		resolution_again(r, RESOLVE_FAILED);
	}
}

/* Append TEXT percent-encoded as a value in a query (RFC 3986 2.1). */
static void
resolution_encode(struct buf *out, struct str text)
{
	static const char digits[] = "0123456789ABCDEF";
	static const struct str plain = STR_INIT("-._~");

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!letter && str_find_char(plain, (char)c) == plain.n) {
			buf_add_char(out, '%');
			buf_add_char(out, digits[c >> 4]);
			c = (unsigned char)digits[c & 15];
		}
		buf_add_char(out, (char)c);
	}
}

/* Ask for a page of the list. */
static void
resolution_list(struct resolution *r)
{
	struct buf target = BUF_EMPTY;
	struct request_errand errand = { .config = r->config, .caller = r->caller, .principal = r->principal,
		.route = { .operation = OPERATION_LIST, .workspace = r->workspace, .item = r->item },
		.authorization = buf_str(&r->authorization), .wait_us = RESOLUTION_WAIT_US, .on_done = on_listed,
		.arg = r };

	buf_add(&target, r->instances_path);
	if (r->token.p != NULL) {
		buf_add_z(&target, "?continuationToken=");
		resolution_encode(&target, r->token);
	}
	errand.route.upstream_target = buf_str(&target);
	r->listing = true;
	request_new_errand(r->all->worker, &errand);
	buf_fini(&target);
}

/* The delay is over. */
static void
on_due(void *arg)
{
	struct resolution *r = arg;

	check_magic(r, RESOLUTION_MAGIC);
	if (resolution_is_over(r)) {
		resolution_end(r, RESOLVE_FAILED);
		return;
	}
	r->found = (struct resolve_found){ .count = 0 };
	r->token = (struct str){ NULL, 0 };
	r->pages = 0;
	resolution_list(r);
}

/* Copy what the run's records share. */
static struct record_request
resolution_copy(struct arena *arena, struct request *request)
{
	struct record_request record = request_record(request);
	struct str *const texts[] = { &record.request_id, &record.client_request_id, &record.caller, &record.key,
		&record.identity, &record.peer, &record.job_type };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i]->p != NULL)
			*texts[i] = arena_copy(arena, *texts[i]);
	return record;
}

/* Make one of a run under CONFIG that waits for its first list; the rest is to be filled in. */
static struct resolution *
resolution_make(struct resolutions *all, struct config *config, const struct config_caller *caller)
{
	struct resolution *r = calloc(1, sizeof(*r));

	check(r != NULL);
	r->magic = RESOLUTION_MAGIC;
	r->all = all;
	arena_init(&r->arena);
	r->config = config_ref(config);
	r->caller = caller;
	r->begun = loop_now(all->worker->loop);
	loop_timer_init(&r->timer, all->worker->loop, on_due, r);
	loop_timer_at(&r->timer, mono_add(r->begun, config->resolve.delay_us));
	TAILQ_INSERT_TAIL(&all->list, r, link);
	return r;
}

/* Begin to look for what REQUEST has started. */
static void
resolution_new(struct resolutions *all, struct request *request)
{
	struct resolution *r = resolution_make(all, request->config, request->caller);

	r->record = resolution_copy(&r->arena, request);
	r->principal = arena_copy(&r->arena, request->principal);
	r->workspace = arena_copy(&r->arena, request->route.workspace);
	r->item = arena_copy(&r->arena, request->route.item);
	r->instances_path = arena_copy(&r->arena, request->route.instances_path);
	if (request->upstream_request_id.n > 0)
		r->activity = arena_copy(&r->arena, request->upstream_request_id);
	if (!authorize_is_ours(request))
		buf_add(&r->authorization, forward_authorization(request));
	r->sent_mono = request->sent;
	r->sent.us = clock_now_wall().us - mono_since(r->begun, request->sent);
}

/* Take a place among those that are looked for; false, logged, where there is none. */
static bool
resolution_take_place(struct resolutions *all, struct str id)
{
	struct worker_shared *shared = all->worker->shared;

	if (atomic_fetch_add(&shared->resolutions, 1) < RESOLUTIONS_MAX)
		return true;
	atomic_fetch_sub(&shared->resolutions, 1);
	log_line(LOG_WARN, "too many resolutions", log_s("request_id", id), log_i("waiting", RESOLUTIONS_MAX));
	return false;
}

/* Whether there is something to know the run's instance by. */
static bool
resolution_is_possible(const struct request *request)
{
	enum config_match match = request->config->resolve.match;

	if (request->route.operation != OPERATION_RUN || request->route.instances_path.p == NULL)
		return false;
	return match == CONFIG_MATCH_TIME || (match == CONFIG_MATCH_ACTIVITY && request->upstream_request_id.n > 0);
}

void
resolutions_begin(struct resolutions *all, struct request *request)
{
	if (all->worker->draining || !resolution_is_possible(request) ||
	    !resolution_take_place(all, request_id(request)))
		return;
	resolution_new(all, request);
}

/* The value of an intent's MEMBER, unescaped; p NULL where it has none. */
static struct str
orphan_value(struct arena *arena, const struct audit_record *intent, enum audit_member member)
{
	struct audit_value value = intent->values[member];
	char *copy;

	if (value.token != JSON_STRING)
		return (struct str){ NULL, 0 };
	copy = arena_alloc(arena, value.text.n + 1);
	return (struct str){ copy, json_unescape(value.text, copy) };
}

void
resolutions_begin_orphan(struct resolutions *all, struct config *config, const struct config_caller *caller,
    const struct audit_record *intent, struct mono_time sent)
{
	struct resolution *r;

	if (!resolution_take_place(all, intent->values[AUDIT_REQUEST_ID].text))
		return;
	r = resolution_make(all, config, caller);
	r->record = (struct record_request){
		.request_id = orphan_value(&r->arena, intent, AUDIT_REQUEST_ID),
		.client_request_id = orphan_value(&r->arena, intent, AUDIT_CLIENT_REQUEST_ID),
		.caller = orphan_value(&r->arena, intent, AUDIT_CALLER),
		.key = orphan_value(&r->arena, intent, AUDIT_KEY),
		.identity = orphan_value(&r->arena, intent, AUDIT_IDENTITY),
		.peer = orphan_value(&r->arena, intent, AUDIT_PEER),
		.operation = OPERATION_RUN,
		.job_type = orphan_value(&r->arena, intent, AUDIT_JOB_TYPE),
	};
	r->workspace = orphan_value(&r->arena, intent, AUDIT_WORKSPACE);
	r->item = orphan_value(&r->arena, intent, AUDIT_ITEM);
	r->instances_path = arena_printf(&r->arena, "/v1/workspaces/%.*s/items/%.*s/jobs/instances",
	    STR_ARG(r->workspace), STR_ARG(r->item));
	r->sent = intent->time;
	r->sent_mono = sent;
	r->sent_within_us = caller->wait_max_us;
}

void
resolutions_drain(struct resolutions *all)
{
	struct resolution *r, *next;

	for (r = TAILQ_FIRST(&all->list); r != NULL; r = next) {
		next = TAILQ_NEXT(r, link);
		if (!r->listing)
			resolution_end(r, RESOLVE_FAILED);
	}
}
