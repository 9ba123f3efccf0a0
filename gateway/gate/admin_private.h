/* For admin*.c alone. */
#ifndef JOBGATE_GATE_ADMIN_PRIVATE_H
#define JOBGATE_GATE_ADMIN_PRIVATE_H

#include <sys/queue.h>

#include "gate/admin.h"
#include "rules/reply.h"

/* Who waits for the status: the owner of its request. */
struct admin_waiter {
	LIST_ENTRY(admin_waiter) link;
	struct front_request *client;
	struct loop_timer deadline;
};

struct admin {
	struct loop *loop;
	struct front *front;
	struct admin_hooks hooks;
	void *arg;
	LIST_HEAD(, admin_waiter) waiting;
	struct buf instance;	/* its name, by which it may be asked */
	bool has_token;
	uint8_t token_sha256[32];
	bool asking;		/* the status was asked for and has not come yet */
};

/* An answer being made. */
struct admin_answer {
	int status;
	struct str content_type, extra_name, extra_value, message;
	enum refusal refusal;
	struct buf body;
	bool close;
};

/* Send the answer; a refusal gets Fabric's error shape. Frees the body. */
void admin_reply(struct front_request *client, struct admin_answer *answer);

/* admin_access.c: whether CLIENT may ask what it asks; else what it is answered. */
bool admin_admits(struct admin *admin, struct front_request *client, struct admin_answer *answer);

/* admin_status.c: CLIENT is answered when the status comes, or with 503 where it does not. */
void admin_status_wait(struct admin *admin, struct front_request *client);
/* It is answered otherwise, or gone; nothing where it does not wait. */
void admin_status_forget(struct front_request *client);

#endif
