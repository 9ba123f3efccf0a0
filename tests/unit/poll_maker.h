/* Kept answers, made by hand. */
#ifndef JOBGATE_TESTS_POLL_MAKER_H
#define JOBGATE_TESTS_POLL_MAKER_H

#include <stdlib.h>
#include <string.h>

#include "gate/poll_table.h"

#define POLL_S ((int64_t)CLOCK_SECOND)

/* The answer to a GET with BODY, which came at CAME and stands for 15 s, or 600 s where it is terminal. */
static struct poll_answer *
answer_with(int http_status, struct str body, struct mono_time sent, struct mono_time came)
{
	const struct config_polls polls = { .refresh_us = 15 * POLL_S, .keep_us = 600 * POLL_S };
	struct http1_head *head = calloc(1, sizeof(*head));
	struct upstream_response response = { .head = head };
	struct poll_answer *answer;

	assert_non_null(head);
	head->status = http_status;
	head->fields[0] = (struct http1_field){ STR("Content-Type"), STR("application/json; charset=utf-8") };
	head->fields[1] = (struct http1_field){ STR("RequestId"), STR("d6b0e7ce-06c1-4fae-bed5-0f59e3d79b2d") };
	head->fields[2] = (struct http1_field){ STR("Set-Cookie"), STR("a=b") };
	head->fields[3] = (struct http1_field){ STR("x-ms-client-request-id"), STR("its") };
	head->fields[4] = (struct http1_field){ STR("Access-Control-Expose-Headers"), STR("RequestId,Location,Retry-After") };
	head->fields[5] = (struct http1_field){ STR("home-cluster-uri"),
		STR("https://wabi-west-europe-redirect.analysis.windows.net/") };
	head->fields[6] = (struct http1_field){ STR("Date"), STR("Sat, 01 Aug 2026 12:34:56 GMT") };
	head->field_count = 7;
	response.body = body;
	answer = poll_answer_new(&response, OPERATION_GET, &polls, sent, came);
	free(head);
	return answer;
}

/* The same that says STATUS. */
static __attribute__((unused)) struct poll_answer *
answer_make(int http_status, const char *status, struct mono_time sent, struct mono_time came)
{
	struct buf body = BUF_EMPTY;
	struct poll_answer *answer;

	buf_printf(&body, "{\"id\":\"431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7\",\"status\":\"%s\"}", status);
	answer = answer_with(http_status, buf_str(&body), sent, came);
	buf_fini(&body);
	return answer;
}

/* What Fabric may say right after a 202. */
static __attribute__((unused)) struct poll_answer *
answer_brief(struct mono_time came)
{
	return answer_with(200, STR("{\"status\":\"Failed\",\"failureReason\":{\"errorCode\":\"NotFound\"}}"), came, came);
}

/* The ids of the entry of KEY at RESOURCE. */
static struct poll_id
id_make(uint32_t key, uint32_t resource)
{
	struct poll_id id = { { 0 }, { 0 } };

	for (size_t i = 0; i < 4; i++) {
		id.key[i] = (uint8_t)(key >> 8 * i);
		id.resource[i] = (uint8_t)(resource >> 8 * i);
	}
	return id;
}

#endif
