/* The way out: which hosts go through the proxy, its URL with the password, and private links' names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rules/proxy.h"

static struct str exceptions[] = { STR_INIT("corp.example"), STR_INIT(".dotted.example"), STR_INIT("10.0.0.0/8"), STR_INIT("192.0.2.7"),
	STR_INIT("2001:db8::/32") };

static void
test_which_hosts(void **state)
{
	static const struct { const char *host; bool proxied; } rows[] = {
		{ "api.fabric.microsoft.com", true }, { "corp.example", false }, { "CORP.EXAMPLE", false }, { "a.b.corp.example", false },
		{ "notcorp.example", true }, { "corp.example.org", true }, { "dotted.example", false }, { "x.dotted.example", false },
		{ "10.1.2.3", false }, { "11.1.2.3", true }, { "192.0.2.7", false }, { "192.0.2.8", true }, { "2001:db8::5", false },
		{ "2001:db9::5", true }, { "10.example", true },
	};
	struct config config = { .upstream = { .proxy = STR("http://proxy:3128"), .no_proxy = exceptions, .no_proxy_count = 5 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (proxy_is_for(&config, str_from(rows[i].host)) != rows[i].proxied)
			fail_msg("%s", rows[i].host);
	config.upstream.proxy.n = 0;
	assert_false(proxy_is_for(&config, STR("api.fabric.microsoft.com")));
}

static void
test_what_an_exception_is(void **state)
{
	static const char *const good[] = { "a", "corp.example", ".corp.example", "10.0.0.0/8", "10.1.2.3", "::1", "a_b-c.d1.e" };
	static const char *const bad[] = { "", ".", "*", "*.corp.example", "a..b", "10.1.2.3/8", "10.1.2", "a b", "http://x", "x:80", "a.", "x/8" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!proxy_is_exception(str_from(good[i])))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (proxy_is_exception(str_from(bad[i])))
			fail_msg("%s", bad[i]);
}

static void
test_urls(void **state)
{
	static const struct { const char *proxy, *password, *url; } rows[] = {
		{ "", "", "" }, { "http://p:1", "", "http://p:1" }, { "http://u:x@p:1", "", "http://u:x@p:1" },
		{ "http://u@p:1", "a b/@%\xff", "http://u:a%20b%2F%40%25%FF@p:1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config config = { .upstream = { .proxy = str_from(rows[i].proxy) } };
		struct buf out = BUF_EMPTY;

		proxy_add_url(&config, str_from(rows[i].password), &out);
		assert_true(str_eq(buf_str(&out), str_from(rows[i].url)));
		buf_fini(&out);
	}
}

static void
test_private_links(void **state)
{
	struct config config = { .upstream = { .private_link = true } };
	struct buf out = BUF_EMPTY;

	(void)state;
	proxy_add_private_prefix(&config, STR("4b218778-e7a5-4d73-8187-f10824047715"), &out);
	assert_true(str_eq(buf_str(&out), STR("4b218778e7a54d738187f10824047715.z4b.w.")));
	buf_clear(&out);
	proxy_add_private_prefix(&config, (struct str){ NULL, 0 }, &out);
	config.upstream.private_link = false;
	proxy_add_private_prefix(&config, STR("4b218778-e7a5-4d73-8187-f10824047715"), &out);
	assert_int_equal(out.n, 0);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_hosts),
		cmocka_unit_test(test_what_an_exception_is),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_private_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
