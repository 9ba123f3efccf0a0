/* Returning tokens in C and in Lua against the same vectors, against each other, and against the promises themselves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <time.h>

#include "rules/returning.h"
#include "rules/returning_script.h"
#include "redis_server.h"

#define SECOND INT64_C(1000000)
#define T0 INT64_C(1700000000000000)

static struct redis_server server;
static int redis;

static struct quota
quota_of(int64_t requests, int64_t window_us, int64_t jitter_us, int64_t burst)
{
	struct config_quota stated = { requests, window_us, jitter_us, 0, burst };
	struct quota q;
	const char *why;

	assert_true(quota_derive(&stated, &q, &why));
	if (burst == 1) {	/* as one that is not stated: the simple bucket is another test's */
		stated.burst = 0;
		assert_true(quota_derive(&stated, &q, &why));
	}
	return q;
}

/* One call of the script on KEY; its seven numbers. */
static struct bucket_take
take_in_lua(const char *key, const struct quota *q, const struct returning_ask *ask, int64_t now)
{
	const int64_t values[12] = { q->requests, q->slot_us, q->depth, q->burst, ask->count, ask->waiting,
		ask->heard.epoch, ask->heard.total, ask->heard.ago_us, ask->grace_us, ask->paused_us, now };
	char n[12][24], pause[96], answer[512];
	struct bucket_take t;

	for (int i = 0; i < 12; i++)
		snprintf(n[i], sizeof(n[i]), "%" PRId64, values[i]);
	snprintf(pause, sizeof(pause), "%s:pause", key);
	redis_ask(redis, answer, "DEL", pause);		/* a pause's end is the script's own: here it is told each time */
	redis_ask(redis, answer, "EVALSHA", returning_script_sha1, "2", key, pause, n[0], n[1], n[2], n[3], n[4], n[5], n[6],
	    n[7], n[8], n[9], n[10], n[11]);
	if (sscanf(answer, ":%" SCNd64 " :%" SCNd64 " :%" SCNd64 " :%" SCNd64 " :%" SCNd64 " :%" SCNd64 " :%" SCNd64,
	    &t.granted, &t.wait_us, &t.left, &t.refill, &t.paused_us, &t.epoch, &t.total) != 7)
		fail_msg("%s", answer);
	return t;
}

static void
assert_same(const struct bucket_take *a, const struct bucket_take *b)
{
	assert_int_equal(a->granted, b->granted);
	assert_int_equal(a->wait_us, b->wait_us);
	assert_int_equal(a->left, b->left);
	assert_int_equal(a->refill, b->refill);
	assert_int_equal(a->paused_us, b->paused_us);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->total, b->total);
}

/* Take in C and in Lua; answers and states must be equal. */
static struct bucket_take
take_in_both(struct returning *bucket, const char *key, const struct quota *q, const struct returning_ask *ask, int64_t now)
{
	struct bucket_take c = returning_take(bucket, q, ask, now), lua = take_in_lua(key, q, ask, now);
	char text[RETURNING_TEXT_BYTES], answer[4096];

	assert_same(&lua, &c);
	returning_format(bucket, text);
	redis_ask(redis, answer, "GET", key);
	assert_string_equal(answer, text);
	redis_ask(redis, answer, "PTTL", key);
	assert_in_range(strtoll(answer + 1, NULL, 10) + 1000, returning_keep_us(bucket, q, now) / 1000,
	    returning_keep_us(bucket, q, now) / 1000 + 1001);
	return c;
}

static int64_t
number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Run one case of the vectors through both. */
static void
run_case(const json_t *vector, const char *key)
{
	const json_t *quota = json_object_get(vector, "quota");
	struct quota q = quota_of(number(quota, "requests"), number(quota, "window_us"), number(quota, "jitter_us"),
	    number(quota, "burst"));
	struct returning bucket = { 0 };
	json_t *step;
	size_t i;

	assert_int_equal(q.burst, number(quota, "burst"));
	json_array_foreach(json_object_get(vector, "steps"), i, step) {
		const json_t *heard = json_object_get(step, "heard"), *answer = json_object_get(step, "answer");
		struct returning_ask ask = { .count = number(step, "count"), .waiting = number(step, "waiting"),
			.heard.ago_us = -1, .grace_us = number(step, "grace"), .paused_us = number(step, "paused") };
		struct bucket_take take, expected;
		int64_t *e = &expected.granted;

		if (heard)
			ask.heard = (struct bucket_heard){ json_integer_value(json_array_get(heard, 0)),
				json_integer_value(json_array_get(heard, 1)), json_integer_value(json_array_get(heard, 2)) };
		take = take_in_both(&bucket, key, &q, &ask, number(step, "now"));
		for (size_t k = 0; k < 7; k++)
			e[k] = json_integer_value(json_array_get(answer, k));
		if (take.granted != expected.granted || take.wait_us != expected.wait_us)
			print_message("%s, step %zu\n", json_string_value(json_object_get(vector, "name")), i);
		assert_same(&take, &expected);
	}
}

static void
test_vectors(void **state)
{
	json_t *file = json_load_file(JOBGATE_SOURCE_DIR "/tests/vectors/returning.json", 0, NULL), *vector;
	char key[64];
	size_t i;

	(void)state;
	assert_non_null(file);
	assert_true(json_array_size(json_object_get(file, "cases")) > 15);
	json_array_foreach(json_object_get(file, "cases"), i, vector) {
		snprintf(key, sizeof(key), "test:2:{case %zu}:bucket", i);
		run_case(vector, key);
	}
	json_decref(file);
}

static void
test_script_digest(void **state)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	char hex[41];

	(void)state;
	assert_int_equal(
	    EVP_Digest(returning_script_text, strlen(returning_script_text), digest, &n, EVP_sha1(), NULL), 1);
	str_hex_encode(digest, n, hex);
	hex[40] = '\0';
	assert_string_equal(hex, returning_script_sha1);
}

/* A random quota; the bounds of the configuration now and then. */
static struct quota
random_quota(void)
{
	int64_t requests = lrand48() % 8 ? 2 + lrand48() % 400 : 2 + lrand48() % 10000000;
	int64_t window = lrand48() % 8 ? SECOND + lrand48() % (20 * SECOND) : SECOND + (int64_t)(drand48() * 3599e6);

	return quota_of(requests, window, lrand48() % 4 ? 1000 + lrand48() % 1000000 : 60 * SECOND,
	    lrand48() % 2 ? 0 : 2 + lrand48() % (requests - 1));
}

/* Random calls under changing quotas, clocks and losses: C and Lua never differ. */
static void
walk_both(uint64_t seed)
{
	struct quota quotas[2];
	struct returning bucket = { 0 };
	char key[64];
	int64_t now = T0;

	srand48((long)seed);
	quotas[0] = random_quota();
	quotas[1] = lrand48() % 3 ? quotas[0] : random_quota();
	snprintf(key, sizeof(key), "test:2:{walk %" PRIu64 "}:bucket", seed);
	for (int i = 0; i < 60; i++) {
		const struct quota *q = &quotas[lrand48() % 6 == 0];
		struct returning_ask ask = { .count = lrand48() % 4 ? lrand48() % 9 : lrand48() % (q->requests + 9),
			.heard = { lrand48() % 2 ? bucket.epoch : lrand48() % 2, bucket.total + lrand48() % 3 - 1,
			    lrand48() % 3 ? -1 : lrand48() % SECOND } };
		struct bucket_take take;

		ask.waiting = ask.count + (lrand48() % 2 ? 0 : lrand48() % 4);
		if (ask.heard.total < 0)
			ask.heard.total = 0;
		if (lrand48() % 12 == 0)
			ask.paused_us = lrand48() % (5 * SECOND);
		take = take_in_both(&bucket, key, q, &ask, now);
		now += lrand48() % 3 ? take.wait_us : (int64_t)(drand48() * drand48() * (double)q->token);
		if (lrand48() % 30 == 0)
			now += lrand48() % 2 ? -lrand48() % SECOND : 2 * q->token;
	}
}

static void
test_walks_in_both(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);

	(void)state;
	print_message("walks in C and Lua from seed %" PRIu64 "\n", seed);
	for (uint64_t i = 0; i < 40; i++)
		walk_both(seed + i);
}

#define GRANTS 1100000

static int64_t grants[GRANTS];
static size_t grant_count;
static struct returning bucket;

/* Take, and note when. */
static struct bucket_take
take(const struct quota *q, int64_t count, int64_t waiting, int64_t now)
{
	struct returning_ask ask = { .count = count, .waiting = waiting, .heard.ago_us = -1 };
	struct bucket_take t = returning_take(&bucket, q, &ask, now);

	assert_true(t.wait_us >= 0 && t.granted >= 0 && t.granted <= count);
	for (int64_t i = 0; i < t.granted; i++) {
		assert_true(grant_count < GRANTS);
		grants[grant_count++] = now;
	}
	return t;
}

static void
begin(void)
{
	grant_count = 0;
	bucket = (struct returning){ 0 };
}

/* In no window of W + J may more than Q be granted. */
static void
check_windows(const struct quota *q)
{
	for (size_t i = 0; i + (size_t)q->requests < grant_count; i++)
		assert_true(grants[i + (size_t)q->requests] - grants[i] > q->window_us + q->jitter_us);
}

/* P1: random calls by callers who are greedy, late, idle and out of turn, of any burst. */
static void
test_windows(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);

	(void)state;
	print_message("windows from seed %" PRIu64 "\n", seed);
	for (uint64_t i = 0; i < 200; i++) {
		struct quota q;
		int64_t now = T0;

		srand48((long)(seed + i));
		begin();
		do
			q = random_quota();
		while (q.requests > 3000);
		for (int n = 0; n < 4000; n++) {
			long kind = lrand48() % 10;
			struct bucket_take t = take(&q, 1 + lrand48() % 300, lrand48() % 3 * 400, now);

			now += kind < 6 ? t.wait_us : kind == 6 ? lrand48() % 30000 : kind == 7 ? lrand48() % (3 * q.slot_us)
			    : kind == 8 ? (int64_t)(drand48() * 3 * (double)q.token / (double)q.refill) : 0;
			if (lrand48() % 300 == 0)
				now += (int64_t)(drand48() * 2 * (double)q.token);
		}
		check_windows(&q);
	}
}

/* After a minute's idleness 150 of 200 at once; one who comes 5 s later waits at most 2 s; and so on, all through the window. */
static void
test_burst(void **state)
{
	struct quota q = quota_of(200, 60 * SECOND, 250000, 0);
	int64_t now = T0, longest = 0;
	struct bucket_take t;

	(void)state;
	begin();
	for (; now < T0 + 60 * SECOND; now += 700000)
		take(&q, 0, 0, now);
	t = take(&q, 150, 150, now);
	assert_int_equal(t.granted, 150);
	for (int i = 0; i < 10; i++) {
		int64_t came = now += i % 2 ? 10 * SECOND : 1000;

		while (take(&q, 1, 1, now).granted == 0)
			now += 50000;
		longest = now - came > longest ? now - came : longest;
	}
	print_message("who came after a burst waited at most %.2f s\n", (double)longest / SECOND);
	assert_true(longest <= 2 * SECOND);
	assert_true(quota_seconds_after_burst(&q) < 2);
	check_windows(&q);
}

/* Call as an instance with a backlog does: when the next is due, up to LATE_US later. */
static int64_t
overload(const struct quota *q, int64_t now, int64_t until, int64_t late_us)
{
	while (now < until) {
		struct bucket_take t = take(q, 100000, 200000, now);

		now += t.wait_us + (late_us ? lrand48() % late_us : 0);
		if (t.wait_us == 0)
			now += 1000;
	}
	return now;
}

/* Five times overload for five minutes after an idle one: from the second window on every 5 s has its share. */
static void
test_even_after_a_burst(void **state)
{
	struct quota q = quota_of(200, 60 * SECOND, 250000, 0);
	double share = quota_rate_per_s(&q) * 5;
	int64_t first = T0 + 61 * SECOND;
	int least = 1000, most = 0;

	(void)state;
	srand48(1);
	begin();
	for (int64_t now = T0; now < first; now += 700000)
		take(&q, 0, 0, now);
	overload(&q, first, first + 300 * SECOND, 15000);
	assert_true(grants[149] == first && grants[150] > first);
	for (int64_t from = first + q.token; from + 5 * SECOND <= first + 300 * SECOND; from += 100000) {
		int n = 0;

		for (size_t i = 0; i < grant_count; i++)
			n += grants[i] >= from && grants[i] < from + 5 * SECOND;
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	print_message("5 s carry %d to %d, the share is %.1f\n", least, most, share);
	assert_true(least >= 0.9 * share - 0.001 && most <= 1.1 * share + 0.001);
	check_windows(&q);
}

/* The quota's use under a backlog, with calls up to LATE_US late, counted over whole windows. */
static double
used(const struct quota *q, int windows, int64_t late_us)
{
	int64_t from = T0 + q->token;
	size_t n = 0;

	srand48(2);
	begin();
	overload(q, T0, from + windows * q->window_us, late_us);
	for (size_t i = 0; i < grant_count; i++)
		n += grants[i] >= from && grants[i] < from + windows * q->window_us;
	check_windows(q);
	return (double)n / (double)(q->requests * windows);
}

static void
test_use(void **state)
{
	struct quota minute = quota_of(200, 60 * SECOND, 250000, 0), high = quota_of(20000, 10 * SECOND, 50000, 0);
	double a = used(&minute, 50, 15000), b = used(&high, 50, 15000);

	(void)state;
	print_message("used of 200 per 60 s: %.2f %%; of 20,000 per 10 s, %zu grants: %.2f %%\n", 100 * a, grant_count, 100 * b);
	assert_true(a >= 0.985 && b >= 0.985);
	assert_true(quota_utilisation(&minute) >= 0.985 && quota_utilisation(&high) >= 0.985);
}

/* Light traffic that is not even is not delayed: half the rate, at random, and nobody waits. */
static void
test_half_the_rate(void **state)
{
	struct quota q = quota_of(20000, 10 * SECOND, 50000, 0);
	int64_t now = T0 + 1;
	size_t offered = 0;

	(void)state;
	srand48(3);
	begin();
	take(&q, 0, 0, T0);
	for (; now < T0 + 60 * SECOND; now += 1 + lrand48() % 2000, offered++)
		if (now > T0 + SECOND)
			assert_int_equal(take(&q, 1, 1, now).granted, 1);
	check_windows(&q);
	assert_true(offered > 50000);
}

/* Two who state different windows: nothing starves, and each one's own quota holds for what both have taken. */
static void
test_mixed_windows(void **state)
{
	struct quota a = quota_of(100, 10 * SECOND, 250000, 0), b = quota_of(100, 20 * SECOND, 250000, 0);
	int64_t now = T0;

	(void)state;
	begin();
	for (int i = 0; now < T0 + 200 * SECOND; i++, now += 50000)
		take(i % 2 ? &a : &b, 5, 9, now);
	check_windows(&b);
	assert_true(grant_count >= 900 && grant_count <= 1000);
	grant_count = 0;			/* the longer one goes: after that only the shorter counts */
	for (; now < T0 + 300 * SECOND; now += 50000)
		take(&a, 5, 9, now);
	check_windows(&a);
	assert_true(grant_count >= 800);
}

/* Without TIME of ours it is the server's; the grace holds; a pause stops who has not heard of it, and ends. */
static void
test_servers_time(void **state)
{
	char answer[4096];

	(void)state;
	redis_ask(redis, answer, "EVALSHA", returning_script_sha1, "2", "t:2:{o}:bucket", "t:2:{o}:pause", "200", "235352",
	    "64485464", "150", "5", "5", "0", "0", "-1", "1000000", "0", "");
	assert_memory_equal(answer, ":0 :1000000 :0 :200 :0 :", strlen(":0 :1000000 :0 :200 :0 :"));
	assert_true(llabs(strtoll(answer + strlen(":0 :1000000 :0 :200 :0 :"), NULL, 10) / SECOND - (long long)time(NULL)) < 10);
	redis_ask(redis, answer, "EVALSHA", returning_script_sha1, "2", "t:2:{p}:bucket", "t:2:{p}:pause", "200", "235352",
	    "64485464", "150", "0", "0", "0", "0", "-1", "0", "5000000", "1700000000000000");
	assert_memory_equal(answer, ":0 :5000000 :0 :200 :5000000 ", strlen(":0 :5000000 :0 :200 :5000000 "));
	redis_ask(redis, answer, "EVALSHA", returning_script_sha1, "2", "t:2:{p}:bucket", "t:2:{p}:pause", "200", "235352",
	    "64485464", "150", "9", "9", "0", "0", "-1", "0", "0", "1700000004999999");
	assert_memory_equal(answer, ":0 :1 :0 :200 :1 ", strlen(":0 :1 :0 :200 :1 "));
	redis_ask(redis, answer, "EVALSHA", returning_script_sha1, "2", "t:2:{p}:bucket", "t:2:{p}:pause", "200", "235352",
	    "64485464", "150", "9", "9", "0", "0", "-1", "0", "0", "1700000005302500");
	assert_memory_equal(answer, ":1 ", 3);
}

static int
start(void **state)
{
	char answer[256];

	(void)state;
	redis_server_start(&server);
	redis = loopback_connect(server.port);
	redis_ask(redis, answer, "SCRIPT", "LOAD", returning_script_text);
	assert_string_equal(answer, returning_script_sha1);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	close(redis);
	redis_server_stop(&server);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_script_digest), cmocka_unit_test(test_vectors), cmocka_unit_test(test_walks_in_both),
		cmocka_unit_test(test_servers_time), cmocka_unit_test(test_windows), cmocka_unit_test(test_burst),
		cmocka_unit_test(test_even_after_a_burst), cmocka_unit_test(test_use), cmocka_unit_test(test_half_the_rate),
		cmocka_unit_test(test_mixed_windows),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
