/* Rates: what a caller or a rule may take besides the quota of the identity. */
#include "rules/config_private.h"

/* As a quota's; where a rate is above it, the quota is the limit. */
#define RATE_REQUESTS_MAX 10000000
/* What is allowed a day, beyond the hour that an upstream's quota has at most. */
#define RATE_WINDOW_MAX CONFIG_DAY
/* A million that go at once is no limit any more. */
#define RATE_BURST_MAX 1000000
/* A bucket's level is counted in burst * window units: these, and as much again while they are added up, fit a double. */
#define RATE_UNITS_MAX (INT64_C(1) << 52)

static const struct config_rule rate_rules[] = {
	CONFIG_NEED("requests", config_read_int64, struct config_rate, requests, 1, RATE_REQUESTS_MAX),
	CONFIG_NEED("window", config_read_duration, struct config_rate, window_us, CONFIG_SECOND, RATE_WINDOW_MAX),
	CONFIG_KEY("burst", config_read_int64, struct config_rate, burst, 1, RATE_BURST_MAX),
	CONFIG_END,
};

/* Give RATE its burst where none is stated, and refuse one that cannot be counted. */
static void
finish_rate(struct config_reader *r, struct config_rate *rate)
{
	int64_t most = RATE_UNITS_MAX / rate->window_us;
	bool given = rate->burst != 0;

	if (!given)
		rate->burst = rate->requests < RATE_BURST_MAX ? rate->requests : RATE_BURST_MAX;
	if (rate->burst > most)
		config_error(r, "burst must be at most %lld with so long a window (more cannot be counted exactly), is %lld%s",
		    (long long)most, (long long)rate->burst, given ? "" : ", that of requests, where it is left out");
}

void
config_read_rate(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	size_t errors = r->error_count;

	(void)rule;
	config_read_object(r, value, rate_rules, out);
	if (r->error_count == errors)
		finish_rate(r, out);
}
