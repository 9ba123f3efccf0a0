/* The upstream client through a proxy: what the proxy is told, what becomes of its answers, and who is verified. */
#include "upstream_fixture.h"

#include "io/proxy.h"
#include "proxy_double.h"

#define OK_RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* A fixture whose connections go through PROXY, which the test has set up. */
static void
proxied_init(struct fixture *f, struct proxy *proxy, const struct fixture_options *given)
{
	struct fixture_options o = *given;

	o.proxy = (struct upstream_proxy){ STR("127.0.0.1"), proxy->port, STR("Basic dXNlcjpwYXNz") };
	if (o.host == NULL)
		o.host = "only-the-proxy-knows.test";
	fixture_init(f, &o);
	proxy->target = f->peer.port;
	f->peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f->peer.step_count = 1;
}

/* The name of the peer is the proxy's to resolve; the proxy sees it, our credentials for it, and nothing of the request. */
static void
test_through_a_tunnel(void **state)
{
	(void)state;
	for (int drip = 0; drip < 2; drip++) {
		struct proxy proxy;
		struct fixture f;
		char expected[512];

		proxy_start(&proxy);
		proxy.drip = drip;
		proxied_init(&f, &proxy, &(struct fixture_options){ 0 });
		for (int i = 0; i < 3; i++) {
			struct exchange x;

			exchange_run(&f, &x, false, "POST", 3000);
			if (x.status != 200)
				fail_msg("%s: %s", upstream_reason_name(x.failure.reason), x.failure.detail);
			exchange_end(&x);
		}
		assert_int_equal(atomic_load(&proxy.tunnels), 1);	/* pooled like any other */
		snprintf(expected, sizeof(expected), "CONNECT only-the-proxy-knows.test:%u HTTP/1.1\r\nHost: only-the-proxy-knows.test:%u\r\n"
		    "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n", f.peer.port, f.peer.port);
		assert_string_equal(proxy.head, expected);
		pthread_mutex_lock(&f.peer.lock);
		assert_string_equal(f.peer.sni, NAME);
		pthread_mutex_unlock(&f.peer.lock);
		fixture_fini(&f);
		proxy_stop(&proxy);
	}
}

static const struct answer_row {
	const char *answer, *detail;
} answer_rows[] = {
	{ "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", "the proxy answered 407" },
	{ "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "the proxy answered 403" },
	{ "HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered 502" },
	{ "HTTP/1.1 100 Continue\r\n\r\n", "the proxy answered 100" },
	{ "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "the proxy answered 302" },
	{ "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "the proxy sent bytes before the handshake" },
	{ "220 mail.example ESMTP\r\n\r\n", "the proxy's answer is not HTTP/1.1" },
	{ "\x15\x03\x01\x00\x02\x02\x16\r\n\r\n", "the proxy's answer is not HTTP/1.1" },
	{ "HTTP/1.1 200 OK\r\nX: half", "the proxy closed the connection before its answer" },
	{ "", "the proxy closed the connection before its answer" },
};

/* No tunnel, no upstream: nothing was sent, and the log learns the proxy's status. */
static void
test_no_tunnel(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answer_rows) / sizeof(answer_rows[0]); i++) {
		struct proxy proxy;
		struct fixture f;
		struct exchange x;

		proxy_start(&proxy);
		proxy.answer = answer_rows[i].answer;
		proxied_init(&f, &proxy, &(struct fixture_options){ 0 });
		exchange_run(&f, &x, false, "POST", 5);
		assert_int_equal(x.failures, 1);
		assert_string_equal(x.failure.detail, answer_rows[i].detail);
		assert_int_equal(x.failure.reason, UPSTREAM_REASON_PROXY);
		assert_int_equal(x.failure.phase, UPSTREAM_TUNNEL);
		assert_int_equal(x.failure.written_bytes, 0);
		assert_int_equal(atomic_load(&f.peer.accepted), 0);
		exchange_end(&x);
		fixture_fini(&f);
		proxy_stop(&proxy);
	}
}

/* A proxy that says nothing, or is not there, costs the connect timeout at most. */
static void
test_a_silent_or_absent_proxy(void **state)
{
	(void)state;
	for (int absent = 0; absent < 2; absent++) {
		struct proxy proxy;
		struct fixture f;
		struct exchange x;

		proxy_start(&proxy);
		proxy.stall = true;
		proxied_init(&f, &proxy, &(struct fixture_options){ .connect_ms = 150 });
		if (absent)
			proxy_stop(&proxy);
		exchange_run(&f, &x, false, "POST", 5);
		assert_int_equal(x.failure.reason, absent ? UPSTREAM_REASON_REFUSED : UPSTREAM_REASON_TIMEOUT);
		assert_int_equal(x.failure.written_bytes, 0);
		if (!absent)
			assert_string_equal(x.failure.detail, "the proxy has given no tunnel in time");
		exchange_end(&x);
		fixture_fini(&f);
		if (!absent)
			proxy_stop(&proxy);
	}
}

/* A proxy that leads somewhere else is found out by the certificate, and gets no byte of the request. */
static void
test_the_peer_is_verified_through_the_tunnel(void **state)
{
	struct proxy proxy;
	struct fixture f;
	struct exchange x;

	(void)state;
	proxy_start(&proxy);
	proxied_init(&f, &proxy, &(struct fixture_options){ .server_name = "other.test" });
	exchange_run(&f, &x, false, "POST", 5);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_TLS);
	assert_int_equal(x.failure.phase, UPSTREAM_TLS);
	assert_int_equal(atomic_load(&f.peer.http_bytes), 0);
	exchange_end(&x);
	fixture_fini(&f);
	proxy_stop(&proxy);
}

/* A reload may bring a proxy or take it away; what is pooled on the old way is dropped. */
static void
test_the_proxy_may_change(void **state)
{
	const struct upstream_proxy none = { .port = 0 };
	struct proxy proxy;
	struct fixture f;
	struct exchange x;

	(void)state;
	proxy_start(&proxy);
	proxied_init(&f, &proxy, &(struct fixture_options){ .host = NAME });
	exchange_run(&f, &x, false, "GET", 0);
	exchange_end(&x);
	assert_int_equal(upstream_counts(f.upstream).idle, 1);
	upstream_set_proxy(f.upstream, &(struct upstream_proxy){ STR("127.0.0.1"), proxy.port, STR("Basic dXNlcjpwYXNz") });
	assert_int_equal(upstream_counts(f.upstream).idle, 1);
	upstream_set_proxy(f.upstream, &none);
	assert_int_equal(upstream_counts(f.upstream).idle, 0);
	exchange_run(&f, &x, false, "GET", 0);
	assert_int_equal(x.status, 200);
	assert_int_equal(atomic_load(&proxy.tunnels), 1);
	exchange_end(&x);
	fixture_fini(&f);
	proxy_stop(&proxy);
}

/* Nothing is told after a cancel while the proxy is asked. */
static void
test_cancel_while_asking(void **state)
{
	struct proxy proxy;
	struct fixture f;
	struct exchange x;

	(void)state;
	proxy_start(&proxy);
	proxy.stall = true;
	proxied_init(&f, &proxy, &(struct fixture_options){ 0 });
	exchange_begin(&f, &x, false, "GET", 0);
	fixture_run_ms(&f, 50);
	upstream_cancel(&x.call);
	fixture_run_ms(&f, 10);
	assert_int_equal(x.readies + x.responses + x.failures, 0);
	exchange_end(&x);
	fixture_fini(&f);
	proxy_stop(&proxy);
}

static const struct url_row {
	const char *url, *host;
	uint16_t port;
	const char *authorization;	/* NULL: the URL is refused */
} url_rows[] = {
	{ "", "", 0, "" },
	{ "http://proxy.test:3128", "proxy.test", 3128, "" },
	{ "http://proxy.test:3128/", "proxy.test", 3128, "" },
	{ "http://[::1]:8080", "::1", 8080, "" },
	{ "http://proxy.test", "proxy.test", 80, "" },
	{ "http://user:pass@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjpwYXNz" },
	{ "http://user:p%40%2Fss@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjpwQC9zcw==" },
	{ "https://proxy.test:3128", "", 0, NULL },
	{ "http://proxy.test:3128/path", "", 0, NULL },
	{ "http://proxy.test:0", "", 0, NULL },
	{ "http://proxy.test:70000", "", 0, NULL },
	{ "http://user:p%zz@proxy.test", "", 0, NULL },
	{ "proxy.test:3128", "", 0, NULL },
	{ "http://", "", 0, NULL },
	{ "http://a b", "", 0, NULL },
};

static void
test_proxy_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(url_rows) / sizeof(url_rows[0]); i++) {
		const struct url_row *row = &url_rows[i];
		struct buf authorization = BUF_EMPTY;
		struct upstream_proxy proxy;
		const char *why = proxy_from_url(str_from(row->url), &proxy, &authorization);

		if ((why == NULL) != (row->authorization != NULL))
			fail_msg("%s: %s", row->url, why ? why : "accepted");
		if (why == NULL) {
			assert_true(str_eq(proxy.host, str_from(row->host)));
			assert_int_equal(proxy.port, row->port);
			assert_true(str_eq(proxy.authorization, str_from(row->authorization)));
		}
		buf_wipe(&authorization);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_through_a_tunnel),
		cmocka_unit_test(test_no_tunnel),
		cmocka_unit_test(test_a_silent_or_absent_proxy),
		cmocka_unit_test(test_the_peer_is_verified_through_the_tunnel),
		cmocka_unit_test(test_the_proxy_may_change),
		cmocka_unit_test(test_cancel_while_asking),
		cmocka_unit_test(test_proxy_urls),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
