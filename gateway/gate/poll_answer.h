/* An answer of the upstream that others may get, too: counted by reference, never changed, in one piece of memory. */
#ifndef JOBGATE_GATE_POLL_ANSWER_H
#define JOBGATE_GATE_POLL_ANSWER_H

#include <stdatomic.h>

#include "io/upstream.h"
#include "rules/poll.h"

struct poll_answer {
	atomic_int refs;
	int status;
	uint32_t head_bytes, body_bytes;
	struct poll_state state;	/* of status 200 alone */
	struct mono_time sent, came;	/* of the call that brought it */
	int64_t number, version;	/* of the call among instances; 0: it is not shared */
	bool ours;			/* this instance has put it where they share */
	int64_t stands_us;		/* so long after it came; 0: it is due at once */
	char bytes[];			/* a head with the fields that are relayed, and the body as received */
};

/*
 * One reference. Without what is for its first reader alone: Set-Cookie, and fields such as x-ms-client-request-id that repeat
 * that one's. OPERATION: whose states are read.
 */
struct poll_answer *poll_answer_new(const struct upstream_response *response, enum operation operation,
    const struct config_polls *polls, struct mono_time sent, struct mono_time came);
/*
 * The same from BYTES that were kept elsewhere, of which the first HEAD_BYTES are the head: status 200 to the GET of an
 * instance. NULL where they are no such thing.
 */
struct poll_answer *poll_answer_restore(struct str bytes, int64_t head_bytes, struct mono_time came, int64_t stands_us);
struct poll_answer *poll_answer_ref(struct poll_answer *answer);	/* any thread */
void poll_answer_unref(struct poll_answer **answer);			/* any thread; NULL is let be */

/* As it would have been received; HEAD is the caller's, its slices are the answer's. */
struct upstream_response poll_answer_read(const struct poll_answer *answer, struct http1_head *head);

#endif
