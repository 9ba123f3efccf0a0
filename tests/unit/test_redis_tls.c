/* The Redis connection over TLS to a real server, the PING of idle ones, and what managed kinds refuse. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>

#include "io/redis.h"
#include "redis_server.h"
#include "tls_certs.h"

static struct loop *loop;
static struct resolver *resolver;
static struct redis *redis;
static int ups, downs, answers;
static char why_down[256], last_string[256];
static bool (*enough)(void);

static char folder[PATH_MAX], ca_file[PATH_MAX], foreign_file[PATH_MAX], bundle_file[PATH_MAX];
static char cert_file[PATH_MAX], key_file[PATH_MAX];
static struct redis_server server;
static uint16_t tls_port;

static void
on_progress(void)
{
	if (enough && enough())
		loop_stop(loop);
}

static void
on_state(void *arg, bool up, const char *why)
{
	(void)arg;
	ups += up;
	downs += !up;
	if (!up)
		snprintf(why_down, sizeof(why_down), "%s", why);
	on_progress();
}

static void
on_reply(void *arg, const struct redis_reply *reply)
{
	(void)arg;
	answers++;
	snprintf(last_string, sizeof(last_string), "%.*s", STR_ARG(reply->string));
	on_progress();
}

static void
on_too_long(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* Run the loop until CONDITION holds; it must within FOR_US. */
static void
run_for(bool (*condition)(void), int64_t for_us)
{
	struct loop_timer timer;

	enough = condition;
	loop_timer_init(&timer, loop, on_too_long, NULL);
	loop_timer_at(&timer, mono_add(loop_now(loop), for_us));
	if (!condition())
		loop_run(loop);
	loop_timer_fini(&timer);
	enough = NULL;
	if (!condition())
		fail_msg("not within the time; last: %s", why_down);
}

static void run_until(bool (*condition)(void)) { run_for(condition, 10 * CLOCK_SECOND); }
static bool is_up(void) { return ups > 0 && redis_is_up(redis); }
static bool is_up_twice(void) { return ups > 1 && redis_is_up(redis); }
static bool is_down(void) { return downs > 0; }
static bool is_answered(void) { return answers > 0; }

static void
client_open(const struct redis_settings *settings)
{
	ups = downs = answers = 0;
	why_down[0] = last_string[0] = '\0';
	loop = loop_new();
	resolver = resolver_new();
	redis = redis_new(loop, resolver, settings, on_state, NULL);
}

static void
client_close(void)
{
	redis_free(&redis);
	resolver_free(&resolver);
	loop_free(&loop);
}

static struct redis_settings
tls_settings(const char *host, const char *ca)
{
	return (struct redis_settings){ .host = str_from(host), .port = tls_port, .tls = true, .ca_file = str_from(ca),
		.timeout_us = 500 * CLOCK_MS };
}

static bool
command(const char *a, const char *b, const char *c)
{
	struct str words[3] = { str_from(a), str_from(b), str_from(c) };

	return redis_command(redis, words, c ? 3 : b ? 2 : 1, on_reply, NULL);
}

/* --- real server --- */

static void
server_start(void)
{
	char port[16];

	snprintf(port, sizeof(port), "%u", tls_port);
	redis_server_start_words(&server, (const char *const[]){ "--tls-port", port, "--tls-cert-file", cert_file,
		"--tls-key-file", key_file, "--tls-ca-cert-file", ca_file, "--tls-auth-clients", "no", NULL });
}

static int
setup(void **state)
{
	struct certs_identity ca = certs_authority("test CA"), foreign = certs_authority("foreign CA"), leaf;

	(void)state;
	certs_folder(folder);
	leaf = certs_make(&ca, &(struct certs_request){ "localhost", "DNS:localhost,IP:127.0.0.1", NULL, "serverAuth", -60, 3600 });
	certs_write_certificate(certs_path(ca_file, folder, "ca.pem"), ca.certificate);
	certs_write_certificate(certs_path(foreign_file, folder, "foreign.pem"), foreign.certificate);
	certs_path(bundle_file, folder, "bundle.pem");
	certs_write_certificate(certs_path(cert_file, folder, "cert.pem"), leaf.certificate);
	certs_write_key(certs_path(key_file, folder, "key.pem"), leaf.key);
	certs_drop(&leaf);
	certs_drop(&foreign);
	certs_drop(&ca);
	close(loopback_listen(&tls_port));
	server_start();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	redis_server_stop(&server);
	unlink(ca_file);
	unlink(foreign_file);
	unlink(bundle_file);
	unlink(cert_file);
	unlink(key_file);
	rmdir(folder);
	return 0;
}

/* --- a stub that says one thing to each who connects --- */

struct stub { int listener; const char *says; size_t bytes; bool closes; };

static void *
stub_run(void *arg)
{
	const struct stub *stub = arg;
	char line[4096];
	int fd;

	while ((fd = accept(stub->listener, NULL, NULL)) >= 0) {
		if (stub->says)
			(void)!write(fd, stub->says, stub->bytes ? stub->bytes : strlen(stub->says));
		while (!stub->closes && read(fd, line, sizeof(line)) > 0)
			;
		close(fd);
	}
	return NULL;
}

/* Verified by name and by address, and it carries answers of any size. */
static void
test_verified(void **state)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1" };
	static char large[60000];

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	for (size_t i = 0; i < 2; i++) {
		struct redis_settings settings = tls_settings(hosts[i], ca_file);

		client_open(&settings);
		run_until(is_up);
		for (int j = 0; j < 200; j++)
			assert_true(command("SET", "large", large));
		answers = -199;
		run_until(is_answered);
		answers = 0;
		assert_true(command("STRLEN", "large", NULL));
		assert_true(command("GET", "large", NULL));
		answers = -1;
		run_until(is_answered);
		assert_int_equal(strlen(last_string), sizeof(last_string) - 1);
		assert_int_equal(downs, 0);
		client_close();
	}
}

/* How many descriptors this process has open. */
static int
open_files(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* A peer whose handshake does not end, one that hangs up within it, one that speaks no TLS: each is left, with nothing open. */
static void
test_no_handshake(void **state)
{
	static const struct { const char *name, *says, *why; bool closes; } cases[] = {
		{ "silent", NULL, "the TLS handshake did not end in time", false },
		{ "hangs up", NULL, "", true },
		{ "another protocol", "-ERR no TLS here\r\n", "wrong version number", false },
		{ "half a record", "\x16\x03\x03\x40", "the TLS handshake did not end in time", false },
		{ "an alert", "\x15\x03\x03\x00\x02\x02\x28", "handshake failure", false },
	};
	int before = open_files();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct redis_settings settings = tls_settings("127.0.0.1", ca_file);
		uint16_t port = 0;
		struct stub stub = { loopback_listen(&port), cases[i].says, i == 3 ? 4 : i == 4 ? 7 : 0, cases[i].closes };
		pthread_t thread;

		settings.port = port;
		pthread_create(&thread, NULL, stub_run, &stub);
		client_open(&settings);
		run_until(is_down);
		if (!strstr(why_down, cases[i].why))
			fail_msg("%s: %s", cases[i].name, why_down);
		assert_int_equal(ups, 0);
		client_close();
		shutdown(stub.listener, SHUT_RDWR);
		pthread_join(thread, NULL);
		close(stub.listener);
	}
	assert_int_equal(open_files(), before);
}

/* Nothing is said to who is not believed: not even the password. */
static void
test_not_believed(void **state)
{
	const struct { const char *host, *ca, *why; uint16_t port; } cases[] = {
		{ "localhost", foreign_file, "self-signed certificate", tls_port },
		{ "localhost", "", "self-signed certificate", tls_port },
		{ "ip6-localhost.invalid", ca_file, "", tls_port },
		{ "127.0.0.2", ca_file, "IP address mismatch", tls_port },
		{ "localhost", "/nowhere/ca.pem", "no root certificates can be read", tls_port },
		{ "localhost", ca_file, "", server.port },	/* a port without TLS */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct redis_settings settings = tls_settings(cases[i].host, cases[i].ca);

		settings.port = cases[i].port;
		settings.password = STR("secret");
		client_open(&settings);
		run_until(is_down);
		if (!strstr(why_down, cases[i].why))
			fail_msg("%zu: %s", i, why_down);
		assert_int_equal(ups, 0);
		client_close();
	}
}

/* Has the server seen three PINGs? */
static bool
is_pinged(void)
{
	char text[8192];
	int fd = loopback_connect(server.port);

	redis_ask(fd, text, "EVAL", "return string.match(redis.call('INFO', 'commandstats'), 'cmdstat_ping:calls=(%d+)') or '0'", "0");
	close(fd);
	return atoi(text) >= 3;
}

static void
on_tick(void *arg)
{
	if (enough && enough())
		loop_stop(loop);
	else
		loop_timer_at(arg, mono_add(loop_now(loop), 20 * CLOCK_MS));
}

/* Managed kinds cut a connection that is idle: ours says something now and then, and an answer that stays away is noticed. */
static void
test_idle(void **state)
{
	struct redis_settings settings = tls_settings("localhost", ca_file);
	struct loop_timer tick;

	(void)state;
	settings.idle_us = 50 * CLOCK_MS;
	client_open(&settings);
	loop_timer_init(&tick, loop, on_tick, &tick);
	loop_timer_at(&tick, loop_now(loop));
	run_until(is_up);
	run_until(is_pinged);
	assert_int_equal(downs, 0);
	kill(server.pid, SIGSTOP);
	run_until(is_down);
	assert_string_equal(why_down, "no answer in time");
	kill(server.pid, SIGCONT);
	run_until(is_up_twice);
	loop_timer_fini(&tick);
	client_close();
}

/* A renewed file of authorities is taken without a restart, at the next connection. */
static void
test_renewed_authority(void **state)
{
	struct redis_settings settings = tls_settings("localhost", bundle_file);

	(void)state;
	assert_int_equal(link(foreign_file, bundle_file), 0);
	client_open(&settings);
	run_until(is_down);
	assert_non_null(strstr(why_down, "self-signed"));
	unlink(bundle_file);
	assert_int_equal(link(ca_file, bundle_file), 0);
	run_until(is_up);
	/* kill -9 and back */
	redis_server_stop(&server);
	server_start();
	run_until(is_up_twice);
	client_close();
}

static bool is_up_thrice(void) { return ups > 2 && redis_is_up(redis); }

/* Cut off by the server, it comes back by itself, by a ticket too, and who it is stays verified. */
static void
test_cut_off(void **state)
{
	struct redis_settings settings = tls_settings("localhost", ca_file);
	char text[256];
	int fd;

	(void)state;
	client_open(&settings);
	run_until(is_up);
	for (int i = 0; i < 2; i++) {
		fd = loopback_connect(server.port);
		assert_true(command("PING", NULL, NULL));	/* its answer comes behind the tickets */
		answers = 0;
		run_until(is_answered);
		redis_ask(fd, text, "CLIENT", "KILL", "TYPE", "normal");
		close(fd);
		assert_string_equal(text, ":1");
		run_until(i ? is_up_thrice : is_up_twice);
		assert_int_equal(downs, i + 1);
	}
	client_close();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verified), cmocka_unit_test(test_no_handshake), cmocka_unit_test(test_not_believed), cmocka_unit_test(test_idle), cmocka_unit_test(test_cut_off), cmocka_unit_test(test_renewed_authority),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
