/* The bucket in C and the bucket in Lua against the same vectors, and against the promise itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <time.h>

#include "rules/bucket.h"
#include "rules/bucket_script.h"
#include "redis_server.h"

static json_t *vectors;

/* The quota of a step. */
static struct quota
step_quota(const json_t *step)
{
	const json_t *j = json_object_get(step, "quota");
	struct config_quota stated = {
		.requests = json_integer_value(json_object_get(j, "requests")),
		.window_us = json_integer_value(json_object_get(j, "window_us")),
		.jitter_us = json_integer_value(json_object_get(j, "jitter_us")),
		.outside = json_integer_value(json_object_get(j, "outside")),
		.burst = 1,
	};
	struct quota q;
	const char *why;

	assert_true(quota_derive(&stated, &q, &why));
	return q;
}

static int64_t
step_int(const json_t *step, const char *key)
{
	return json_integer_value(json_object_get(step, key));
}

/* Run one case through the C model. */
static void
run_case_in_c(const json_t *vector)
{
	struct bucket bucket = { 0 };
	char text[BUCKET_TEXT_BYTES];
	json_t *step;
	size_t i;

	json_array_foreach(json_object_get(vector, "steps"), i, step) {
		struct quota q = step_quota(step);
		struct bucket_take take = bucket_take(&bucket, &q, step_int(step, "count"),
		    step_int(step, "paused"), step_int(step, "now"));

		bucket_format(&bucket, text);
		assert_string_equal(text, json_string_value(json_object_get(step, "state")));
		assert_int_equal(take.granted, step_int(step, "granted"));
		assert_int_equal(take.wait_us, step_int(step, "wait_us"));
	}
}

static void
test_vectors_in_c(void **state)
{
	json_t *vector;
	size_t i;

	(void)state;
	assert_true(json_array_size(vectors) > 15);
	json_array_foreach(vectors, i, vector)
		run_case_in_c(vector);
}

/* One step through the script. */
static void
run_step_in_lua(int fd, const json_t *step, const char *key)
{
	struct quota q = step_quota(step);
	char token[32], refill[32], depth[32], count[32], now[32], answer[256], expected[256];

	snprintf(token, sizeof(token), "%" PRId64, q.token);
	snprintf(refill, sizeof(refill), "%" PRId64, q.refill);
	snprintf(depth, sizeof(depth), "%" PRId64, q.depth);
	snprintf(count, sizeof(count), "%" PRId64, step_int(step, "count"));
	snprintf(now, sizeof(now), "%" PRId64, step_int(step, "now"));
	snprintf(expected, sizeof(expected), "%s:pause", key);
	redis_ask(fd, answer, "EVALSHA", bucket_script_sha1, "2", key, expected, token, refill, depth, count, "0", now);
	snprintf(expected, sizeof(expected), ":%" PRId64 " :%" PRId64 " ", step_int(step, "granted"), step_int(step, "wait_us"));
	assert_memory_equal(answer, expected, strlen(expected));
	redis_ask(fd, answer, "GET", key);
	assert_string_equal(answer, json_string_value(json_object_get(step, "state")));
	redis_ask(fd, answer, "PTTL", key);
	assert_in_range(strtol(answer + 1, NULL, 10), bucket_full_us(&q) / 1000, bucket_full_us(&q) / 1000 + 1001);
}

static void
test_vectors_in_lua(void **state)
{
	struct redis_server server = { 0 };
	char answer[256], key[64];
	json_t *vector, *step;
	size_t i, k;
	int fd;

	(void)state;
	redis_server_start(&server);
	fd = loopback_connect(server.port);
	redis_ask(fd, answer, "SCRIPT", "LOAD", bucket_script_text);
	assert_string_equal(answer, bucket_script_sha1);
	json_array_foreach(vectors, i, vector) {
		const char *before = json_string_value(json_object_get(vector, "state"));

		snprintf(key, sizeof(key), "test:2:{case %zu}:bucket", i);
		if (before)
			redis_ask(fd, answer, "SET", key, before);
		json_array_foreach(json_object_get(vector, "steps"), k, step)
			run_step_in_lua(fd, step, key);
	}
	/* Without a time of ours it is the server's, and the bucket begins empty. */
	redis_ask(fd, answer, "EVALSHA", bucket_script_sha1, "2", "test:2:{own}:bucket", "test:2:{own}:pause", "10270000", "99",
	    "12250000", "5", "0", "");
	assert_string_equal(answer, ":0 :103738 :0 :99 :0 :0 :0");
	/* A pause is kept for everyone, is only made longer, and ends. */
	redis_ask(fd, answer, "EVALSHA", bucket_script_sha1, "2", "test:2:{p}:bucket", "test:2:{p}:pause", "10270000", "99",
	    "12250000", "0", "5000000", "1700000000000000");
	assert_string_equal(answer, ":0 :5000000 :0 :99 :5000000 :0 :0");
	redis_ask(fd, answer, "EVALSHA", bucket_script_sha1, "2", "test:2:{p}:bucket", "test:2:{p}:pause", "10270000", "99",
	    "12250000", "3", "1000", "1700000004000000");
	assert_string_equal(answer, ":0 :1000000 :0 :99 :1000000 :0 :0");
	redis_ask(fd, answer, "EVALSHA", bucket_script_sha1, "2", "test:2:{p}:bucket", "test:2:{p}:pause", "10270000", "99",
	    "12250000", "3", "0", "1700000005000000");
	assert_memory_equal(answer, ":1 ", 3);
	redis_ask(fd, answer, "GET", "test:2:{own}:bucket");
	assert_true(llabs(strtoll(answer + 2, NULL, 10) / 1000000 - (long long)time(NULL)) < 10);
	close(fd);
	redis_server_stop(&server);
}

static void
test_script_digest(void **state)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	char hex[41];

	(void)state;
	assert_int_equal(EVP_Digest(bucket_script_text, strlen(bucket_script_text), digest, &n, EVP_sha1(), NULL), 1);
	str_hex_encode(digest, n, hex);
	hex[40] = '\0';
	assert_string_equal(hex, bucket_script_sha1);
}

#define WALK_GRANTS 4000

/* In no window of W + J may more than Q be granted: GRANTS are times in order. */
static void
check_windows(const int64_t *grants, size_t count, const struct quota *q)
{
	for (size_t i = 0; i + (size_t)q->requests < count; i++)
		assert_true(grants[i + (size_t)q->requests] - grants[i] > q->window_us + q->jitter_us);
}

/* Random calls by callers who are greedy, late, idle and out of turn. */
static void
walk(uint64_t seed)
{
	static int64_t grants[WALK_GRANTS + 1000];
	struct config_quota stated;
	struct quota q;
	struct bucket bucket = { 0 };
	const char *why;
	size_t count = 0;
	int64_t now = INT64_C(1700000000000000);

	srand48((long)seed);
	stated = (struct config_quota){ 2 + lrand48() % 400, 1000000 + lrand48() % 20000000, 1000 + lrand48() % 1000000, 0, 1 };
	assert_true(quota_derive(&stated, &q, &why));
	while (count < WALK_GRANTS) {
		long kind = lrand48() % 10;
		struct bucket_take take = bucket_take(&bucket, &q, 1 + lrand48() % 300, 0, now);

		for (int64_t i = 0; i < take.granted; i++)
			grants[count++] = now;
		now += kind < 7 ? take.wait_us : kind == 7 ? lrand48() % 30000 : kind == 8 ? lrand48() % (3 * q.token / q.refill) : 0;
		if (lrand48() % 500 == 0)
			now += q.window_us + q.jitter_us;
	}
	check_windows(grants, count, &q);
}

static void
test_walks(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);

	(void)state;
	print_message("walks from seed %" PRIu64 "\n", seed);
	for (uint64_t i = 0; i < 100; i++)
		walk(seed + i);
}

/* A greedy caller gets all that is promised: in the long run r, to the microsecond. */
static void
test_all_of_the_rate(void **state)
{
	struct config_quota stated = { 100, 10000000, 250000, 0, 1 };
	struct quota q;
	struct bucket bucket = { 0 };
	const char *why;
	int64_t now = 0, granted = 0;

	(void)state;
	assert_true(quota_derive(&stated, &q, &why));
	while (granted < 990) {
		struct bucket_take take = bucket_take(&bucket, &q, 10, 0, now);

		granted += take.granted;
		if (granted < 990)
			now += take.wait_us + 19000;	/* late, but within L */
	}
	assert_in_range(now, 10 * q.token, 10 * q.token + 20000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_in_c), cmocka_unit_test(test_script_digest), cmocka_unit_test(test_vectors_in_lua),
		cmocka_unit_test(test_walks), cmocka_unit_test(test_all_of_the_rate),
	};
	json_t *file = json_load_file(JOBGATE_SOURCE_DIR "/tests/vectors/bucket.json", 0, NULL);
	int failed;

	vectors = json_object_get(file, "cases");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	json_decref(file);
	return failed;
}
