/* rules/explain: what becomes of a request, and which rule decides, in words that name the configuration. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "rules/explain.h"

#define WS "11111111-aaaa-4aaa-8aaa-111111111111"
#define ITEM "22222222-bbbb-4bbb-8bbb-222222222222"
#define OTHER "33333333-cccc-4ccc-8ccc-333333333333"
#define JOBS "/v1/workspaces/" WS "/items/" ITEM "/jobs"

static struct config *config;
static struct buf out;

static int
setup(void **state)
{
	static const char text[] =
	    "{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"public_url\": \"https://gate/fabric\","
	    "\"upstream\": {\"url\": \"https://up\", \"quota\": {\"requests\": 200, \"window\": \"60s\"}},"
	    "\"rules\": [{\"name\": \"books\", \"job_types\": [\"RunNotebook\"], \"rate\": {\"requests\": 5, \"window\": \"60s\"}}],"
	    "\"callers\": [{\"name\": \"free\", \"keys\": [{\"sha256\": \"%064d\"}], \"other_routes\": \"read\","
	    "  \"rate\": {\"requests\": 9, \"window\": \"60s\"}},"
	    " {\"name\": \"bound\", \"keys\": [{\"sha256\": \"%063d1\"}], \"allow\": ["
	    "  {\"workspace\": \"" OTHER "\"}, {\"operations\": [\"read\"]}, {\"items\": [\"" OTHER "\"]},"
	    "  {\"job_types\": [\"Pipeline\"]}]},"
	    " {\"name\": \"shut\", \"keys\": [{\"sha256\": \"%063d2\"}], \"allow\": []}]}";
	struct buf json = BUF_EMPTY, errors = BUF_EMPTY;

	(void)state;
	buf_printf(&json, text, 0, 0, 0);
	config = config_parse(buf_str(&json), STR("f"), STR("."), &errors);
	if (config == NULL)
		fail_msg("%.*s", STR_ARG(buf_str(&errors)));
	buf_fini(&json);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	config_unref(&config);
	buf_fini(&out);
	return 0;
}

/* Explain and compare all lines. */
static void
check_explained(const char *caller, const char *method, const char *url, enum explain_verdict verdict, const char *lines)
{
	buf_clear(&out);
	assert_int_equal(explain(config, str_from(caller), str_from(method), str_from(url), &out), verdict);
	buf_add_char(&out, '\0');
	assert_string_equal(out.p, lines);
}

static void
test_permitted(void **state)
{
	(void)state;
	check_explained("free", "POST", "https://any:1" JOBS "/instances?beta=1&jobType=RunNotebook", EXPLAIN_PERMITTED,
	    "caller    callers[0] (\"free\"), identity default\n"
	    "request   run of job type RunNotebook (legacy URL), workspace " WS ", item " ITEM "\n"
	    "rule      callers[0] (\"free\") has no allow and may do everything\n"
	    "upstream  POST https://up" JOBS "/RunNotebook/instances?beta=1\n"
	    "limits    identity default, callers[0] (\"free\").rate, rules[0] (\"books\")\n"
	    "verdict   permitted\n");
	check_explained("bound", "GET", "/fabric" JOBS "/instances", EXPLAIN_PERMITTED,
	    "caller    callers[1] (\"bound\"), identity default\n"
	    "request   list, workspace " WS ", item " ITEM "\n"
	    "rule      callers[1] (\"bound\").allow[1] permits it\n"
	    "upstream  GET https://up" JOBS "/instances\n"
	    "limits    identity default\n"
	    "verdict   permitted\n");
	check_explained("free", "GET", "/v1/workspaces", EXPLAIN_PERMITTED,
	    "caller    callers[0] (\"free\"), identity default\n"
	    "request   other\n"
	    "rule      callers[0] (\"free\").other_routes permits it\n"
	    "upstream  GET https://up/v1/workspaces\n"
	    "limits    none: other routes are outside the quota\n"
	    "verdict   permitted\n");
}

static void
test_refused(void **state)
{
	(void)state;
	check_explained("bound", "POST", JOBS "/RunNotebook/instances", EXPLAIN_REFUSED,
	    "caller    callers[1] (\"bound\"), identity default\n"
	    "request   run of job type RunNotebook, workspace " WS ", item " ITEM "\n"
	    "rule      callers[1] (\"bound\").allow[0] does not cover it: workspace\n"
	    "rule      callers[1] (\"bound\").allow[1] does not cover it: operations\n"
	    "rule      callers[1] (\"bound\").allow[2] does not cover it: items\n"
	    "rule      callers[1] (\"bound\").allow[3] does not cover it: job_types\n"
	    "verdict   refused, 403 InsufficientPrivileges\n");
	check_explained("shut", "GET", JOBS "/instances", EXPLAIN_REFUSED,
	    "caller    callers[2] (\"shut\"), identity default\n"
	    "request   list, workspace " WS ", item " ITEM "\n"
	    "rule      callers[2] (\"shut\").allow is empty and permits nothing\n"
	    "verdict   refused, 403 InsufficientPrivileges\n");
	check_explained("free", "POST", "/v1/workspaces", EXPLAIN_REFUSED,
	    "caller    callers[0] (\"free\"), identity default\n"
	    "verdict   refused, 404 EntityNotFound: This is no route of the job scheduler; others pass only for callers whose "
	    "callers[].other_routes says so\n");
	check_explained("free", "PUT", JOBS "/instances", EXPLAIN_REFUSED,
	    "caller    callers[0] (\"free\"), identity default\n"
	    "verdict   refused, 405 JobgateMethodNotAllowed: The method is not allowed for this resource\n");
	check_explained("free", "GET", "/v1/%", EXPLAIN_REFUSED,
	    "caller    callers[0] (\"free\"), identity default\n"
	    "verdict   refused, 400 JobgateBadRequest: The path has a broken percent-encoding\n");
	check_explained("nobody", "GET", JOBS "/instances", EXPLAIN_NO_CALLER, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_permitted), cmocka_unit_test(test_refused) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
