/*
 * The bucket: how many tokens a call may take now. The Redis script (rules/bucket_script) does the same sums;
 * tests/vectors/bucket.json holds both to them.
 *
 * Integers only (struct quota has the units), so no drift; every product stays below 2^53. A bucket never seen starts
 * empty: lost state can lose tokens, never mint them. A clock that steps back neither freezes nor mints: what was
 * counted stays, and counting goes on from the new time.
 */
#ifndef JOBGATE_RULES_BUCKET_H
#define JOBGATE_RULES_BUCKET_H

#include "rules/quota.h"

struct bucket {			/* all zero: never seen */
	int64_t token;		/* units of a token when LEVEL was written; 0 where never seen */
	int64_t level;		/* units there at LAST_US */
	int64_t last_us;
};

struct bucket_take {
	int64_t granted;	/* 0 to the count asked for */
	int64_t wait_us;	/* until one more token is there; 0 where one is there already */
	int64_t left;		/* tokens that could go at once, beyond those granted */
	int64_t refill;		/* units a microsecond at present; at least 1 */
	int64_t paused_us;	/* until the upstream's pause is over: nothing is granted before */
	int64_t epoch, total;	/* of returning tokens: which life of the bucket, and grants in it */
};

/* The longest pause: what an upstream's Retry-After may be worth. */
#define BUCKET_PAUSE_MAX_US INT64_C(300000000)

/*
 * Take up to COUNT (0: only look and start the filling) tokens at NOW_US. Under another quota than before, what is
 * there is kept as a share of a token, rounded down, within the new depth. PAUSED_US: for so long nothing is granted, and the
 * bucket is empty.
 */
struct bucket_take bucket_take(struct bucket *bucket, const struct quota *quota, int64_t count, int64_t paused_us,
    int64_t now_us);

/* The longest time that an empty bucket takes to be full, rounded up. */
int64_t bucket_full_us(const struct quota *quota);

/* The state as the script stores it, "LEVEL:LAST:TOKEN", and a NUL. */
#define BUCKET_TEXT_BYTES 64
void bucket_format(const struct bucket *bucket, char out[BUCKET_TEXT_BYTES]);

#endif
