/* The bucket's arithmetic, line by line as in the script. */
#include "rules/bucket.h"

#include <inttypes.h>
#include <stdio.h>

/* A / B rounded up, for A >= 0. */
static int64_t
ceil_divide(int64_t a, int64_t b)
{
	return (a + b - 1) / b;
}

int64_t
bucket_full_us(const struct quota *quota)
{
	return ceil_divide(quota->depth, quota->refill);
}

/* Express the level in this quota's units; one unit less than the quotient, so that rounding never mints. */
static void
bucket_convert(struct bucket *bucket, const struct quota *quota)
{
	double share = (double)bucket->level / (double)bucket->token * (double)quota->token;

	/* The script has doubles only: the same operations in the same order give the same bits here. */
	bucket->level = share >= (double)quota->depth + 1 ? quota->depth : (int64_t)share - 1;
	if (bucket->level < 0)
		bucket->level = 0;
	bucket->token = quota->token;
}

/* Add what has come back since the last look. */
static void
bucket_refill(struct bucket *bucket, const struct quota *quota, int64_t now_us)
{
	int64_t elapsed_us = now_us - bucket->last_us;

	if (elapsed_us >= bucket_full_us(quota))
		bucket->level = quota->depth;	/* also keeps the product small after a long idleness */
	else if (elapsed_us > 0)
		bucket->level += elapsed_us * quota->refill;
	if (bucket->level > quota->depth)
		bucket->level = quota->depth;
	bucket->last_us = now_us;
}

struct bucket_take
bucket_take(struct bucket *bucket, const struct quota *quota, int64_t count, int64_t paused_us, int64_t now_us)
{
	struct bucket_take take = { .refill = quota->refill, .paused_us = paused_us };

	if (bucket->token == 0)
		*bucket = (struct bucket){ .token = quota->token, .level = 0, .last_us = now_us };
	if (bucket->token != quota->token)
		bucket_convert(bucket, quota);
	bucket_refill(bucket, quota, now_us);
	if (paused_us > 0)
		bucket->level = 0;
	take.granted = bucket->level / quota->token;
	if (take.granted > count)
		take.granted = count;
	bucket->level -= take.granted * quota->token;
	if (bucket->level < quota->token)
		take.wait_us = ceil_divide(quota->token - bucket->level, quota->refill);
	if (take.wait_us < paused_us)
		take.wait_us = paused_us;
	take.left = bucket->level / quota->token;
	return take;
}

void
bucket_format(const struct bucket *bucket, char out[BUCKET_TEXT_BYTES])
{
	snprintf(out, BUCKET_TEXT_BYTES, "%" PRId64 ":%" PRId64 ":%" PRId64, bucket->level, bucket->last_us,
	    bucket->token);
}
