/* jobgate quota: what each identity's quota permits, in numbers for people. */
#include "command/command.h"

#include <stdio.h>

#include "base/clock.h"
#include "command/arguments.h"
#include "gate/settings.h"
#include "rules/bucket.h"

/* Print a time that N jobs take, in the unit that reads best. */
static void
print_time(const char *what, double seconds)
{
	if (seconds < 1)
		printf("    %-28s %.0f ms\n", what, seconds * 1000);
	else if (seconds < 600)
		printf("    %-28s %.1f s\n", what, seconds);
	else
		printf("    %-28s %.1f min\n", what, seconds / 60);
}

/* Print what one identity's quota permits. */
static void
print_identity(const struct config_identity *identity, const struct quota *q)
{
	double rate = quota_rate_per_s(q);
	char all[48];

	snprintf(all, sizeof(all), "%lld jobs at once take", (long long)q->requests);
	printf("%.*s\n", STR_ARG(identity->name));
	printf("  stated by the upstream's owner\n");
	printf("    %-28s %lld in %g s\n", "requests (Q) in window (W)", (long long)identity->quota.requests,
	    (double)q->window_us / CLOCK_SECOND);
	printf("    %-28s %lld (%.1f %% of the quota)\n", "left to others (outside)", (long long)identity->quota.outside,
	    100 * (double)identity->quota.outside / (double)identity->quota.requests);
	printf("    %-28s %lld\n", "left to the gateway", (long long)q->requests);
	printf("    %-28s %g ms\n", "jitter (J)", (double)q->jitter_us / CLOCK_MS);
	printf("  derived\n");
	printf("    %-28s %.4g a second (one in %.4g s)\n", "rate", rate, 1 / rate);
	printf("    %-28s %lld at once after idleness\n", "burst", (long long)q->burst);
	printf("    %-28s %.1f %%\n", "share of the quota usable", 100 * quota_utilisation(q)
	    * (double)q->requests / (double)identity->quota.requests);
	print_time("wait after a whole burst", quota_seconds_after_burst(q));
	printf("  with a bucket that is full and nobody else waiting\n");
	print_time("10 jobs at once take", quota_seconds_for(q, 10));
	print_time("100 jobs at once take", quota_seconds_for(q, 100));
	if (q->requests != 10 && q->requests != 100)
		print_time(all, quota_seconds_for(q, q->requests));
	printf("  one of 3 instances, while the store is away\n");
	printf("    %-28s %lld in %g s\n", "its share", (long long)(q->requests / 3 < 2 ? 0 : q->requests / 3),
	    (double)q->window_us / CLOCK_SECOND);
	print_time("may be spent after", (double)(BUCKET_SILENT_US + q->token) / CLOCK_SECOND);
}

/* Load FILE and print its identities. */
static int
print_file(const char *file)
{
	struct buf errors = BUF_EMPTY;
	struct config *config = settings_load(file, &errors);
	int code = 0;

	if (config == NULL) {
		fwrite(errors.p, 1, errors.n, stderr);
		buf_fini(&errors);
		return 2;
	}
	buf_fini(&errors);
	for (size_t i = 0; i < config->identity_count; i++) {
		const struct config_identity *identity = &config->identities[i];
		struct quota quota;
		const char *why;

		if (quota_derive(&identity->quota, &quota, &why)) {
			print_identity(identity, &quota);
		} else {
			fprintf(stderr, "%s: identity %.*s: %s\n", file, STR_ARG(identity->name), why);
			code = 2;
		}
	}
	config_unref(&config);
	return fflush(stdout) == 0 ? code : 1;
}

int
command_quota(int argc, char **argv)
{
	static const char usage[] = "usage: jobgate quota [--config FILE]\n"
	    "Print what may be granted under each identity's quota (FILE: " COMMAND_CONFIG_DEFAULT ").\n";
	const char *file;

	switch (arguments_config(argc, argv, usage, &file)) {
	case ARGUMENTS_RUN:
		return print_file(file);
	case ARGUMENTS_HELP:
		return 0;
	case ARGUMENTS_WRONG:
		break;
	}
	return 2;
}
