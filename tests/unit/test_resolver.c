/*
 * The resolver against a getaddrinfo of its own: this program's definition comes before libc's, so that names
 * can be slow, fail, and change without a name server.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "io/resolver.h"

static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fake_changed = PTHREAD_COND_INITIALIZER;
static int fake_lookups;	/* names asked of the fake since the test began */
static int fake_error;		/* what it answers */
static bool fake_stalled;	/* it answers nothing until this is false */

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Numeric hosts go to libc; any other name is 192.0.2.1, 192.0.2.1 again and 2001:db8::1, or an error. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	static const char *const addresses[] = { "2001:db8::1", "192.0.2.1", "192.0.2.1" };
	getaddrinfo_fn *real;
	struct addrinfo numeric = *hints, *one;
	int error;

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (hints->ai_flags & AI_NUMERICHOST)
		return real(node, service, hints, list);
	pthread_mutex_lock(&fake_lock);
	fake_lookups++;
	while (fake_stalled && strcmp(node, "slow.test") == 0)
		pthread_cond_wait(&fake_changed, &fake_lock);
	error = fake_error;
	pthread_mutex_unlock(&fake_lock);
	if (error != 0)
		return error;
	*list = NULL;
	numeric.ai_flags = AI_NUMERICHOST;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		check(real(addresses[i], service, &numeric, &one) == 0);
		one->ai_next = *list;
		*list = one;
	}
	return 0;
}

/* Set what the fake does from now on. */
static void
fake_set(int error, bool stalled)
{
	pthread_mutex_lock(&fake_lock);
	fake_error = error;
	fake_stalled = stalled;
	pthread_cond_broadcast(&fake_changed);
	pthread_mutex_unlock(&fake_lock);
}

struct probe {
	struct loop *loop;
	struct resolver *resolver;
	struct resolver_ask *ask;
	struct resolver_answer answer;
	int answers;
	bool cancel_inside;
	struct loop_timer timer;
};

static void
on_answer(void *arg, const struct resolver_answer *answer)
{
	struct probe *probe = arg;

	if (probe->cancel_inside)
		resolver_cancel(&probe->ask);
	probe->answer = *answer;
	probe->answers++;
	loop_stop(probe->loop);
}

static void
on_probe_timer(void *arg)
{
	struct probe *probe = arg;

	loop_stop(probe->loop);
}

/* Run the loop for MS milliseconds or until an answer. */
static void
probe_run(struct probe *probe, int ms)
{
	loop_timer_at(&probe->timer, mono_add(clock_now_mono(), (int64_t)ms * CLOCK_MS));
	loop_run(probe->loop);
	loop_timer_clear(&probe->timer);
}

static void
probe_init(struct probe *probe)
{
	*probe = (struct probe){ .loop = loop_new(), .resolver = resolver_new() };
	loop_timer_init(&probe->timer, probe->loop, on_probe_timer, probe);
	fake_lookups = 0;
	fake_set(0, false);
}

static void
probe_fini(struct probe *probe)
{
	resolver_cancel(&probe->ask);
	resolver_free(&probe->resolver);
	loop_timer_fini(&probe->timer);
	loop_free(&probe->loop);
}

static void
probe_ask(struct probe *probe, const char *host)
{
	int before = probe->answers;

	resolver_cancel(&probe->ask);
	probe->ask = resolver_ask(probe->resolver, probe->loop, host, 8443, on_answer, probe);
	assert_int_equal(probe->answers, before);	/* never inside the function that asked */
}

static void
test_numeric_hosts_need_no_thread(void **state)
{
	static const struct { const char *host; int family; } cases[] = {
		{ "127.0.0.1", AF_INET }, { "::1", AF_INET6 }, { "2001:db8::7", AF_INET6 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct probe probe;

		probe_init(&probe);
		probe_ask(&probe, cases[i].host);
		probe_run(&probe, 10000);
		assert_int_equal(probe.answers, 1);
		assert_int_equal(probe.answer.error, 0);
		assert_int_equal(probe.answer.count, 1);
		assert_int_equal(probe.answer.addresses[0].ss_family, cases[i].family);
		assert_int_equal(ntohs(((struct sockaddr_in *)&probe.answer.addresses[0])->sin_port), 8443);
		assert_int_equal(fake_lookups, 0);
		probe_fini(&probe);
	}
}

static void
test_a_name_is_looked_up_once_and_kept(void **state)
{
	struct probe probe;

	(void)state;
	probe_init(&probe);
	for (int i = 1; i <= 3; i++) {
		probe_ask(&probe, "fast.test");
		probe_run(&probe, 10000);
		assert_int_equal(probe.answers, i);
		assert_int_equal(probe.answer.count, 2);	/* the repeated address is dropped */
		assert_int_equal(ntohs(((struct sockaddr_in6 *)&probe.answer.addresses[1])->sin6_port), 8443);
	}
	assert_int_equal(fake_lookups, 1);
	probe_fini(&probe);
}

static void
test_a_failure_is_told_and_not_repeated_in_a_storm(void **state)
{
	struct probe probe;

	(void)state;
	probe_init(&probe);
	fake_set(EAI_NONAME, false);
	for (int i = 1; i <= 5; i++) {
		probe_ask(&probe, "none.test");
		probe_run(&probe, 10000);
		assert_int_equal(probe.answers, i);
		assert_int_equal(probe.answer.error, EAI_NONAME);
		assert_int_equal(probe.answer.count, 0);
	}
	assert_int_equal(fake_lookups, 1);
	probe_fini(&probe);
}

/* A name whose servers are silent must delay neither other names nor the resolver's end. */
static void
test_a_silent_name_delays_nobody(void **state)
{
	struct probe slow, fast;

	(void)state;
	probe_init(&slow);
	fake_set(0, true);
	probe_ask(&slow, "slow.test");
	fast = (struct probe){ .loop = slow.loop, .resolver = slow.resolver };
	probe_ask(&fast, "fast.test");
	probe_run(&slow, 10000);
	assert_int_equal(fast.answers, 1);
	assert_int_equal(slow.answers, 0);
	resolver_cancel(&fast.ask);
	probe_fini(&slow);
	fake_set(0, false);	/* the thread left behind ends and frees the rest */
}

static void
test_cancel_in_every_state(void **state)
{
	struct probe probe;

	(void)state;
	probe_init(&probe);
	fake_set(0, true);
	probe_ask(&probe, "slow.test");
	resolver_cancel(&probe.ask);		/* waiting */
	resolver_cancel(&probe.ask);		/* NULL is nothing */
	probe_ask(&probe, "127.0.0.1");
	resolver_cancel(&probe.ask);		/* posted */
	probe_run(&probe, 20);
	assert_int_equal(probe.answers, 0);
	probe.cancel_inside = true;
	probe_ask(&probe, "127.0.0.1");
	probe_run(&probe, 10000);		/* in its own answer */
	assert_int_equal(probe.answers, 1);
	assert_int_equal(probe.answer.count, 1);
	assert_null(probe.ask);
	fake_set(0, false);
	probe_fini(&probe);
}

static void
test_many_wait_for_one_lookup(void **state)
{
	struct probe probe;
	struct resolver_ask *asks[100];

	(void)state;
	probe_init(&probe);
	fake_set(0, true);
	for (size_t i = 0; i < 100; i++)
		asks[i] = resolver_ask(probe.resolver, probe.loop, "slow.test", (uint16_t)(i + 1), on_answer, &probe);
	for (size_t i = 0; i < 100; i += 2)
		resolver_cancel(&asks[i]);
	fake_set(0, false);
	while (probe.answers < 50)
		probe_run(&probe, 10000);
	assert_int_equal(fake_lookups, 1);
	for (size_t i = 0; i < 100; i++)
		resolver_cancel(&asks[i]);
	probe_fini(&probe);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numeric_hosts_need_no_thread),
		cmocka_unit_test(test_a_name_is_looked_up_once_and_kept),
		cmocka_unit_test(test_a_failure_is_told_and_not_repeated_in_a_storm),
		cmocka_unit_test(test_a_silent_name_delays_nobody),
		cmocka_unit_test(test_cancel_in_every_state),
		cmocka_unit_test(test_many_wait_for_one_lookup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
