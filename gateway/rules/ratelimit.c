/* RateLimit-Policy and RateLimit of a refusal. */
#include "rules/ratelimit.h"

#include <inttypes.h>

#define SECOND_US INT64_C(1000000)

/* Either kind of bucket comes back within the window, the jitter, and so much (rules/quota: a due token's lateness). */
#define LATE_US INT64_C(20000)

/* Append a String (RFC 8941 3.3.3). Names have only characters that it may hold; what has not is left out. */
static void
add_string(struct buf *out, struct str s)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~')
			continue;
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, s.p[i]);
	}
	buf_add_char(out, '"');
}

/* The calls that every window has under constant demand: one less than is stated, spread over a little more than it. */
static int64_t
sure_calls(const struct config_quota *quota)
{
	int64_t calls = quota->requests - quota->outside - 1;

	/* At most 10 million times 3,600 million: below 2^63. */
	calls = calls * quota->window_us / (quota->window_us + quota->jitter_us + LATE_US);
	return calls > 0 ? calls : 0;
}

void
ratelimit_policy(struct buf *out, const struct config_identity *identity)
{
	add_string(out, identity->name);
	/* Whole seconds: a longer window has no fewer calls. */
	buf_printf(out, ";q=%" PRId64 ";w=%" PRId64, sure_calls(&identity->quota),
	    (identity->quota.window_us + SECOND_US - 1) / SECOND_US);
}

void
ratelimit_exhausted(struct buf *out, const struct config_identity *identity, int64_t after_s)
{
	add_string(out, identity->name);
	buf_printf(out, ";r=0;t=%" PRId64, after_s > 0 ? after_s : 1);
}
