/* Which rates of the configuration's `rules` a request is counted on. */
#include "rules/limits.h"

#include "rules/policy.h"

_Static_assert(CONFIG_LIMITS_MAX <= 32, "each rule is a bit of a uint32_t");

/* Whether LIMIT is for IDENTITY and for what ROUTE asks. */
static bool
limit_applies(const struct config_limit *limit, size_t identity, const struct route *route)
{
	if (limit->identity_given && limit->identity != identity)
		return false;
	if (limit->match.job_type_count && route->job_type.p == NULL)
		return false;
	return policy_covers(&limit->match, route);
}

uint32_t
limits_match(const struct config *config, size_t identity, const struct route *route)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < config->rate_limit_count; i++)
		if (limit_applies(&config->rate_limits[i], identity, route))
			mask |= UINT32_C(1) << i;
	return mask;
}
