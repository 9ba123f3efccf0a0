/*
 * An access token: what one identity calls the upstream with, as it was known at one moment. Immutable and counted, so that every worker has it
 * without a lock; the token is wiped with the last reference. Any thread.
 */
#ifndef JOBGATE_GATE_ACCESS_TOKEN_H
#define JOBGATE_GATE_ACCESS_TOKEN_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/str.h"

struct access_token {
	atomic_int refs;
	uint64_t version;		/* of the token: another one has another */
	uint64_t round;			/* grows whenever the endpoint was asked to the end, or will not be asked */
	bool refused;			/* there is none, and the endpoint has said no */
	struct mono_time expires;
	size_t n;			/* 0: there is no token */
	char value[];			/* of Authorization: "Bearer ey..." */
};

/* One with a copy of TOKEN (n 0: none) and one reference. */
struct access_token *access_token_new(struct str token, struct mono_time expires);
struct access_token *access_token_ref(struct access_token *access);
/* NULL is nothing. */
void access_token_unref(struct access_token **access);

/* Whether it may be sent at NOW: there is a token, and it lives for a few seconds more. NULL may not. */
bool access_token_is_usable(const struct access_token *access, struct mono_time now);

/* The token alone, and the whole value of Authorization. */
struct str access_token_text(const struct access_token *access);
struct str access_token_value(const struct access_token *access);

#endif
