/* An answer in the making: status, fields in their order, body; and Fabric's error bodies. */
#ifndef FABRICSIM_SIM_REPLY_H
#define FABRICSIM_SIM_REPLY_H

#include <jansson.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sim_random.h"

struct sim_reply {
	int status;
	struct buf fields;	/* "Name: value\r\n" lines, Content-Length among them */
	struct buf body;
	char request_id[SIM_UUID_BYTES];	/* the RequestId of the answer */
};

void sim_reply_init(struct sim_reply *reply, uint64_t *random);
void sim_reply_fini(struct sim_reply *reply);
/* Take all back but the id. */
void sim_reply_restart(struct sim_reply *reply);

void sim_reply_field(struct sim_reply *reply, const char *name, const char *value);

/* Answer with a JSON body, which is taken over; RequestId and the content's fields are added behind what stands. */
void sim_reply_json(struct sim_reply *reply, int status, json_t *body);

/* Answer with Fabric's ErrorResponse. */
void sim_reply_error(struct sim_reply *reply, int status, const char *code, const char *message, bool retriable);

/* Answer 429 RequestBlocked as recorded (fabric.md 4): try again in WAIT_US. */
void sim_reply_blocked(struct sim_reply *reply, int64_t wait_us, struct wall_time now);

/* Answer as --fault STATUS wants it: like sim_reply_error; 429 and 503 with a Retry-After in seconds, retriable. */
void sim_reply_fault(struct sim_reply *reply, int status, int64_t retry_after, struct wall_time now);

/* Append the whole answer as it goes out; without body for a HEAD. */
void sim_reply_write(const struct sim_reply *reply, struct wall_time now, bool head_only, struct buf *out);

#endif
