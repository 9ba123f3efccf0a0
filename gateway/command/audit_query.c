/* The arguments of `jobgate audit search`. */
#include "command/audit_query.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define AUDIT_SEARCH_USAGE \
	"usage: jobgate audit search [OPTION]... DIR...\n" \
	"Print one line for each trigger in the audit journals of the directories, merged by time: its\n" \
	"intent and outcome joined, or its refusal. Copies of other instances' journals are welcome;\n" \
	"gateways may be writing. What was read, and what is missing, is told on standard error.\n\n" \
	"  --caller NAME  --identity NAME  --key ID  --peer ADDRESS\n" \
	"  --workspace UUID  --item UUID  --job-type TYPE\n" \
	"  --operation run|cancel|schedule_create|schedule_update|schedule_delete\n" \
	"  --result accepted|rejected|unknown|refused|failed|cancelled\n" \
	"  --request-id UUID  --client-request-id ID  --instance-id UUID  --body SHA256\n" \
	"  --since TIME  --until TIME   2026-11-01, 2026-11-01T08:00:00+01:00, or so long ago: 30d, 12h, 15m\n" \
	"  --json  --csv   all members, for programs\n" \
	"  --follow        go on with what is written from now on, until it is interrupted\n\n" \
	"Exit code 0: all was read; 1: something could not be read or is missing; 2: usage.\n"

static const struct { const char *flag; enum audit_member member; } flags[] = {
	{ "--caller", AUDIT_CALLER }, { "--identity", AUDIT_IDENTITY }, { "--key", AUDIT_KEY }, { "--peer", AUDIT_PEER },
	{ "--workspace", AUDIT_WORKSPACE }, { "--item", AUDIT_ITEM }, { "--job-type", AUDIT_JOB_TYPE },
	{ "--operation", AUDIT_OPERATION }, { "--result", AUDIT_RESULT }, { "--request-id", AUDIT_REQUEST_ID },
	{ "--client-request-id", AUDIT_CLIENT_REQUEST_ID }, { "--instance-id", AUDIT_INSTANCE_ID }, { "--body", AUDIT_BODY_SHA256 },
};

/* "30d": so long before now; false where it is no such text. */
static bool
query_ago(struct str text, struct wall_time *out)
{
	static const struct { char unit; int64_t seconds; } units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
	uint64_t n;

	if (text.n < 2 || !str_to_u64(str_sub(text, 0, text.n - 1), &n) || n > 36500)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (text.p[text.n - 1] == units[i].unit) {
			out->us = clock_now_wall().us - (int64_t)n * units[i].seconds * CLOCK_SECOND;
			return true;
		}
	return false;
}

bool
audit_query_time(struct str text, struct wall_time *out)
{
	char midnight[32];

	if (query_ago(text, out) || clock_parse_date_time(text, out))
		return true;
	if (text.n != 10)
		return false;
	snprintf(midnight, sizeof(midnight), "%.*sT00:00:00Z", STR_ARG(text));
	return clock_parse_date_time(str_from(midnight), out);
}

/* Take FLAG's VALUE; false where there is no such flag or it cannot be that. */
static bool
query_value(struct audit_query *query, struct str flag, const char *value)
{
	if (str_eq(flag, STR("--since")))
		return audit_query_time(str_from(value), &query->filter.since);
	if (str_eq(flag, STR("--until")))
		return audit_query_time(str_from(value), &query->filter.until);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (str_eq(flag, str_from(flags[i].flag))) {
			query->filter.values[flags[i].member] = str_from(value);
			return *value != '\0';
		}
	return false;
}

/* Take a flag without a value; false where it is none. */
static bool
query_switch(struct audit_query *query, const char *argument)
{
	if (strcmp(argument, "--json") == 0)
		query->format = AUDIT_JSON;
	else if (strcmp(argument, "--csv") == 0)
		query->format = AUDIT_CSV;
	else if (strcmp(argument, "--follow") == 0)
		query->follow = true;
	else
		return false;
	return true;
}

/* Take the argument at *I and the value behind it; false where it is wrong. */
static bool
query_argument(struct audit_query *query, int argc, char **argv, int *i)
{
	const char *equals = strchr(argv[*i], '=');

	if (query_switch(query, argv[*i]))
		return true;
	if (equals)
		return query_value(query, (struct str){ argv[*i], (size_t)(equals - argv[*i]) }, equals + 1);
	if (*i + 1 >= argc)
		return false;
	++*i;
	return query_value(query, str_from(argv[*i - 1]), argv[*i]);
}

enum arguments
audit_query_read(int argc, char **argv, struct audit_query *query)
{
	*query = (struct audit_query){ .filter = { .until = { INT64_MAX } }, .directories = argv };
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(AUDIT_SEARCH_USAGE, stdout);
			return ARGUMENTS_HELP;
		}
		if (argv[i][0] != '-') {
			query->directories[query->directory_count++] = argv[i];
		} else if (!query_argument(query, argc, argv, &i)) {
			fprintf(stderr, "jobgate audit search: %s: wrong, or a value is missing or wrong\n\n", argv[i]);
			fputs(AUDIT_SEARCH_USAGE, stderr);
			return ARGUMENTS_WRONG;
		}
	}
	if (query->directory_count > 0)
		return ARGUMENTS_RUN;
	fputs(AUDIT_SEARCH_USAGE, stderr);
	return ARGUMENTS_WRONG;
}
