/* Steps of claiming: a run or the making of a schedule that comes with an Idempotency-Key is sent once in the whole fleet. */
#include "gate/steps.h"

#include <string.h>

#include "gate/worker.h"
#include "rules/idempotency_key.h"
#include "rules/kept.h"

/* A request may be sent so often (429, 401 to a credential of ours), each time for upstream.timeout. */
#define CLAIM_SENDINGS 4
/* What records and loops take beside; while the lease runs the claim is in flight, after it unknown. */
#define CLAIM_LEASE_MARGIN_US (10 * (int64_t)CLOCK_SECOND)
/* Who finds the key in flight comes again after a while: sooner than the longest request ends. */
#define CLAIM_RETRY_AFTER_MAX_S 5
/* Most answers that are kept fit: memory is taken once. */
#define CLAIM_ANSWER_USUAL 512

void
claim_keep_key(struct request *request)
{
	const char *why;

	if (!operation_starts_job(request->route.operation))
		return;
	why = idempotency_key_find(&request->arena, front_head(request->client), &request->key);
	if (why)
		request_refuse(request, REFUSAL_BAD_REQUEST, "%s.", why);
	else if (request->key.p)
		request->key = arena_copy(&request->arena, request->key);
}

void
claim_digest(struct request *request, const struct str *texts, size_t count, bool with_body, uint8_t out[CLAIM_DIGEST_BYTES])
{
	struct buf *bytes = worker_text(request->worker);

	for (size_t i = 0; i < count; i++) {
		buf_add(bytes, texts[i]);
		buf_add_char(bytes, '\0');
	}
	if (with_body) {	/* not the records' digest: its key may differ between instances, and change */
		request_digest_body(request);
		buf_add(bytes, (struct str){ (const char *)request->body_digest, sizeof(request->body_digest) });
	}
	digest_sha256(buf_str(bytes), out);
}

/* Ask for the key. */
static void
claim_ask(struct request *request)
{
	const struct config *config = request->config;
	struct str name[] = { request->caller->name, request->key };
	struct str print[] = { request->method, request->route.upstream_target, config->identities[request->caller->identity].name,
		request->principal };

	claim_digest(request, name, 2, false, request->claim.name);
	claim_digest(request, print, 4, true, request->claim.print);
	memcpy(request->claim.id, request->id, sizeof(request->claim.id));
	request->claim.keep_us = config->idempotency.keys_us;
	request->claim.lease_us = request->caller->wait_max_us + CLAIM_SENDINGS * config->upstream.timeout_us + CLAIM_LEASE_MARGIN_US;
	request->claim_asked = true;
	claims_take(request->worker->shared->claims, (uint16_t)request->worker->index, request->ticket.slot, &request->claim);
}

void
claim_take_answer(struct request *request, struct str text)
{
	struct kept_answer kept;

	/* A copy: TEXT goes its own way, to a delivery that is freed when the answer has arrived, and the record may come later. */
	if (!kept_read(&request->arena, arena_copy(&request->arena, text), &kept)) {	/* a newer version's */
		request_refuse(request, REFUSAL_OUTCOME_UNKNOWN, "The first request has ended, in a way that this instance "
		    "cannot tell.");
		return;
	}
	request->answer.status = kept.status;
	request->answer.fields = arena_alloc(&request->arena, (kept.field_count + 1) * sizeof(struct http1_field));
	memcpy(request->answer.fields, kept.fields, kept.field_count * sizeof(struct http1_field));
	request->answer.field_count = kept.field_count;
	request->upstream_error_code = kept.status >= 400 && kept.error_code.n ? kept.error_code : (struct str){ NULL, 0 };
	if (kept.status < 400)
		return;
	request->answer.fields[request->answer.field_count++] =
	    (struct http1_field){ STR("Content-Type"), STR("application/json") };
	kept_error_body(&request->answer.body, &kept, request_id(request));
}

/* Refuse because another request has the key. */
static void
claim_refuse_held(struct request *request)
{
	int64_t left_s = (request->claim_event.left_us + CLOCK_SECOND - 1) / CLOCK_SECOND;

	request->retry_after_s = left_s < 1 ? 1 : left_s > CLAIM_RETRY_AFTER_MAX_S ? CLAIM_RETRY_AFTER_MAX_S : left_s;
	request_refuse(request, REFUSAL_KEY_IN_FLIGHT, "Request %.*s with this Idempotency-Key is under way; retry in %d s.",
	    CLAIM_ID_BYTES, request->claim_event.first, (int)request->retry_after_s);
}

/* Say that nobody knows what became of the first request. */
static void
claim_refuse_unknown(struct request *request)
{
	request_refuse(request, REFUSAL_OUTCOME_UNKNOWN, "Request %.*s with this Idempotency-Key was sent, or may have been: whether it "
	    "started anything is not known, and nothing is sent again with it. Look at the item's instances, and use another key.",
	    CLAIM_ID_BYTES, request->claim_event.first);
}

/* Refuse because it cannot be known whether the key was used. */
static void
claim_refuse_away(struct request *request)
{
	request->retry_after_s = 1;
	request_refuse(request, REFUSAL_UNAVAILABLE, request->claim_event.verdict == CLAIMS_FULL ?
	    "The store of Idempotency-Keys is full; nothing was sent." :
	    "The store of Idempotency-Keys did not answer, or no replica of it; nothing was sent.");
}

/* Do what the verdict says. */
static void
claim_decide(struct request *request)
{
	enum claims_verdict verdict = request->claim_event.verdict;

	request->claimed = verdict == CLAIMS_TAKEN;
	request->replayed = verdict == CLAIMS_FINISHED || verdict == CLAIMS_UNKNOWN;
	memcpy(request->first_id, request->claim_event.first, sizeof(request->first_id));
	if (verdict == CLAIMS_FINISHED)
		claim_take_answer(request, buf_str(&request->claim_event.answer));
	else if (verdict == CLAIMS_UNKNOWN)
		claim_refuse_unknown(request);
	else if (verdict == CLAIMS_HELD)
		claim_refuse_held(request);
	else if (verdict == CLAIMS_MISMATCH)
		request_refuse(request, REFUSAL_KEY_MISMATCH, "This Idempotency-Key belongs to request %.*s, which asked for something else.",
		    CLAIM_ID_BYTES, request->claim_event.first);
	else if (verdict != CLAIMS_TAKEN)
		claim_refuse_away(request);
}

/* What ends a request while its key is asked for; true where it was ended. */
static bool
claim_interrupted(struct request *request)
{
	if (request->client_gone)
		request_refuse(request, REFUSAL_CALLER_GONE, "The caller went while its request was waiting.");
	else if (request->draining) {
		request->retry_after_s = 1;
		request_refuse(request, REFUSAL_UNAVAILABLE, "This instance is shutting down; nothing was sent.");
	}
	if (request->refusal == REFUSAL_NONE)
		return false;
	request->claimed = request->claim_asked;	/* what it may get is given back */
	lost_leave_it(request);
	request_goto(request, REQUEST_RECORDING);
	return true;
}

void
step_claiming(struct request *request)
{
	if (claim_interrupted(request))
		return;
	if (request->key.p == NULL) {
		lost_step(request);
		return;
	}
	if (!request->claim_asked)
		claim_ask(request);
	if (!request->claim_said)
		return;
	claim_decide(request);
	request_goto(request, request->claimed ? REQUEST_WAITING : REQUEST_RECORDING);
}

void
claim_keep_answer(const struct request *request, struct buf *out)
{
	struct kept_answer answer = { request->answer.status, request->upstream_error_code, request->answer.fields,
		request->answer.field_count };

	buf_room(out, CLAIM_ANSWER_USUAL);
	kept_write(out, &answer, request->answer.body.n > 0);
}

/* Tell the store. */
static void
claim_tell(struct request *request, enum claim_fate fate)
{
	struct buf text = BUF_EMPTY;

	if (fate == CLAIM_FATE_FINISH)
		claim_keep_answer(request, &text);
	claims_settle(request->worker->shared->claims, &request->claim, fate, buf_str(&text));
	buf_fini(&text);
}

void
claim_lose(struct request *request)
{
	if (request->claimed)
		claim_tell(request, CLAIM_FATE_UNKNOWN);
}

enum claim_fate
claim_fate_of(const struct request *request)
{
	bool sent = request->was_sent && request->result != RESULT_FAILED;

	return claim_fate(sent, request->upstream_status, request->upstream_retriable, request->result == RESULT_UNKNOWN);
}

void
claim_end(struct request *request)
{
	if (request->claimed)
		claim_tell(request, claim_fate_of(request));
	request->claimed = false;
}
