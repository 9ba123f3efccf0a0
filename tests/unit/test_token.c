/* Token endpoints: answers whole, odd and broken, what errors say, forms, and when to ask again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rules/token.h"

#define NOW_S 1800000000LL
static const struct wall_time now = { NOW_S * CLOCK_SECOND };

static const struct answer_row {
	const char *body;
	int64_t life_s;		/* 0: refused */
} answer_rows[] = {
	{ "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"ext_expires_in\":3599,\"access_token\":\"ey.J0-_~+/=\"}", 3599 },
	/* IMDS: all numbers are strings */
	{ "{\"access_token\":\"ey.J0-_~+/=\",\"client_id\":\"x\",\"expires_in\":\"86399\",\"expires_on\":\"1800086399\",\"resource\":\"r\","
	  "\"token_type\":\"Bearer\"}", 86399 },
	/* App Service: expires_on alone */
	{ "{\"access_token\":\"ey.J0-_~+/=\",\"expires_on\":\"1800003600\",\"token_type\":\"bearer\"}", 3600 },
	{ "{\"access_token\":\"ey.J0-_~+/=\",\"expires_on\":1800003600}", 3600 },
	{ " {\"x\":{\"access_token\":\"no\"},\"y\":[[1],{}],\"access_token\":\"ey.J0-_~+/=\",\"expires_in\":60} ", 60 },
	{ "{\"access_token\":\"ey\",\"access_token\":\"ey\",\"expires_in\":60}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":5}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":0}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":-60}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":1e3}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":99999999999999999999}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":31708800}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_on\":1800000000}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_on\":18446744073709551615}", 0 },
	{ "{\"access_token\":\"ey\",\"expires_on\":\"11/05/2030 15:18:31 +00:00\"}", 0 },
	{ "{\"access_token\":\"ey\"}", 0 },
	{ "{\"access_token\":\"\",\"expires_in\":60}", 0 },
	{ "{\"access_token\":\"a b\",\"expires_in\":60}", 0 },
	{ "{\"access_token\":\"a\\nX: y\",\"expires_in\":60}", 0 },
	{ "{\"access_token\":\"a\\u000d\",\"expires_in\":60}", 0 },
	{ "{\"access_token\":\"\xc3\xa9\",\"expires_in\":60}", 0 },
	{ "{\"access_token\":null,\"expires_in\":60}", 0 },
	{ "{\"access_token\":\"ey\",\"token_type\":\"pop\",\"expires_in\":60}", 0 },
	{ "[{\"access_token\":\"ey\",\"expires_in\":60}]", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":60", 0 },
	{ "{\"access_token\":\"ey\",\"expires_in\":60}x", 0 },
	{ "<html>captive portal</html>", 0 },
	{ "", 0 },
};

static void
test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answer_rows) / sizeof(answer_rows[0]); i++) {
		struct token_answer answer;
		const char *why = token_read(str_from(answer_rows[i].body), now, &answer);

		if ((why == NULL) != (answer_rows[i].life_s > 0))
			fail_msg("%s: %s", answer_rows[i].body, why ? why : "accepted");
		if (why == NULL) {
			assert_true(answer.life_us == answer_rows[i].life_s * CLOCK_SECOND);
			assert_true(str_eq(answer.value, STR("ey.J0-_~+/=")));
		} else {
			assert_null(strstr(why, "ey"));
		}
	}
}

static void
test_errors(void **state)
{
	static const struct { const char *body, *text; } rows[] = {
		{ "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid secret 'hunter2'.\",\"error_codes\":[7000215,2]}",
		    "invalid_client (AADSTS7000215)" },
		{ "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}", "invalid_request" },
		{ "{\"error\":{\"code\":\"x\"}}", "" },
		{ "{\"error\":\"hunter2 is wrong\"}", "" },
		{ "{\"error\":\"invalid_client\",\"error_codes\":[\"hunter2\"]}", "invalid_client" },
		{ "{\"error\":\"invalid_client\",\"error_codes\":[]}", "invalid_client" },
		{ "{\"error\":\"invalid_client\",\"error_codes\":[[7],8]}", "invalid_client" },
		{ "hunter2", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_EMPTY;

		token_read_error(str_from(rows[i].body), &out);
		if (!str_eq(buf_str(&out), str_from(rows[i].text)))
			fail_msg("%s: %.*s", rows[i].body, STR_ARG(buf_str(&out)));
		buf_fini(&out);
	}
	assert_true(token_is_refusal(400) && token_is_refusal(401) && token_is_refusal(403));
	assert_false(token_is_refusal(404) || token_is_refusal(410) || token_is_refusal(429) || token_is_refusal(500));
}

static void
test_forms(void **state)
{
	struct buf out = BUF_EMPTY;

	(void)state;
	token_add_field(&out, STR("grant_type"), STR("client_credentials"));
	token_add_field(&out, STR("client_secret"), STR("a~B+c/d=&e f%\xff"));
	token_add_field(&out, STR("empty"), STR(""));
	assert_true(str_eq(buf_str(&out),
	    STR("grant_type=client_credentials&client_secret=a~B%2Bc%2Fd%3D%26e%20f%25%FF&empty=")));
	buf_fini(&out);
	assert_true(str_eq(token_resource(STR("https://api.fabric.microsoft.com/.default")), STR("https://api.fabric.microsoft.com")));
	assert_true(str_eq(token_resource(STR("/.default")), STR("/.default")));
	assert_true(str_eq(token_resource(STR("api://x")), STR("api://x")));
}

static void
test_when(void **state)
{
	const int64_t s = CLOCK_SECOND;

	(void)state;
	assert_true(token_refresh_us(3600 * s, 0) == 3300 * s);
	assert_true(token_refresh_us(3600 * s, 59999999) == 3600 * s - 359999999);
	for (uint32_t random = 0; random < 4000000000u; random += 123456789)
		assert_true(token_refresh_us(3600 * s, random) > 3239 * s && token_refresh_us(3600 * s, random) <= 3300 * s);
	assert_true(token_refresh_us(60 * s, 7) == 30 * s);
	assert_true(token_refresh_us(600 * s, 7) == 300 * s);
	assert_true(token_backoff_us(1, 0) == 1 * s);
	assert_true(token_backoff_us(2, 0) == 2 * s);
	assert_true(token_backoff_us(6, 0) == 32 * s);
	assert_true(token_backoff_us(7, 0) == 60 * s);
	assert_true(token_backoff_us(4000000000u, 0) == 60 * s);
	assert_true(token_backoff_us(2, 90 * s) == 90 * s);
	assert_true(token_backoff_us(7, 5 * s) == 60 * s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
