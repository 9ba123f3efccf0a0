/*
 * Opening connections to the upstream: names, addresses, peers that are not who they should be, and cancels in each
 * phase.
 */
#include <fcntl.h>

#include "upstream_fixture.h"

#define OK_RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

enum identity_kind { GOOD, OTHER_NAME, OTHER_AUTHORITY, EXPIRED, NOT_YET, CLIENT_ONLY, SELF_SIGNED, WILDCARD, PARTIAL_WILDCARD, NAME_IN_CN };

/* A server's identity of one kind. */
static struct certs_identity
identity_make(enum identity_kind kind)
{
	struct certs_identity other, made;

	switch (kind) {
	case OTHER_NAME:
		return fixture_leaf("DNS:other.test", "serverAuth", -60, 3600);
	case EXPIRED:
		return fixture_leaf("DNS:" NAME, "serverAuth", -3600, -60);
	case NOT_YET:
		return fixture_leaf("DNS:" NAME, "serverAuth", 3600, 7200);
	case CLIENT_ONLY:
		return fixture_leaf("DNS:" NAME, "clientAuth", -60, 3600);
	case WILDCARD:
		return fixture_leaf("DNS:*.upstream.test", "serverAuth", -60, 3600);
	case PARTIAL_WILDCARD:
		return fixture_leaf("DNS:a*.upstream.test", "serverAuth", -60, 3600);
	case NAME_IN_CN:
		return fixture_leaf("IP:127.0.0.1", "serverAuth", -60, 3600);
	case SELF_SIGNED:
		return certs_make(NULL, &(struct certs_request){ NAME, "DNS:" NAME, NULL, "serverAuth", -60, 3600 });
	case OTHER_AUTHORITY:
		other = certs_authority("another authority");
		made = certs_make(&other, &(struct certs_request){ NAME, "DNS:" NAME, NULL, "serverAuth", -60, 3600 });
		certs_drop(&other);
		return made;
	case GOOD:
		break;
	}
	return fixture_leaf("DNS:" NAME ",IP:127.0.0.1", "serverAuth", -60, 3600);
}

static const struct peer_row {
	const char *name;
	enum identity_kind kind;
	const char *server_name;
	const char *detail;	/* part of the reason; NULL where the peer is the right one */
} peer_rows[] = {
	{ "right name", GOOD, NAME, NULL },
	{ "right name in capitals", GOOD, "UPSTREAM.TEST", NULL },
	{ "right address", GOOD, "127.0.0.1", NULL },
	{ "wrong address", GOOD, "127.0.0.9", "IP address mismatch" },
	{ "wrong name", OTHER_NAME, NAME, "hostname mismatch" },
	{ "name only in CN", NAME_IN_CN, NAME, "hostname mismatch" },	/* RFC 9525 6.3: the CN names nobody */
	{ "another authority", OTHER_AUTHORITY, NAME, "unable to get local issuer" },
	{ "self-signed", SELF_SIGNED, NAME, "self-signed" },
	{ "expired", EXPIRED, NAME, "expired" },
	{ "not yet valid", NOT_YET, NAME, "not yet valid" },
	{ "a client's certificate", CLIENT_ONLY, NAME, "purpose" },
	{ "wildcard", WILDCARD, "a.upstream.test", NULL },
	{ "wildcard, two labels", WILDCARD, "a.b.upstream.test", "hostname mismatch" },
	{ "partial wildcard", PARTIAL_WILDCARD, "abc.upstream.test", "hostname mismatch" },
};

/* To a peer that is not who it should be not one byte of HTTP is sent. */
static void
test_who_the_peer_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(peer_rows) / sizeof(peer_rows[0]); i++) {
		const struct peer_row *row = &peer_rows[i / 2];
		struct certs_identity identity = identity_make(row->kind);
		struct fixture f;
		struct exchange x;

		fixture_init(&f, &(struct fixture_options){ .identity = &identity, .server_name = row->server_name,
		    .max_version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION });
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		f.peer.step_count = 1;
		exchange_run(&f, &x, false, "POST", 100);
		if ((row->detail == NULL) != (x.status == 200))
			fail_msg("%s: status %d: %s", row->name, x.status, x.failure.detail);
		if (row->detail != NULL) {
			if (strcasestr(x.failure.detail, row->detail) == NULL)
				fail_msg("%s: %s", row->name, x.failure.detail);
			assert_int_equal(x.failure.phase, UPSTREAM_TLS);
			assert_int_equal(x.failure.reason, UPSTREAM_REASON_TLS);
			assert_int_equal(x.failure.written_bytes, 0);
			assert_int_equal(x.readies, 0);
		}
		exchange_end(&x);
		fixture_fini(&f);
		if (row->detail != NULL)
			assert_int_equal(atomic_load(&f.peer.http_bytes), 0);
		certs_drop(&identity);
	}
}

/* A server that only speaks TLS 1.1. */
static void
test_old_versions_are_refused(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ .max_version = TLS1_1_VERSION });
	SSL_CTX_set_security_level(f.peer.context, 0);
	f.peer.step_count = 1;
	exchange_run(&f, &x, false, "GET", 0);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_TLS);
	assert_int_equal(x.failure.written_bytes, 0);
	exchange_end(&x);
	fixture_fini(&f);
}

/* Choose h2, whatever the client offers. */
static int
on_alpn_h2(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned int in_n, void *arg)
{
	(void)ssl;
	(void)in;
	(void)in_n;
	(void)arg;
	*out = (const unsigned char *)"h2";
	*n = 2;
	return SSL_TLSEXT_ERR_OK;
}

static void
test_another_protocol_is_refused(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	SSL_CTX_set_alpn_select_cb(f.peer.context, on_alpn_h2, NULL);
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	exchange_run(&f, &x, false, "GET", 0);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_TLS);
	assert_int_equal(atomic_load(&f.peer.http_bytes), 0);
	exchange_end(&x);
	fixture_fini(&f);
}

/* A port of 127.0.0.1 on which nobody listens. */
static uint16_t
unused_port(void)
{
	uint16_t port;

	close(peer_listen(&port));
	return port;
}

static void
test_nobody_there(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ .port = unused_port() });
	exchange_run(&f, &x, false, "GET", 0);
	assert_int_equal(x.failure.phase, UPSTREAM_CONNECT);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_REFUSED);
	assert_string_equal(x.failure.detail, "Connection refused");
	exchange_end(&x);
	fixture_fini(&f);
	fixture_init(&f, &(struct fixture_options){ .host = "nobody.test" });
	exchange_run(&f, &x, false, "GET", 0);
	assert_int_equal(x.failure.phase, UPSTREAM_RESOLVE);
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_RESOLVE);
	exchange_end(&x);
	fixture_fini(&f);
}

/* A listener on 127.0.0.3:PORT whose backlog is full: SYNs are dropped, connects hang. */
struct hole { int listener, fillers[3]; };

static struct hole
hole_make(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct hole hole = { .listener = socket(AF_INET, SOCK_STREAM, 0) };

	inet_pton(AF_INET, "127.0.0.3", &address.sin_addr);
	assert_int_equal(bind(hole.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(hole.listener, 0), 0);
	for (size_t i = 0; i < 3; i++) {
		hole.fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(hole.fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	return hole;
}

static void
hole_drop(struct hole *hole)
{
	for (size_t i = 0; i < 3; i++)
		close(hole->fillers[i]);
	close(hole->listener);
}

/* Each address has its share of the time: one that refuses or is silent costs the next nothing. */
static void
test_the_next_address_is_tried(void **state)
{
	static const char *const hosts[] = { "second.test", "third.test" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture f;
		struct exchange x;
		struct hole hole;

		fixture_init(&f, &(struct fixture_options){ .host = hosts[i], .server_name = hosts[i], .connect_ms = 600 });
		hole = hole_make(f.peer.port);
		f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
		f.peer.step_count = 1;
		exchange_run(&f, &x, false, "GET", 0);
		if (x.status != 200)
			fail_msg("%s: %s", hosts[i], x.failure.detail);
		exchange_end(&x);
		hole_drop(&hole);
		fixture_fini(&f);
	}
}

enum open_stall { STALL_RESOLVE, STALL_CONNECT, STALL_TLS };

/* A fixture whose upstream never gets further than one phase. */
static void
stalled_init(struct fixture *f, struct hole *hole, enum open_stall stall, int64_t connect_ms)
{
	static const char *const hosts[] = { "slow.test", "127.0.0.3", NAME };

	fixture_init(f, &(struct fixture_options){ .host = hosts[stall], .connect_ms = connect_ms });
	*hole = hole_make(f->peer.port);
	f->peer.stall_tls = true;
}

static void
stalled_fini(struct fixture *f, struct hole *hole, enum open_stall stall)
{
	fixture_fini(f);
	hole_drop(hole);
	if (stall == STALL_RESOLVE)
		sem_post(&fixture_slow);
}

static void
test_the_connect_deadline(void **state)
{
	static const enum upstream_phase phases[] = { UPSTREAM_RESOLVE, UPSTREAM_CONNECT, UPSTREAM_TLS };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct fixture f;
		struct hole hole;
		struct exchange x;

		stalled_init(&f, &hole, (enum open_stall)i, 150);
		exchange_run(&f, &x, false, "GET", 0);
		assert_int_equal(x.failure.reason, UPSTREAM_REASON_TIMEOUT);
		if (i < 2)
			assert_int_equal(x.failure.phase, phases[i]);
		assert_int_equal(x.failure.written_bytes, 0);
		assert_int_equal(upstream_counts(f.upstream).busy, 0);
		assert_int_equal(upstream_counts(f.upstream).failed, 1);
		exchange_end(&x);
		stalled_fini(&f, &hole, (enum open_stall)i);
	}
}

/* After a cancel nothing is told, whatever the phase; END: by freeing the whole upstream. */
static void
cancel_while_opening(enum open_stall stall, bool end)
{
	struct fixture f;
	struct hole hole;
	struct exchange x;

	stalled_init(&f, &hole, stall, 5000);
	exchange_begin(&f, &x, false, "GET", 0);
	if (stall == STALL_TLS)
		fixture_run(&f, until_accepted);
	fixture_run_ms(&f, 20);
	if (end) {
		upstream_free(&f.upstream);
		x.call = NULL;
	} else {
		upstream_cancel(&x.call);
	}
	fixture_run_ms(&f, 20);
	assert_int_equal(x.readies + x.responses + x.failures, 0);
	exchange_end(&x);
	stalled_fini(&f, &hole, stall);
}

/* The same once it is open: held, writing, waiting, reading. */
static void
cancel_while_open(const struct peer_step *step, size_t body_n, bool hold, bool end)
{
	struct fixture f;
	struct exchange x;

	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = *step;
	f.peer.step_count = 1;
	exchange_begin(&f, &x, false, "POST", body_n);
	x.hold = hold;
	fixture_run(&f, until_ready);
	if (!step->wait_first && !hold)
		fixture_run(&f, until_requested);
	fixture_run_ms(&f, 20);
	if (end) {
		upstream_free(&f.upstream);
		x.call = NULL;
	} else {
		upstream_cancel(&x.call);
		assert_int_equal(upstream_counts(f.upstream).idle, hold ? 1 : 0);
	}
	fixture_run_ms(&f, 20);
	assert_int_equal(x.readies, 1);
	assert_int_equal(x.responses + x.failures, 0);
	exchange_end(&x);
	fixture_fini(&f);
}

static void
test_cancel_in_every_phase(void **state)
{
	static const struct peer_step never_reads = { .wait_first = true }, stalls = { .stall = true },
	    half = { .response = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", .wait = true };

	(void)state;
	for (int end = 0; end < 2; end++) {
		cancel_while_opening(STALL_RESOLVE, end);
		cancel_while_opening(STALL_CONNECT, end);
		cancel_while_opening(STALL_TLS, end);
		cancel_while_open(&stalls, 5, true, end);
		cancel_while_open(&never_reads, 16 << 20, false, end);
		cancel_while_open(&stalls, 5, false, end);
		cancel_while_open(&half, 5, false, end);
	}
}

static bool
until_pooled(struct fixture *f)
{
	return upstream_counts(f->upstream).idle == 1;
}

static bool
until_nothing_is_open(struct fixture *f)
{
	return upstream_counts(f->upstream).busy == 0;
}

/*
 * A wait that is shorter than a handshake on a busy core: 9,951 requests were answered 504 in a row, since each cancel closed the
 * connection that would have served the next one.
 */
static void
test_who_goes_leaves_a_connection(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	exchange_begin(&f, &x, false, "GET", 0);
	upstream_cancel(&x.call);
	assert_int_equal(upstream_counts(f.upstream).busy, 1);
	fixture_run(&f, until_pooled);
	assert_int_equal(x.readies + x.responses + x.failures, 0);
	exchange_end(&x);
	exchange_run(&f, &x, false, "GET", 0);
	assert_int_equal(x.status, 200);
	assert_int_equal(upstream_counts(f.upstream).opened, 1);
	assert_int_equal(upstream_counts(f.upstream).reused, 1);
	exchange_end(&x);
	fixture_fini(&f);
}

/* A silent upstream keeps a bounded number of those, and none beyond the connect timeout or a dropped pool. */
static void
test_few_are_opened_for_nobody(void **state)
{
	(void)state;
	for (int drop = 0; drop < 2; drop++) {
		struct fixture f;
		struct hole hole;
		struct exchange x;

		stalled_init(&f, &hole, STALL_CONNECT, drop ? 60000 : 300);
		for (int i = 0; i < 70; i++) {
			exchange_begin(&f, &x, false, "GET", 0);
			upstream_cancel(&x.call);
			exchange_end(&x);
		}
		assert_int_equal(upstream_counts(f.upstream).busy, 64);
		if (drop)
			upstream_drop_pool(f.upstream);
		fixture_run(&f, until_nothing_is_open);
		assert_int_equal(upstream_counts(f.upstream).idle, 0);
		stalled_fini(&f, &hole, STALL_CONNECT);
	}
}

static void
test_cancel_inside_hooks_and_between(void **state)
{
	struct fixture f;
	struct exchange x;

	(void)state;
	fixture_init(&f, &(struct fixture_options){ 0 });
	f.peer.steps[0] = (struct peer_step){ .response = OK_RESPONSE };
	f.peer.step_count = 1;
	exchange_begin(&f, &x, false, "GET", 0);
	x.hold = x.cancel_in_hook = true;
	fixture_run(&f, until_ready);			/* in on_ready */
	assert_null(x.call);
	exchange_end(&x);
	exchange_begin(&f, &x, false, "GET", 0);	/* pooled: its news waits for the turn's end */
	upstream_cancel(&x.call);
	fixture_run_ms(&f, 5);
	assert_int_equal(x.readies, 0);
	exchange_end(&x);
	exchange_begin(&f, &x, false, "GET", 0);
	x.cancel_in_hook = true;
	fixture_run(&f, until_ended);			/* in on_response, which reads on */
	assert_string_equal(x.got.n == 2 ? "ok" : "", "ok");
	exchange_end(&x);
	fixture_fini(&f);
	fixture_init(&f, &(struct fixture_options){ .port = unused_port() });
	exchange_begin(&f, &x, false, "GET", 0);
	x.cancel_in_hook = true;
	fixture_run(&f, until_ended);			/* in on_failed, which reads on */
	assert_int_equal(x.failure.reason, UPSTREAM_REASON_REFUSED);
	exchange_end(&x);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_the_peer_is),
		cmocka_unit_test(test_old_versions_are_refused),
		cmocka_unit_test(test_another_protocol_is_refused),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_the_next_address_is_tried),
		cmocka_unit_test(test_the_connect_deadline),
		cmocka_unit_test(test_cancel_in_every_phase),
		cmocka_unit_test(test_who_goes_leaves_a_connection),
		cmocka_unit_test(test_few_are_opened_for_nobody),
		cmocka_unit_test(test_cancel_inside_hooks_and_between),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
