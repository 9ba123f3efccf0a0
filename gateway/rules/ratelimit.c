/* RateLimit-Policy and RateLimit of a refusal. */
#include "rules/ratelimit.h"

#include "base/clock.h"
#include "rules/quota.h"

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

/* The calls that every window has under constant demand: one less than is stated; either bucket is back after W + J + L. */
static int64_t
sure_calls(const struct config_quota *quota)
{
	int64_t calls = quota->requests - quota->outside - 1;

	/* At most 10 million times 3,600 million: below 2^63. */
	calls = calls * quota->window_us / (quota->window_us + quota->jitter_us + QUOTA_LATENESS_US);
	return calls > 0 ? calls : 0;
}

void
ratelimit_policy(struct buf *out, const struct config_identity *identity)
{
	add_string(out, identity->name);
	/* Whole seconds: a longer window has no fewer calls. */
	buf_add(out, STR(";q="));
	buf_add_int(out, sure_calls(&identity->quota));
	buf_add(out, STR(";w="));
	buf_add_int(out, (identity->quota.window_us + CLOCK_SECOND - 1) / CLOCK_SECOND);
}

void
ratelimit_exhausted(struct buf *out, const struct config_identity *identity, int64_t after_s)
{
	add_string(out, identity->name);
	buf_add(out, STR(";r=0;t="));
	buf_add_int(out, after_s > 0 ? after_s : 1);
}
