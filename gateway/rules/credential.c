/* Credentials of callers: whether one may be used, and which will soon be none. */
#include "rules/credential.h"

/* More than this is a page of warnings that nobody reads. */
#define CREDENTIAL_WARNINGS_MAX 20

struct str
credential_failure_name(enum credential_failure failure)
{
	static const struct str names[CREDENTIAL_FAILURES] = { STR_INIT(""), STR_INIT("missing"), STR_INIT("unknown"),
		STR_INIT("expired"), STR_INIT("network"), STR_INIT("conflict"), STR_INIT("invalid"), STR_INIT("certificate") };

	return names[failure];
}

enum credential_failure
credential_judge_key(const struct config_key *key, struct wall_time now, const struct network_address *from)
{
	if (key->expires.us && now.us >= key->expires.us)
		return CREDENTIAL_EXPIRED;
	if (key->networks.count && !network_any_holds(&key->networks, from))
		return CREDENTIAL_NETWORK;
	return CREDENTIAL_GOOD;
}

/* Append the sentence about a key that ends soon or has ended. */
static void
warn_key(const struct config_caller *caller, const struct config_key *key, struct wall_time now, struct buf *out)
{
	int64_t left_us = key->expires.us - now.us, day_us = INT64_C(86400) * CLOCK_SECOND;
	char when[CLOCK_RFC3339_BYTES];

	clock_format_rfc3339(key->expires, when);
	buf_printf(out, "key \"%.*s\" of caller \"%.*s\" ", STR_ARG(key->id), STR_ARG(caller->name));
	if (left_us <= 0)
		buf_printf(out, "has expired (%.19sZ)\n", when);
	else if (left_us < 2 * day_us)
		buf_printf(out, "expires in %lld hours (%.19sZ)\n", (long long)(left_us / day_us * 24 + left_us % day_us * 24 / day_us),
		    when);
	else
		buf_printf(out, "expires in %lld days (%.19sZ)\n", (long long)(left_us / day_us), when);
}

void
credential_warn_expiry(const struct config *config, struct wall_time now, struct buf *out)
{
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		for (size_t k = 0; k < config->callers[i].key_count; k++) {
			const struct config_key *key = &config->callers[i].keys[k];

			if (key->expires.us == 0 || key->expires.us - now.us > CREDENTIAL_WARN_US)
				continue;
			if (count++ < CREDENTIAL_WARNINGS_MAX)
				warn_key(&config->callers[i], key, now, out);
		}
	if (count > CREDENTIAL_WARNINGS_MAX)
		buf_printf(out, "%zu more keys have expired or do so within 30 days\n", count - CREDENTIAL_WARNINGS_MAX);
}
