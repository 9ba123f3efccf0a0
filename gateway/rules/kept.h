/*
 * A kept answer: the status and the fields of an answer that may have to be given again, as text. No body is kept.
 *
 * Fields that tell of the body (Content-*, ETag, digests, Transfer-Encoding) go with it, unless it was empty; so does
 * Date. What is kept takes at most KEPT_BYTES_MAX: where all fields would take more, those that clients of this API read
 * are kept alone.
 */
#ifndef JOBGATE_RULES_KEPT_H
#define JOBGATE_RULES_KEPT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/http1.h"

#define KEPT_BYTES_MAX 4096

struct kept_answer {
	int status;
	struct str error_code;		/* of an error; empty: it has told none */
	const struct http1_field *fields;
	size_t field_count;
};

/* Append the text of ANSWER to OUT. HAS_BODY: there was a body, which is lost. */
void kept_write(struct buf *out, const struct kept_answer *answer, bool has_body);

/* Read TEXT; false where it is none of ours. Slices of OUT are TEXT's, its array is ARENA's. */
bool kept_read(struct arena *arena, struct str text, struct kept_answer *out);

/* Append the body in the place of an error's that was not kept: Fabric's ErrorResponse. */
void kept_error_body(struct buf *out, const struct kept_answer *answer, struct str request_id);

#endif
