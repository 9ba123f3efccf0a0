/* The command line of fabricsim: one table of options. */
#include "sim_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: fabricsim --listen HOST:PORT --cert FILE --key FILE [option]...\n"
    "A simulator of the Microsoft Fabric Job Scheduler API for tests and demonstrations.\n"
    "\n"
    "  --listen HOST:PORT       port 0 takes a free one; it is printed when ready\n"
    "  --cert FILE, --key FILE  certificate chain and private key, PEM\n"
    "  --quota N/SECONDS        at most N requests in SECONDS for each Authorization value, then 429\n"
    "  --window fixed|sliding   how the quota is counted (fixed)\n"
    "  --phase SECONDS          the first fixed window ends so long after the start\n"
    "  --latency MS             from a request's last byte to its answer (0)\n"
    "  --job-seconds N          how long a job instance runs (5)\n"
    "  --retry-after SECONDS    of a 202 (60)\n"
    "  --page N                 instances in one page of a list (100)\n"
    "  --origin URL             in front of Location's path (https://api.fabric.microsoft.com)\n"
    "  --require-authorization  401 without an Authorization field\n"
    "  --revoked FILE           Authorization values that get 401, one a line; it is read at each request\n"
    "  --ledger FILE            append one JSON line for each request as it arrived\n"
    "  --fault NAME:RATE[:METHOD]  drop stall garbage half slow early-close close hints extra, or a status\n"
    "                           from 400 to 599; a request may also ask for one: X-Fabricsim-Fault: NAME,\n"
    "                           and for its own latency in milliseconds: X-Fabricsim-Latency: MS\n"
    "                           RATE is a share from 0 to 1, or @N: the Nth request alone\n"
    "  --fault-retry-after SECONDS  of a 429 or 503 by fault (2)\n"
    "  --seed N                 of ids and faults (by the clock)\n";

/* Say what is wrong with the command line and end. */
_Noreturn static void
options_fail(const char *name, const char *value)
{
	fprintf(stderr, "fabricsim: --%s: cannot use \"%s\"\n%s", name, value != NULL ? value : "", usage_text);
	exit(2);
}

/* Read a decimal number of at least LOW. */
static int64_t
options_number(const char *name, const char *value, int64_t low)
{
	char *end;
	long long n = strtoll(value, &end, 10);

	if (*value == '\0' || *end != '\0' || n < low)
		options_fail(name, value);
	return n;
}

/* Read seconds with a fraction as microseconds. */
static int64_t
options_seconds(const char *name, const char *value)
{
	char *end;
	double seconds = strtod(value, &end);

	if (*value == '\0' || *end != '\0' || !(seconds >= 0 && seconds < 1e9))
		options_fail(name, value);
	return (int64_t)(seconds * 1e6);
}

/* Read "N/SECONDS". */
static void
options_quota(struct sim_options *o, const char *value)
{
	const char *slash = strchr(value, '/');
	char *end;

	o->quota_requests = strtoll(value, &end, 10);
	if (slash == NULL || end != slash || o->quota_requests < 1)
		options_fail("quota", value);
	o->quota_window_us = options_seconds("quota", slash + 1);
	if (o->quota_window_us < 1)
		options_fail("quota", value);
}

/* Read "fixed" or "sliding". */
static void
options_window(struct sim_options *o, const char *value)
{
	if (strcmp(value, "fixed") != 0 && strcmp(value, "sliding") != 0)
		options_fail("window", value);
	o->sliding = strcmp(value, "sliding") == 0;
}

static const struct option option_table[] = {
	{ "listen", required_argument, NULL, 'l' }, { "cert", required_argument, NULL, 'c' },
	{ "key", required_argument, NULL, 'k' }, { "quota", required_argument, NULL, 'q' },
	{ "window", required_argument, NULL, 'w' }, { "phase", required_argument, NULL, 'p' },
	{ "latency", required_argument, NULL, 't' }, { "job-seconds", required_argument, NULL, 'j' },
	{ "retry-after", required_argument, NULL, 'r' }, { "page", required_argument, NULL, 'g' },
	{ "origin", required_argument, NULL, 'o' }, { "require-authorization", no_argument, NULL, 'a' },
	{ "revoked", required_argument, NULL, 'v' }, { "ledger", required_argument, NULL, 'L' }, { "fault", required_argument, NULL, 'f' },
	{ "fault-retry-after", required_argument, NULL, 'R' }, { "seed", required_argument, NULL, 's' },
	{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
};

/* Take the options that are numbers; false for another one. */
static bool
options_take_number(struct sim_options *o, int option, const char *name, const char *value)
{
	switch (option) {
	case 'p': o->phase_us = options_seconds(name, value); return true;
	case 't': o->latency_us = options_number(name, value, 0) * 1000; return true;
	case 'j': o->job_us = options_seconds(name, value); return true;
	case 'r': o->retry_after = options_number(name, value, 0); return true;
	case 'R': o->fault_retry_after = options_number(name, value, 0); return true;
	case 'g': o->page = options_number(name, value, 1); return true;
	case 's': o->seed = (uint64_t)options_number(name, value, 0); return true;
	default: return false;
	}
}

/* Take one option. */
static void
options_take(struct sim_options *o, int option, const char *name, const char *value)
{
	if (options_take_number(o, option, name, value))
		return;
	switch (option) {
	case 'l': o->listen = value; break;
	case 'c': o->cert = value; break;
	case 'k': o->key = value; break;
	case 'q': options_quota(o, value); break;
	case 'w': options_window(o, value); break;
	case 'o': o->origin = value; break;
	case 'a': o->require_authorization = true; break;
	case 'v': o->revoked = value; break;
	case 'L': o->ledger = value; break;
	case 'f':
		if (!sim_fault_add(&o->faults, value))
			options_fail(name, value);
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(0);
	default:
		fputs(usage_text, stderr);
		exit(2);
	}
}

/* Read the command line. */
void
sim_options_read(struct sim_options *o, int argc, char **argv)
{
	int option, at = 0;

	*o = (struct sim_options){ .origin = "https://api.fabric.microsoft.com", .job_us = 5000000, .retry_after = 60,
		.fault_retry_after = 2, .page = 100, .seed = (uint64_t)clock_now_wall().us };
	while ((option = getopt_long(argc, argv, "", option_table, &at)) != -1)
		options_take(o, option, option == '?' ? "" : option_table[at].name, optarg);
	if (optind < argc)
		options_fail("listen", argv[optind]);
	if (o->listen == NULL || o->cert == NULL || o->key == NULL) {
		fputs(usage_text, stderr);
		exit(2);
	}
	o->faults.random = o->seed;
}
