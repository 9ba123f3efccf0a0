/* Answers that are kept. */
#include "gate/poll_answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "rules/header.h"

/* It was parsed with such bounds when it came. */
static const struct http1_limits limits = { 1 << 20, 0 };

/* Whether FIELD may be told to others than its first reader. */
static bool
answer_field_is_kept(const struct http1_head *head, const struct http1_field *field)
{
	return header_is_relayed(head, field) && !poll_is_personal(field);
}

/* Append a field line. */
static void
answer_add(struct buf *out, const struct http1_field *field)
{
	buf_add(out, field->name);
	buf_add(out, STR(": "));
	buf_add(out, field->value);
	buf_add(out, STR("\r\n"));
}

/* The head as it is kept. */
static void
answer_head(struct buf *out, const struct http1_head *head)
{
	buf_printf(out, "HTTP/1.1 %d \r\n", head->status);
	for (size_t i = 0; i < head->field_count; i++)
		if (answer_field_is_kept(head, &head->fields[i]))
			answer_add(out, &head->fields[i]);
	buf_add(out, STR("\r\n"));
}

/* What the body says of an instance; nothing where it is coded. */
static struct poll_state
answer_state(const struct upstream_response *response, enum operation operation)
{
	const struct http1_field *coding = http1_find(response->head, STR("Content-Encoding"));

	if (operation != OPERATION_GET || response->head->status != 200
	    || (coding && !str_eq_nocase(coding->value, STR("identity"))))
		return (struct poll_state){ 0 };
	return poll_read_state(response->body, clock_now_wall());
}

struct poll_answer *
poll_answer_new(const struct upstream_response *response, enum operation operation, const struct config_polls *polls,
    struct mono_time sent, struct mono_time came)
{
	const struct http1_field *retry_after = http1_find(response->head, STR("Retry-After"));
	struct poll_answer *answer;
	struct buf head = BUF_EMPTY;

	answer_head(&head, response->head);
	answer = malloc(sizeof(*answer) + head.n + response->body.n);
	check(answer != NULL && head.n < UINT32_MAX && response->body.n < UINT32_MAX);
	*answer = (struct poll_answer){ .refs = 1, .status = response->head->status, .head_bytes = (uint32_t)head.n,
		.body_bytes = (uint32_t)response->body.n, .state = answer_state(response, operation), .sent = sent,
		    .came = came };
	answer->stands_us = poll_stands_us(polls, answer->state.terminal,
	    retry_after ? retry_after->value : (struct str){ NULL, 0 });
	memcpy(answer->bytes, head.p, head.n);
	if (response->body.n)
		memcpy(answer->bytes + head.n, response->body.p, response->body.n);
	buf_fini(&head);
	return answer;
}

struct poll_answer *
poll_answer_restore(struct str bytes, int64_t head_bytes, struct mono_time came, int64_t stands_us)
{
	struct upstream_response response;
	struct poll_answer *answer;
	struct http1_head head;

	if (head_bytes < 0 || (uint64_t)head_bytes > bytes.n || bytes.n > UINT32_MAX
	    || http1_parse_response(str_sub(bytes, 0, (size_t)head_bytes), STR("GET"), &limits, &head) != HTTP1_OK
	    || head.status != 200)
		return NULL;
	answer = malloc(sizeof(*answer) + bytes.n);
	check(answer != NULL);
	response = (struct upstream_response){ .head = &head, .body = str_sub(bytes, (size_t)head_bytes, bytes.n) };
	*answer = (struct poll_answer){ .refs = 1, .status = 200, .head_bytes = (uint32_t)head_bytes,
		.body_bytes = (uint32_t)response.body.n, .state = answer_state(&response, OPERATION_GET),
		    .sent = came, .came = came,
		.stands_us = stands_us };
	memcpy(answer->bytes, bytes.p, bytes.n);
	return answer;
}

struct poll_answer *
poll_answer_ref(struct poll_answer *answer)
{
	check(atomic_fetch_add(&answer->refs, 1) > 0);
	return answer;
}

void
poll_answer_unref(struct poll_answer **answer_p)
{
	struct poll_answer *answer = *answer_p;

	*answer_p = NULL;
	if (answer && atomic_fetch_sub(&answer->refs, 1) == 1)
		free(answer);
}

struct upstream_response
poll_answer_read(const struct poll_answer *answer, struct http1_head *head)
{
	check(http1_parse_response((struct str){ answer->bytes, answer->head_bytes }, STR("GET"), &limits,
	    head) == HTTP1_OK);
	return (struct upstream_response){ .head = head, .body = { answer->bytes + answer->head_bytes,
	    answer->body_bytes } };
}
