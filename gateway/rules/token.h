/*
 * What a token endpoint is asked and what it answers (RFC 6749 4.4, 5; RFC 7523 2.2; fabric.md 7), and when it is asked again.
 *
 * Nothing here copies a token: slices point into the answer's body, whose owner wipes it.
 */
#ifndef JOBGATE_RULES_TOKEN_H
#define JOBGATE_RULES_TOKEN_H

#include "base/buf.h"
#include "base/clock.h"

/* A token that lives for less than this is not sent any more: it must still be good when the upstream looks at it. */
#define TOKEN_LEFT_MIN_US (5 * (int64_t)CLOCK_SECOND)

struct token_answer {
	struct str value;	/* access_token; a slice of the body: what a token is made of needs no escapes */
	int64_t life_us;	/* from now on */
};

/*
 * Read a 200: `access_token` of visible ASCII, `token_type` Bearer where given, and how long it lives, by `expires_in` (seconds) or else
 * `expires_on` (Unix time); numbers may be strings. NULL, or a sentence about what is wrong, without any of the body.
 */
const char *token_read(struct str body, struct wall_time now, struct token_answer *out);

/* Append what an error answer says of itself, "invalid_client (AADSTS7000215)"; nothing but words and numbers is believed. */
void token_read_error(struct str body, struct buf *out);

/* Whether STATUS says no to what was asked, so that asking again is of no use before somebody has mended it. */
bool token_is_refusal(int status);

/* Append NAME=VALUE, with & before it where OUT has something, as application/x-www-form-urlencoded; room is made once. */
void token_add_field(struct buf *out, struct str name, struct str value);

/* What SCOPE ("https://api.fabric.microsoft.com/.default") is called where a resource is asked for. */
struct str token_resource(struct str scope);

/*
 * After how long a token that lives LIFE_US is to be replaced: 5 to 6 minutes before its end, spread by RANDOM so that instances do not
 * ask together; at half of its life where that is later.
 */
int64_t token_refresh_us(int64_t life_us, uint32_t random);

/* How long to wait after FAILURES (1 or more) in a row: 1 s, doubling to 60 s, or as long as the endpoint said (0: nothing). */
int64_t token_backoff_us(unsigned failures, int64_t asked_us);

#endif
