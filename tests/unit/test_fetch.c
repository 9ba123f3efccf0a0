/* Fetches: plain and over TLS, answers and failures, proxies, cancels at every moment, and that an end is told once. */
#include "upstream_fixture.h"

#include "io/fetch.h"
#include "io/url.h"
#include "proxy_double.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define OK_RESPONSE OK_HEAD "Content-Length: 2\r\n\r\nok"

struct fetched {
	struct fixture *fixture;
	struct fetch *fetch;
	int told, status;
	bool cancel_inside;
	struct buf body, error;
};

static struct fetched *fetched_now;

static void
on_fetched(void *arg, const struct fetch_result *result)
{
	struct fetched *d = arg;

	d->told++;
	d->status = result->status;
	assert_true((result->status == 0) == (result->error != NULL));
	assert_true((result->status == 0) == (result->head == NULL));
	if (d->cancel_inside)
		fetch_cancel(&d->fetch);
	buf_add(&d->body, result->body);	/* valid until we return, also after the cancel */
	buf_add_z(&d->error, result->error ? result->error : "");
}

static bool
until_fetched(struct fixture *f)
{
	(void)f;
	return fetched_now->told > 0;
}

/* The request that the tests make, of URL. */
static struct fetch_request
fetched_request(const char *url)
{
	static const struct http1_field fields[] = { { STR_INIT("Metadata"), STR_INIT("true") }, { STR_INIT("Accept"), STR_INIT("application/json") } };

	return (struct fetch_request){ .method = STR("POST"), .url = str_from(url), .fields = fields, .field_count = 2,
		.body = STR("grant_type=x"), .ca_file = str_from(fixture_ca_file), .timeout_us = 5 * CLOCK_SECOND, .body_bytes_max = 1000 };
}

static void
fetched_begin(struct fixture *f, struct fetched *d, const struct fetch_request *request)
{
	*d = (struct fetched){ .fixture = f };
	fetched_now = d;
	d->fetch = fetch_start(f->loop, f->resolver, request, on_fetched, d);
	assert_int_equal(d->told, 0);
}

static void
fetched_end(struct fetched *d)
{
	fetch_cancel(&d->fetch);
	fixture_run_ms(d->fixture, 2);
	assert_true(d->told <= 1);
	buf_fini(&d->body);
	buf_fini(&d->error);
}

/* A whole fetch of SCHEME://HOST:port/token. */
static void
fetched_run(struct fixture *f, struct fetched *d, const char *scheme, const char *host)
{
	char url[128];
	struct fetch_request request;

	snprintf(url, sizeof(url), "%s://%s:%u/token?x=1", scheme, host, f->peer.port);
	request = fetched_request(url);
	fetched_begin(f, d, &request);
	fixture_run(f, until_fetched);
}

static const struct answer_row {
	const char *name;
	struct peer_step step;
	int status;
	const char *body, *error;
} answer_rows[] = {
	{ "length", { .response = OK_RESPONSE }, 200, "ok", "" },
	{ "chunks", { .response = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" }, 200, "ok", "" },
	{ "until close", { .response = OK_HEAD "\r\nok", .end = PEER_CLEAN }, 200, "ok", "" },
	{ "dripping", { .response = OK_RESPONSE, .drip_ms = 1 }, 200, "ok", "" },
	{ "an error", { .response = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno" }, 401, "no", "" },
	{ "a redirect", { .response = "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n" }, 302, "", "" },
	{ "too large", { .response = OK_HEAD "Content-Length: 1001\r\n\r\n" }, 0, "", "read: " },
	{ "garbage", { .response = "220 mail\r\n" }, 0, "", "read: " },
	{ "closed", { .response = NULL, .end = PEER_CLEAN }, 0, "", "wait: " },
	{ "reset", { .response = NULL, .end = PEER_RESET }, 0, "", "wait: " },
	{ "half", { .response = OK_HEAD "Content-Length: 9\r\n\r\nhalf", .end = PEER_CLEAN }, 0, "", "read: " },
};

static void
test_answers_plain_and_tls(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(answer_rows) / sizeof(answer_rows[0]); i++) {
		const struct answer_row *row = &answer_rows[i / 2];
		bool plain = i % 2;
		struct fixture f;
		struct fetched d;

		fixture_init(&f, &(struct fixture_options){ .plain = plain });
		f.peer.steps[0] = row->step;
		f.peer.step_count = 1;
		fetched_run(&f, &d, plain ? "http" : "https", NAME);
		buf_add_char(&d.error, '\0');
		if (d.status != row->status || !str_eq(buf_str(&d.body), str_from(row->body)))
			fail_msg("%s, %s: status %d, %s", row->name, plain ? "plain" : "TLS", d.status, d.error.p);
		if (strncmp(d.error.p, row->error, strlen(row->error)) != 0)
			fail_msg("%s: %s", row->name, d.error.p);
		fetched_end(&d);
		fixture_fini(&f);
	}
}

static void
test_what_is_sent(void **state)
{
	struct fixture f;
	struct fetched d;
	char expected[512];

	(void)state;
	fixture_init(&f, &(struct fixture_options){ .plain = true });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	fetched_run(&f, &d, "http", "127.0.0.1");
	snprintf(expected, sizeof(expected), "POST /token?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: jobgate/" JOBGATE_VERSION
	    "\r\nConnection: close\r\nMetadata: true\r\nAccept: application/json\r\nContent-Length: 12\r\n\r\n", f.peer.port);
	pthread_mutex_lock(&f.peer.lock);
	assert_string_equal(f.peer.last_head, expected);
	pthread_mutex_unlock(&f.peer.lock);
	fetched_end(&d);
	fixture_fini(&f);
}

/* Another's authorities are believed in place of a file's, and the name is the URL's all the same. */
static void
test_borrowed_trust(void **state)
{
	static const char *const names[] = { NAME, "second.test" };
	struct buf error = BUF_EMPTY;
	struct tls_client *trust = tls_client_new(fixture_ca_file, "localhost", &error);

	(void)state;
	assert_non_null(trust);
	for (size_t i = 0; i < 2; i++) {
		struct certs_identity identity = fixture_leaf("DNS:" NAME, "serverAuth", -60, 3600);
		struct fixture f;
		struct fetched d;
		struct fetch_request request;
		char url[64];

		fixture_init(&f, &(struct fixture_options){ .identity = &identity });
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		f.peer.step_count = 1;
		snprintf(url, sizeof(url), "https://%s:%u/", names[i], f.peer.port);
		request = fetched_request(url);
		request.ca_file = STR("/nowhere/ca.pem");
		request.trust = trust;
		fetched_begin(&f, &d, &request);
		fixture_run(&f, until_fetched);
		assert_int_equal(d.status, i == 1 ? 0 : 200);	/* the certificate is not second.test's */
		fetched_end(&d);
		fixture_fini(&f);
		certs_drop(&identity);
	}
	tls_client_free(&trust);
}

/* A peer that is not who the URL names gets no byte; plain http to a TLS server and the reverse are failures. */
static void
test_the_wrong_peer(void **state)
{
	struct fixture f;
	struct fetched d;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	fetched_run(&f, &d, "https", "localhost.invalid.test");
	assert_int_equal(d.status, 0);
	fetched_end(&d);
	fetched_run(&f, &d, "http", NAME);
	assert_int_equal(d.status, 0);
	fetched_end(&d);
	assert_int_equal(atomic_load(&f.peer.http_bytes), 0);
	fixture_fini(&f);
	fixture_init(&f, &(struct fixture_options){ .plain = true });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	fetched_run(&f, &d, "https", NAME);
	assert_int_equal(d.status, 0);
	fetched_end(&d);
	fixture_fini(&f);
}

/* What cannot begin is told too, and not inside fetch_start. */
static void
test_what_cannot_begin(void **state)
{
	static const struct { const char *url, *ca_file, *proxy, *error; } rows[] = {
		{ "ftp://x/", NULL, "", "begins neither" },
		{ "https://user:secret@x/", NULL, "", "has a user in it" },
		{ "https://x:99999/", NULL, "", "host or port" },
		{ "https://x/#y", NULL, "", "fragment" },
		{ "https://" NAME "/", "/nowhere/ca.pem", "", "/nowhere/ca.pem" },
		{ "https://" NAME "/", NULL, "socks5://proxy.test", "begins neither" },
	};
	struct fixture f;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct fetch_request request = fetched_request(rows[i / 2].url);
		struct fetched d;

		if (rows[i / 2].ca_file)
			request.ca_file = str_from(rows[i / 2].ca_file);
		request.proxy = str_from(rows[i / 2].proxy);
		fetched_begin(&f, &d, &request);
		d.cancel_inside = i % 2;
		fixture_run(&f, until_fetched);
		buf_add_char(&d.error, '\0');
		if (d.status != 0 || strstr(d.error.p, rows[i / 2].error) == NULL || strstr(d.error.p, "secret") != NULL)
			fail_msg("%s: %s", rows[i / 2].url, d.error.p);
		fetched_end(&d);
	}
	fixture_fini(&f);
}

static void
test_a_silent_endpoint(void **state)
{
	struct fixture f;
	struct fetched d;
	struct fetch_request request;
	char url[64];

	(void)state;
	fixture_init(&f, &(struct fixture_options){ .plain = true });
	f.peer.steps[0] = (struct peer_step){ .stall = true };
	f.peer.step_count = 1;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", f.peer.port);
	request = fetched_request(url);
	request.timeout_us = 150 * CLOCK_MS;
	fetched_begin(&f, &d, &request);
	fixture_run(&f, until_fetched);
	assert_true(str_eq(buf_str(&d.error), STR("wait: no response in time")));
	fetched_end(&d);
	fixture_fini(&f);
}

/* https goes through the proxy, http never does. */
static void
test_through_a_proxy(void **state)
{
	(void)state;
	for (int plain = 0; plain < 2; plain++) {
		struct proxy proxy;
		struct fixture f;
		struct fetched d;
		struct fetch_request request;
		char url[64], proxy_url[64];

		proxy_start(&proxy);
		fixture_init(&f, &(struct fixture_options){ .plain = plain });
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		f.peer.step_count = 1;
		proxy.target = f.peer.port;
		snprintf(url, sizeof(url), "%s://" NAME ":%u/", plain ? "http" : "https", f.peer.port);
		snprintf(proxy_url, sizeof(proxy_url), "http://user:pass@127.0.0.1:%u", proxy.port);
		request = fetched_request(url);
		request.proxy = str_from(proxy_url);
		fetched_begin(&f, &d, &request);
		fixture_run(&f, until_fetched);
		assert_int_equal(d.status, 200);
		assert_int_equal(atomic_load(&proxy.tunnels), plain ? 0 : 1);
		fetched_end(&d);
		fixture_fini(&f);
		proxy_stop(&proxy);
	}
}

/* Cancelled at once, under way, inside its own end, and after it. */
static void
test_cancels(void **state)
{
	static const int after_ms[] = { 0, 1, 5, 30 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct fixture f;
		struct fetched d;
		struct fetch_request request;
		char url[64];

		fixture_init(&f, &(struct fixture_options){ 0 });
		f.peer.steps[0] = (struct peer_step){ .stall = true };
		f.peer.step_count = 1;
		snprintf(url, sizeof(url), "https://" NAME ":%u/", f.peer.port);
		request = fetched_request(url);
		fetched_begin(&f, &d, &request);
		if (after_ms[i])
			fixture_run_ms(&f, after_ms[i]);
		fetch_cancel(&d.fetch);
		fixture_run_ms(&f, 5);
		assert_int_equal(d.told, 0);
		fetched_end(&d);
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		fetched_begin(&f, &d, &request);
		d.cancel_inside = true;
		fixture_run(&f, until_fetched);
		assert_true(str_eq(buf_str(&d.body), STR("ok")));
		fetched_end(&d);
		fixture_fini(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_plain_and_tls),
		cmocka_unit_test(test_what_is_sent),
		cmocka_unit_test(test_borrowed_trust),
		cmocka_unit_test(test_the_wrong_peer),
		cmocka_unit_test(test_what_cannot_begin),
		cmocka_unit_test(test_a_silent_endpoint),
		cmocka_unit_test(test_through_a_proxy),
		cmocka_unit_test(test_cancels),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
