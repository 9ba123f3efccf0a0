/* Location and continuationUri: what is rewritten, and above all what is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "rules/location.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ID "f2d65699-dd22-4889-980c-15226deb0e1b"
#define ITEM "/v1/workspaces/4b218778-e7a5-4d73-8187-f10824047715/items/" \
	"431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7/jobs/instances"

static const struct location_rule plain = { STR_INIT("https://api.fabric.microsoft.com"),
    STR_INIT("https://gate.example"), { "", 0 } };
static const struct location_rule with_path = { STR_INIT("https://api.fabric.microsoft.com"),
    STR_INIT("https://gate.example:8443"),
	STR_INIT("/fabric") };
static const struct location_rule with_port = { STR_INIT("https://127.0.0.1:9443"), STR_INIT("http://gate"), { "",
    0 } };
static const struct location_rule with_443 = { STR_INIT("https://API.fabric.microsoft.com:443"),
    STR_INIT("https://g"), { "", 0 } };
static const struct location_rule ipv6 = { STR_INIT("https://[::1]:9443"), STR_INIT("https://g"), { "", 0 } };
static const struct location_rule ipv6_plain = { STR_INIT("https://[::443]"), STR_INIT("https://g"), { "", 0 } };
static const struct location_rule none = { { "", 0 }, { "", 0 }, { "", 0 } };

/* Only the upstream's own origin is replaced; NULL: the value stays, and stays the same pointer. */
static void
test_rewrite(void **state)
{
	static const struct { const struct location_rule *rule; const char *value, *expect; } cases[] = {
		{ &plain, "https://api.fabric.microsoft.com" ITEM "/" ID, "https://gate.example" ITEM "/" ID },
		{ &plain, "https://api.fabric.microsoft.com" ITEM "?jobType=Execute",
		    "https://gate.example" ITEM "?jobType=Execute" },
		{ &plain, "https://api.fabric.microsoft.com", "https://gate.example" },
		{ &plain, "https://api.fabric.microsoft.com/", "https://gate.example/" },
		{ &plain, "https://api.fabric.microsoft.com?a=b", "https://gate.example?a=b" },
		{ &plain, "HTTPS://API.Fabric.Microsoft.COM/V1/x", "https://gate.example/V1/x" },
		{ &plain, "https://api.fabric.microsoft.com:443/v1/x", "https://gate.example/v1/x" },
		{ &plain, "https://api.fabric.microsoft.com:/v1/x", "https://gate.example/v1/x" },
		{ &plain, "https://api.fabric.microsoft.com/v1/x#part", "https://gate.example/v1/x#part" },
		{ &plain, "https://api.fabric.microsoft.com/v1/%2e%2e/?u=https://api.fabric.microsoft.com/",
		    "https://gate.example/v1/%2e%2e/?u=https://api.fabric.microsoft.com/" },
		{ &plain, "https://api.fabric.microsoft.com.evil.com/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com@evil/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com:443@evil/v1/x", NULL },
		{ &plain, "https://user@api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "https://user:443@api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com\\@evil/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com#@evil/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com./v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com:4430/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com:0443/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com:443:443/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.com:80/v1/x", NULL },
		{ &plain, "http://api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "https:/api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "https:///api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, " https://api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "//api.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "https://wabi-west-europe-redirect.analysis.windows.net/v1/x", NULL },
		{ &plain, "https://xapi.fabric.microsoft.com/v1/x", NULL },
		{ &plain, "https://api.fabric.microsoft.co/v1/x", NULL },
		{ &plain, "https://", NULL }, { &plain, "", NULL }, { &plain, "/v1/x", NULL }, { &plain, "v1/x", NULL },
		{ &with_path, "https://api.fabric.microsoft.com/v1/x", "https://gate.example:8443/fabric/v1/x" },
		{ &with_path, "/v1/x", "/fabric/v1/x" }, { &with_path, "/v1", NULL }, { &with_path, "/v10/x", NULL },
		{ &with_path, "//v1/x", NULL }, { &with_path, "instances/x", NULL }, { &with_path, "/fabric/v1/x",
		    NULL },
		{ &with_port, "https://127.0.0.1:9443/v1/x", "http://gate/v1/x" }, { &with_port,
		    "https://127.0.0.1/v1/x", NULL },
		{ &with_port, "https://127.0.0.1:94430/v1/x", NULL },
		{ &with_443, "https://api.fabric.microsoft.com/v1/x", "https://g/v1/x" },
		{ &ipv6, "https://[::1]:9443/v1/x", "https://g/v1/x" }, { &ipv6, "https://[::1]/v1/x", NULL },
		{ &ipv6_plain, "https://[::443]/v1/x", "https://g/v1/x" }, { &ipv6_plain, "https://[::443]:443/v1/x",
		    "https://g/v1/x" },
		{ &ipv6_plain, "https://[:]/v1/x", NULL }, { &ipv6_plain, "https://[::443/v1/x", NULL },
		{ &none, "https:///v1/x", NULL }, { &none, "/v1/x", NULL },
	};
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct str value = str_from(cases[i].value), got = location_rewrite(&arena, value, cases[i].rule);

		if (cases[i].expect ? !str_eq(got, str_from(cases[i].expect)) : got.p != value.p || got.n != value.n)
			fail_msg("%s became %.*s", cases[i].value, STR_ARG(got));
	}
	assert_null(location_rewrite(&arena, (struct str){ NULL, 0 }, &with_path).p);
	arena_fini(&arena);
}

/* The id of what was started: of Location, else of x-ms-job-id, else not known. */
static void
test_instance_id(void **state)
{
	static const char other[] = "d6b0e7ce-06c1-4fae-bed5-0f59e3d79b2d";
	static const struct { const char *location, *job_id, *expect; } cases[] = {
		{ "https://api.fabric.microsoft.com" ITEM "/" ID, other, ID },
		{ "https://x/jobs/instances/F2D65699-DD22-4889-980C-15226DEB0E1B", NULL, ID },
		{ "https://x/jobs/Instances/" ID "?a=/b", other, ID }, { "https://x/jobs/instances/" ID "#x/y",
		    other, ID },
		{ "/v1/jobs/DefaultJob/schedules/" ID, NULL, ID }, { "instances/" ID, NULL, ID },
		{ "https://api.fabric.microsoft.com" ITEM "?jobType=Execute", other, other },
		{ "https://api.fabric.microsoft.com" ITEM "?jobType=Execute", NULL, NULL },
		{ "https://x/v1/items/" ID, other, other }, { "https://x/v1/items/" ID, NULL, NULL },
		{ "https://x/jobs/instances/" ID "/", NULL, NULL }, { "https://x/jobs/instances/x" ID, NULL, NULL },
		{ "https://x/jobs/instances/{" ID "}", NULL, NULL }, { "https://x/?a=/instances/" ID, NULL, NULL },
		{ ID, NULL, NULL }, { "/" ID, NULL, NULL }, { "", "D6B0E7CE-06C1-4FAE-BED5-0F59E3D79B2D", other },
		    { "", "nonsense", NULL },
		{ "/", NULL, NULL }, { "///", NULL, NULL }, { NULL, other, other }, { NULL, NULL, NULL },
	};
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct str got = location_instance_id(&arena, str_from(cases[i].location), str_from(cases[i].job_id));

		if (cases[i].expect ? !str_eq(got, str_from(cases[i].expect)) : got.p != NULL)
			fail_msg("case %zu: %.*s", i, STR_ARG(got));
	}
	arena_fini(&arena);
}

/* In a list only the string of the top-level continuationUri changes; NULL: the body stays the same pointer. */
static void
test_rewrite_list(void **state)
{
	static const struct { const char *body, *expect; } cases[] = {
		{ "{ \"value\" : [ {\"id\":1.10} ],\r\n \"continuationToken\":\"a+/b\" ,\"continuationUri\" : "
		    "\"https://api.fabric.microsoft.com/v1/x?continuationToken=a%2B\" } \n",
		    "{ \"value\" : [ {\"id\":1.10} ],\r\n \"continuationToken\":\"a+/b\" ,\"continuationUri\" : "
		    "\"https://gate.example:8443/fabric/v1/x?continuationToken=a%2B\" } \n" },
		{ "{\"continuationUri\":\"https:\\/\\/api.fabric.microsoft.com\\/v1\\/x\"}",
		    "{\"continuationUri\":\"https://gate.example:8443/fabric/v1/x\"}" },
		{ "{\"continuationUr\\u0069\":\"\\u0068ttps://api.fabric.microsoft.com/\\u0022\\\\\"}",
		    "{\"continuationUr\\u0069\":\"https://gate.example:8443/fabric/\\\"\\\\\"}" },
		{ "{\"continuationUri\":\"/v1/x\"}", "{\"continuationUri\":\"/fabric/v1/x\"}" },
		{ "{\"continuationUri\":\"https://api.fabric.microsoft.com/1\",\"a\":2,\"continuationUri\":\"https://"
		    "api.fabric.microsoft.com/3\"}",
		    "{\"continuationUri\":\"https://gate.example:8443/fabric/1\",\"a\":2,"
		    "\"continuationUri\":\"https://gate.example:8443/fabric/3\"}" },
		{ "{\"continuationUri\":\"https://else.where/1\",\"continuationUri\":\"https://api.fabric.microsoft.c"
		    "om/3\"}",
		    "{\"continuationUri\":\"https://else.where/1\",\"continuationUri\":\"https://gate.example:8443/fa"
		    "bric/3\"}" },
		{ "{\"continuationUri\":\"https://else.where/v1/x\"}", NULL }, { "{\"continuationUri\":null}", NULL },
		{ "{\"continuationUri\":[\"https://api.fabric.microsoft.com/1\"]}", NULL },
		    { "{\"continuationUri\":\"\"}", NULL },
		{ "{\"value\":[{\"continuationUri\":\"https://api.fabric.microsoft.com/1\"}]}", NULL },
		{ "{\"a\":{\"continuationUri\":\"https://api.fabric.microsoft.com/1\"}}", NULL },
		{ "{\"continuationuri\":\"https://api.fabric.microsoft.com/1\"}", NULL },
		{ "{\"continuationToken\":\"https://api.fabric.microsoft.com/1\"}", NULL },
		{ "[{\"continuationUri\":\"https://api.fabric.microsoft.com/1\"}]", NULL },
		{ "{\"continuationUri\":\"https://api.fabric.microsoft.com/1\"", NULL },
		{ "{\"continuationUri\":\"https://api.fabric.microsoft.com/1\"}}", NULL },
		{ "{\"continuationUri\":\"https://api.fabric.microsoft.com/1\",}", NULL },
		{ "{\"continuationUri\":\"https://api.fabric.microsoft.com/1\",\"a\":[{]}", NULL },
		{ "{}", NULL }, { "", NULL }, { "<html>", NULL }, { "\x1f\x8b\x08", NULL },
	};
	struct arena arena;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct str body = str_from(cases[i].body), got = location_rewrite_list(&arena, body, &with_path);

		if (cases[i].expect ? !str_eq(got, str_from(cases[i].expect)) : got.p != body.p || got.n != body.n)
			fail_msg("%s became %.*s", cases[i].body, STR_ARG(got));
	}
	arena_fini(&arena);
}

/* A list of 2 MB whose link stands at the end, or stands there ten thousand times, costs milliseconds. */
static void
test_list_cost(void **state)
{
	(void)state;
	for (int many = 0; many < 2; many++) {
		struct buf b = BUF_EMPTY;
		struct arena arena;
		struct mono_time start;
		struct str got;

		buf_add_z(&b, "{\"value\":[");
		while (!many && b.n < 2000000)
			buf_add_z(&b, "{\"id\":\"" ID "\",\"failureReason\":null},");
		buf_add_z(&b, "{}]");
		for (int i = 0; i < (many ? 10000 : 1); i++)
			buf_add_z(&b, ",\"continuationUri\":\"https:\\/\\/api.fabric.microsoft.com\\/v1\\/workspaces"
			    "\"");
		buf_add_char(&b, '}');
		arena_init(&arena);
		start = clock_now_mono();
		got = location_rewrite_list(&arena, buf_str(&b), &plain);
		print_message("%zu bytes: %.1f ms\n", b.n, (double)mono_since(clock_now_mono(), start) / CLOCK_MS);
		assert_true(got.p != b.p && mono_since(clock_now_mono(), start) < 2 * CLOCK_SECOND);
		assert_int_equal(str_find(got, STR("microsoft")), got.n);
		arena_fini(&arena);
		buf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rewrite),
		cmocka_unit_test(test_instance_id),
		cmocka_unit_test(test_rewrite_list),
		cmocka_unit_test(test_list_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
