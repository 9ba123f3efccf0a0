/* rules/limits: which rules a request is counted on. */
#include "rules/limits.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define W1 "cfafbeb1-8037-4d0c-896e-a46fb27ff229"
#define W2 "11111111-8037-4d0c-896e-a46fb27ff229"
#define I1 "5b218778-e7a5-4d73-8187-f10824047715"
#define I2 "22222222-e7a5-4d73-8187-f10824047715"
#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The beginning of a rule. */
#define RULE(name) "{\"name\": \"" name "\", \"rate\": {\"requests\": 5, \"window\": \"1s\"}"

/* A configuration with the identities zero and one, and RULES. */
static struct config *
config_with(const char *rules)
{
	struct buf text = BUF_EMPTY, errors = BUF_EMPTY;
	struct config *config;

	buf_printf(&text, "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\","
	    "\"quota\": {\"requests\": 200, \"window\": \"60s\"}}, \"identities\": [{\"name\": \"zero\"}, {\"name\": \"one\"}],"
	    "\"callers\": [{\"name\": \"a\", \"identity\": \"zero\", \"keys\": [{\"sha256\": \"" HASH "\"}]}]%s}", rules);
	config = config_parse(buf_str(&text), STR("f"), STR("."), &errors);
	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	buf_fini(&text);
	buf_fini(&errors);
	return config;
}

/* The list of one rule with these keys. */
#define KEYS(keys) ", \"rules\": [" RULE("a") ", " keys "}]"

static const struct {
	const char *rules;
	size_t identity;
	enum operation operation;
	const char *workspace, *item, *job_type;
	uint32_t mask;
} rows[] = {
	/* none, and one for everything */
	{ "", 0, OPERATION_RUN, W1, I1, "X", 0 },
	{ ", \"rules\": []", 0, OPERATION_RUN, W1, I1, "X", 0 },
	{ ", \"rules\": [" RULE("a") "}]", 0, OPERATION_RUN, W1, I1, "X", 1 },
	{ ", \"rules\": [" RULE("a") "}]", 1, OPERATION_LIST, W2, I2, NULL, 1 },
	/* identities */
	{ KEYS("\"identity\": \"one\""), 0, OPERATION_RUN, W1, I1, "X", 0 },
	{ KEYS("\"identity\": \"one\""), 1, OPERATION_RUN, W1, I1, "X", 1 },
	{ KEYS("\"identity\": \"zero\""), 0, OPERATION_GET, W1, I1, NULL, 1 },
	/* workspace and items, whatever their case in the file */
	{ KEYS("\"workspace\": \"CFAFBEB1-8037-4D0C-896E-A46FB27FF229\""), 0, OPERATION_RUN, W1, I1, "X", 1 },
	{ KEYS("\"workspace\": \"" W1 "\""), 0, OPERATION_RUN, W2, I1, "X", 0 },
	{ KEYS("\"workspace\": \"*\""), 0, OPERATION_RUN, W2, I1, "X", 1 },
	{ KEYS("\"items\": [\"" I2 "\", \"" I1 "\"]"), 0, OPERATION_GET, W2, I1, NULL, 1 },
	{ KEYS("\"items\": [\"" I2 "\"]"), 0, OPERATION_RUN, W1, I1, "X", 0 },
	{ KEYS("\"workspace\": \"" W1 "\", \"items\": [\"" I1 "\"]"), 0, OPERATION_RUN, W1, I2, "X", 0 },
	/* job types without case; operations without one are not of that type */
	{ KEYS("\"job_types\": [\"Pipeline\", \"RunNotebook\"]"), 0, OPERATION_RUN, W1, I1, "runnotebook", 1 },
	{ KEYS("\"job_types\": [\"RunNotebook\"]"), 0, OPERATION_RUN, W1, I1, "RunNotebook2", 0 },
	{ KEYS("\"job_types\": [\"RunNotebook\"]"), 0, OPERATION_GET, W1, I1, NULL, 0 },
	{ KEYS("\"job_types\": [\"RunNotebook\"]"), 0, OPERATION_LIST, W1, I1, NULL, 0 },
	{ KEYS("\"job_types\": [\"RunNotebook\"]"), 0, OPERATION_CANCEL, W1, I1, NULL, 0 },
	{ KEYS("\"job_types\": [\"RunNotebook\"]"), 0, OPERATION_SCHEDULE_LIST, W1, I1, "RunNotebook", 1 },
	{ KEYS("\"job_types\": \"*\""), 0, OPERATION_GET, W1, I1, NULL, 1 },
	/* operations */
	{ KEYS("\"operations\": [\"run\"]"), 0, OPERATION_RUN, W1, I1, "X", 1 },
	{ KEYS("\"operations\": [\"run\"]"), 0, OPERATION_SCHEDULE_CREATE, W1, I1, "X", 0 },
	{ KEYS("\"operations\": [\"read\", \"cancel\"]"), 0, OPERATION_CANCEL, W1, I1, NULL, 1 },
	{ KEYS("\"operations\": [\"read\"]"), 0, OPERATION_SCHEDULE_GET, W1, I1, "X", 1 },
	/* each that applies has its bit */
	{ ", \"rules\": [" RULE("a") ", \"identity\": \"one\"}, " RULE("b") ", \"workspace\": \"" W1 "\"}, "
	    RULE("c") ", \"operations\": [\"read\"]}, " RULE("d") "}]", 0, OPERATION_RUN, W1, I1, "X", 1u << 1 | 1u << 3 },
};

static void
test_rules_apply_to_what_they_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route route = { .operation = rows[i].operation, .workspace = str_from(rows[i].workspace),
			.item = str_from(rows[i].item), .job_type = str_from(rows[i].job_type) };
		struct config *config = config_with(rows[i].rules);
		uint32_t mask = limits_match(config, rows[i].identity, &route);

		if (mask != rows[i].mask)
			fail_msg("row %zu: %s: %#x is not %#x", i, rows[i].rules, mask, rows[i].mask);
		config_unref(&config);
	}
}

/* The thirty-second rule is the highest bit. */
static void
test_the_most_rules_fill_the_mask(void **state)
{
	struct route route = { .operation = OPERATION_RUN, .workspace = STR(W1), .item = STR(I1), .job_type = STR("X") };
	struct buf rules = BUF_EMPTY;
	struct config *config;

	(void)state;
	buf_add_z(&rules, ", \"rules\": [");
	for (int i = 0; i < CONFIG_LIMITS_MAX; i++)
		buf_printf(&rules, "%s{\"name\": \"r%d\", \"rate\": {\"requests\": 5, \"window\": \"1s\"}}", i ? ", " : "", i);
	buf_add(&rules, STR("]\0"));
	config = config_with(rules.p);
	assert_int_equal(limits_match(config, 1, &route), UINT32_MAX);
	config_unref(&config);
	buf_fini(&rules);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_apply_to_what_they_name),
		cmocka_unit_test(test_the_most_rules_fill_the_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
