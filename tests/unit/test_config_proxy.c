/* rules/config: upstream.proxy and what goes with it. */
#include "rules/config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config_change.h"

#define UPSTREAM(more) "{\"url\": \"https://api.example\", \"quota\": {\"requests\": 200, \"window\": \"60s\"}, " more "}"
#define SHAPE "must be http://[user:password@]host:port (the proxy is spoken to in the clear, what goes through it is not)"
#define EXCEPTION "must be a domain (\"corp.example\"), an address or a block of them (\"10.0.0.0/8\"), is "

static const struct { const char *upstream, *errors; } rows[] = {
	{ UPSTREAM("\"proxy\": \"http://proxy.example:3128\""), NULL },
	{ UPSTREAM("\"proxy\": \"http://u:p%40@[::1]:3128/\", \"no_proxy\": []"), NULL },
	{ UPSTREAM("\"proxy\": \"http://u@p:1\", \"proxy_password\": {\"env\": \"P\"}, \"no_proxy\": [\"corp.example\", \"10.0.0.0/8\"]"), NULL },
	{ UPSTREAM("\"private_link\": true"), NULL },
	{ UPSTREAM("\"proxy\": \"https://p:1\""), "upstream.proxy: " SHAPE },
	{ UPSTREAM("\"proxy\": \"http://u:hunter2@p:1/path\""), "upstream.proxy: " SHAPE },
	{ UPSTREAM("\"proxy\": \"http://u:hunter%@p:1\""), "upstream.proxy: must have user and password percent-encoded (%40 for @, %2F for /)" },
	{ UPSTREAM("\"proxy\": \"p:1\""), "upstream.proxy: must be a URL with scheme and host, as \"https://host:port\"" },
	{ UPSTREAM("\"proxy\": 1"), "upstream.proxy: must be a text, is 1" },
	{ UPSTREAM("\"proxy_password\": {\"env\": \"P\"}"), "upstream.proxy_password: needs a user in \"proxy\": http://user@host:port" },
	{ UPSTREAM("\"proxy\": \"http://p:1\", \"proxy_password\": {\"env\": \"P\"}"),
	    "upstream.proxy_password: needs a user in \"proxy\": http://user@host:port" },
	{ UPSTREAM("\"proxy\": \"http://u:x@p:1\", \"proxy_password\": {\"env\": \"P\"}"), "upstream.proxy_password: is given twice, here and in \"proxy\"" },
	{ UPSTREAM("\"no_proxy\": [\"*.corp.example\"]"), "upstream.no_proxy[0]: " EXCEPTION "\"*.corp.example\"" },
	{ UPSTREAM("\"no_proxy\": \"x\""), "upstream.no_proxy: must be a list, is \"x\"" },
	{ "{\"url\": \"https://127.0.0.1\", \"quota\": {\"requests\": 200, \"window\": \"60s\"}, \"private_link\": true}",
	    "upstream.private_link: needs a name in \"url\", before which the workspace's is put" },
};

static void
test_one_upstream_one_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = change(LEAST, "upstream", rows[i].upstream);
		struct buf errors = BUF_EMPTY, expected = BUF_EMPTY;
		struct config *config = config_parse(str_from(text), STR("f.json"), STR("/etc/jobgate"), &errors);

		if (rows[i].errors)
			buf_printf(&expected, "f.json: %s\n", rows[i].errors);
		if (!str_eq(buf_str(&errors), buf_str(&expected)) || (config == NULL) != (rows[i].errors != NULL))
			fail_msg("%s\n     got: %.*sexpected: %.*s", rows[i].upstream, STR_ARG(buf_str(&errors)), STR_ARG(buf_str(&expected)));
		config_unref(&config);
		buf_fini(&expected);
		buf_fini(&errors);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_upstream_one_sentence) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
