/*
 * The bucket in C and its script in a real Redis say the same: random walks of members that come, go, restart, lose answers,
 * tell odd things, under clocks that step and stores that forget.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "redis_server.h"
#include "rules/bucket_script.h"

#define MEMBERS 5
#define STEPS 400
#ifndef WALKS
#define WALKS 40
#endif
#define REPLY_BYTES 65536

static struct redis_server server;
static int connection = -1;
static uint64_t seed;

/* 0 to N - 1. */
static int64_t
pick(int64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int64_t)((seed >> 33) % (uint64_t)n);
}

/* Whether a walk has more callers than a bucket remembers. */
static bool crowd;
/* Whether its calls come so close that the log is as long as it gets, and parts of it are packed. */
static bool dense;
/* Whether some of its members have a script that knows layout 3 alone, and the digest of that. */
static bool mixed_scripts;
static char older_sha1[41];

static bool
chance(int percent)
{
	return pick(100) < percent;
}

/* What a member of the walk believes. */
struct walker { int64_t start, epoch, number, version, share; bool fresh; };

static const struct config_quota quotas[] = {
	{ 200, 60000000, 250000, 0, 0 }, { 100, 60000000, 250000, 0, 1 }, { 400, 10000000, 50000, 20, 30 },
	{ 20000, 10000000, 50000, 0, 0 }, { 2, 1000000, 10000, 0, 0 }, { 10000000, 3600000000, 60000000, 0, 0 },
};

#define WIDE 3	/* of the quotas: one that so many callers are served by; the one before it fills a log, too */

static void
random_limits(struct bucket_ask *ask)
{
	ask->limit_count = (size_t)pick(4);
	for (size_t i = 0; i < ask->limit_count; i++) {
		snprintf(ask->limits[i].name, BUCKET_NAME_BYTES, "r:limit%zu", i);
		ask->limits[i].requests = 1 + (int64_t)i * 7;
		ask->limits[i].window_us = chance(98) ? 1000000 : 2000000;
		ask->limits[i].burst = 1 + (int64_t)i;
	}
}

static void
random_lanes(struct bucket_ask *ask)
{
	ask->lane_count = (size_t)pick(6);
	for (size_t i = 0; i < ask->lane_count; i++) {
		struct bucket_lane *lane = &ask->lanes[i];

		snprintf(lane->flow, BUCKET_NAME_BYTES, "caller%d", (int)pick(7));
		lane->weight = 1 + pick(5);
		lane->waiting = pick(chance(10) ? 300 : 4);
		lane->ready = lane->waiting > 0 ? pick(lane->waiting + 1) : 0;
		for (size_t k = 0; k < ask->limit_count; k++)
			if (chance(25))
				lane->limits[lane->limit_count++] = (uint8_t)k;
	}
}

/* Callers that come once each, so that nobody moves virtual time on, and one that always waits, so that no busy time ends. */
static void
crowd_lanes(struct bucket_ask *ask)
{
	ask->lane_count = 1 + (size_t)pick(30);
	for (size_t i = 0; i < ask->lane_count; i++) {
		struct bucket_lane *lane = &ask->lanes[i];

		*lane = (struct bucket_lane){ .weight = 1 + pick(5), .waiting = 1, .ready = i > 0 && chance(90) };
		snprintf(lane->flow, BUCKET_NAME_BYTES, "caller%d", i == 0 ? 0 : (int)pick(1000000));
	}
}

static void
random_tellings(struct bucket_ask *ask)
{
	int64_t ago_us = 70000000;

	ask->tells = true;
	ask->own_count = (size_t)pick(5);
	for (size_t i = 0; i < ask->own_count; i++) {
		ago_us -= pick(15000000);
		ask->own[i] = (struct bucket_own){ ago_us, 1 + pick(20), pick(2) };
	}
	ask->peer_count = (size_t)pick(3);
	for (size_t i = 0; i < ask->peer_count; i++) {
		snprintf(ask->peers[i].id, BUCKET_NAME_BYTES, "member%d", (int)pick(MEMBERS + 3));
		ask->peers[i].heard_ago_us = pick(80000000);
		ask->peers[i].share = pick(60);
	}
}

static void
random_ask(struct bucket_ask *ask, struct walker *w, int who, bool alone, bool calm, const struct quota *quota)
{
	memset(ask, 0, sizeof(*ask));
	if (!alone)
		snprintf(ask->id, BUCKET_NAME_BYTES, "member%d", who);
	if (chance(calm ? 0 : 2))
		*w = (struct walker){ .start = w->start + 1 };
	*ask = (struct bucket_ask){ .start = w->start + 1, .born_ago_us = pick(100000000), .sent_ago_us = chance(calm ? 2 : 30) ? pick(70000000) : -1,
		.epoch = w->epoch, .number = w->number, .version = w->version, .share = w->share, .fresh = chance(2),
		.leave = !alone && chance(1), .pause_us = chance(1) ? pick(9000000) : 0, .quota = quota };
	if (!alone)
		snprintf(ask->id, BUCKET_NAME_BYTES, "member%d", who);
	random_limits(ask);
	if (crowd)
		crowd_lanes(ask);
	else
		random_lanes(ask);
	if (chance(calm ? 0 : 6))
		random_tellings(ask);
}

/* Lost answers that are looked for in the next call: which lane each is for, and what is at its key. */
static struct { size_t lane; char found; } looks[8];
static size_t look_count;
/* The mark: none, the asker's own, somebody else's; with the first two there is nothing that it does not know. */
static enum { MARK_NONE, MARK_OWN, MARK_OTHER, MARK_COUNT } mark;
#define LOST_ID "00000000-0000-7000-8000-000000000000"

/* Mark whose the lost answers are. */
static void
random_mark(const struct bucket_ask *ask)
{
	char text[64], value[128];

	mark = (int)pick(MARK_COUNT);
	snprintf(value, sizeof(value), "1795000000000 %s/%lld", mark == MARK_OWN ? ask->id : "another", (long long)ask->start);
	if (mark == MARK_NONE)
		redis_ask(connection, text, "DEL", "m");
	else
		redis_ask(connection, text, "SET", "m", value);
}

/* Put up to eight of them into the store; what is found is not wanted any more, and so not of ASK. */
static void
random_looks(struct bucket_ask *ask)
{
	char key[16], text[512], value[64];

	look_count = 0;
	random_mark(ask);
	for (size_t i = 0; i < ask->lane_count; i++)
		for (int64_t n = ask->lanes[i].ready; n > 0 && look_count < 8; n--) {
			char found = "NAFU-"[pick(5)];

			snprintf(key, sizeof(key), "lost%zu", look_count);
			snprintf(value, sizeof(value), "%c" LOST_ID "%s", found, found == 'A' ? "answer" : "");
			if (found == '-')
				redis_ask(connection, text, "DEL", key);
			else
				redis_ask(connection, text, "SET", key, value);
			looks[look_count].found = found;
			looks[look_count++].lane = i;
			if (found == '-' || found == 'N' || mark != MARK_OTHER)
				continue;
			ask->lanes[i].ready--;
			ask->lanes[i].waiting--;
		}
}

/*
 * Each has found what was there, and an answer is there no more: behind the bucket's answer, how many values of which is returned,
 * stand the number and the text of each that was found, how many they are, and whether there can be none that the asker does not know.
 */
static size_t
check_looks(const struct bucket_script_value *values, size_t count)
{
	size_t pairs = (size_t)values[count - 2].integer, bucket = count - 2 - 2 * pairs;
	const struct bucket_script_value *v = values + bucket;
	char key[32], text[512];

	for (size_t i = 0; i < look_count; i++) {
		char found = looks[i].found;
		bool taken = found == 'A' && mark == MARK_OTHER;

		if (mark == MARK_OTHER && found != '-' && found != 'N') {
			assert_true(v < values + count - 2 && !v[0].is_text && v[1].is_text);
			assert_int_equal(v[0].integer, i);
			assert_int_equal(v[1].text.n, 1 + strlen(LOST_ID) + (found == 'A' ? 6 : 0));
			assert_int_equal(v[1].text.p[0], found);
			v += 2;
		}
		snprintf(key, sizeof(key), "lost%zu", i);
		redis_ask(connection, text, "GET", key);
		assert_int_equal(text[0], taken ? 'N' : found == '-' ? '$' : found);
	}
	assert_ptr_equal(v, values + count - 2);
	assert_true(look_count == 0 || values[count - 1].integer == (mark != MARK_OTHER));
	return bucket;
}

/* Does the member that asks have the script that knows layout 3 alone? */
static bool
is_older(const struct bucket_ask *ask)
{
	return mixed_scripts && (strcmp(ask->id, "member0") == 0 || strcmp(ask->id, "member1") == 0);
}

/* Is what stands at the key of layout 4? */
static bool
is_newer_layout(void)
{
	char text[64];

	redis_ask(connection, text, "EVAL", "local s = redis.call('GET', 'k') return s and cmsgpack.unpack(s).layout or 0", "0");
	return strcmp(text, ":4") == 0;
}

/* How long after the one before a call comes. */
static int64_t
random_step_us(const struct quota *quota)
{
	if (dense && chance(99))
		return pick(2 * quota->slot_us);
	return crowd || chance(97) ? pick(300000) : chance(50) ? pick(70000000) : chance(50) ? -pick(100000000) : pick(400000000);
}

/* Ask the script; the values point into TEXT. */
static size_t
ask_script(const struct bucket_ask *ask, int64_t now_us, char *text, struct bucket_script_value *values)
{
	struct arena arena;
	static const char *const keys[] = { "lost0", "lost1", "lost2", "lost3", "lost4", "lost5", "lost6", "lost7" };
	const char *words[2000] = { "EVALSHA", is_older(ask) ? older_sha1 : bucket_script_sha1, NULL, "k", "m" };
	char lanes[9] = "";
	size_t count, n = 0;
	struct str *arguments, rest, one;

	arena_init(&arena);
	arguments = bucket_script_arguments(&arena, ask, now_us, &count);
	assert_true(count + 6 + look_count < 2000);
	words[2] = arena_printf(&arena, "%zu", 2 + look_count).p;
	for (size_t i = 0; i < look_count; i++) {
		words[5 + i] = keys[i];
		lanes[i] = (char)('@' + looks[i].lane);
	}
	for (size_t i = 0; i < count; i++)
		words[5 + look_count + i] = arena_copy(&arena, arguments[i]).p;
	words[5 + look_count + count] = lanes;
	redis_ask_words(connection, 6 + look_count + count, words, text, REPLY_BYTES);
	arena_fini(&arena);
	if (text[0] == '-')
		fail_msg("%s", text);
	for (rest = str_from(text); str_next(&rest, ' ', &one); n++)
		values[n] = one.p[0] == ':' ? (struct bucket_script_value){ .integer = strtoll(one.p + 1, NULL, 10) } :
		    (struct bucket_script_value){ .is_text = true, .text = one };
	return n;
}

#define SAME(field) do { if (a->field != b->field) fail_msg("%s: %lld in C, %lld in Lua (seed %llu, step %d)", #field, \
	(long long)a->field, (long long)b->field, (unsigned long long)walk, step); } while (0)

static void
compare(const struct bucket_answer *a, const struct bucket_answer *b, size_t lanes, uint64_t walk, int step)
{
	SAME(epoch); SAME(number); SAME(version); SAME(share); SAME(closed); SAME(granted); SAME(bursts); SAME(wait_us);
	SAME(left); SAME(rate); SAME(token); SAME(paused_us); SAME(limit); SAME(out); SAME(reserved); SAME(weight);
	SAME(listed); SAME(peer_count);
	for (size_t i = 0; i < lanes; i++) {
		SAME(lanes[i].granted); SAME(lanes[i].place); SAME(lanes[i].members);
	}
	for (size_t i = 0; i < a->peer_count; i++) {
		assert_string_equal(a->peers[i].id, b->peers[i].id);
		SAME(peers[i].heard_ago_us); SAME(peers[i].share);
	}
}

static size_t layouts[2];	/* steps at which the bucket was not, and was, of layout 4 */

static int64_t
walk_one(uint64_t walk, struct quota *derived, size_t quota_count, bool looking)
{
	static struct bucket_ask ask, as_asked;
	static struct bucket_answer mine, theirs;
	static struct bucket_script_value values[1200];
	static char text[REPLY_BYTES];
	struct walker walkers[MEMBERS] = { { 0 } };
	struct bucket *bucket = bucket_new();
	int64_t now_us = INT64_C(1795000000000000) + pick(1000000);
	bool alone = chance(20), mixed = !crowd && !dense && chance(30), calm = crowd || chance(60);
	size_t common = crowd ? WIDE : dense ? WIDE - (size_t)pick(2) : (size_t)pick((int64_t)quota_count);
	int64_t granted = 0;
	size_t value_count;

	redis_ask(connection, text, "DEL", "k");
	for (int step = 0; step < (dense ? 4 : 1) * STEPS; step++) {
		int who = (int)pick(alone ? 1 : MEMBERS);
		struct walker *w = &walkers[who];

		now_us += random_step_us(&derived[common]);
		if (chance(1) && !crowd) {
			redis_ask(connection, text, "DEL", "k");
			bucket_free(&bucket);
			bucket = bucket_new();
		}
		random_ask(&ask, w, who, alone, calm, &derived[mixed ? (size_t)pick((int64_t)quota_count) : common]);
		as_asked = ask;
		if (mixed_scripts) {
			bool newer = is_newer_layout();

			layouts[newer]++;
			if (newer && is_older(&ask)) {	/* to that one it is no bucket */
				bucket_free(&bucket);
				bucket = bucket_new();
			}
		}
		look_count = 0;
		if (looking && chance(30))
			random_looks(&ask);
		bucket_take(bucket, &ask, now_us, &mine);
		value_count = check_looks(values, ask_script(&as_asked, now_us, text, values));
		if (!bucket_script_answer(&ask, values, value_count, &theirs))
			fail_msg("no answer: %s", text);
		compare(&mine, &theirs, ask.lane_count, walk, step);
		granted += mine.granted;
		if (chance(90))		/* else the answer is lost */
			*w = (struct walker){ w->start, mine.epoch, mine.number, mine.version, mine.share, false };
	}
	bucket_free(&bucket);
	return granted;
}

static void
test_walks(void **state)
{
	struct quota derived[sizeof(quotas) / sizeof(quotas[0])];
	const char *why;
	uint64_t first = 20261124;
	int64_t granted = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(quotas) / sizeof(quotas[0]); i++)
		assert_true(quota_derive(&quotas[i], &derived[i], &why));
	for (uint64_t walk = first; walk < first + WALKS; walk++) {
		seed = walk;
		crowd = walk % 8 == 1;
		dense = walk % 4 == 2;
		mixed_scripts = walk % 8 == 3 || walk % 8 == 6;
		granted += walk_one(walk, derived, sizeof(quotas) / sizeof(quotas[0]), walk % 4 == 0);
	}
	look_count = 0;
	mixed_scripts = false;
	assert_true(granted > 100 * WALKS);	/* else the walks show little */
	assert_true(layouts[0] > STEPS && layouts[1] > STEPS / 4);
}

/*
 * A bucket whose log is packed goes back to layout 3 when a member is told of that has not called yet, and nothing of it is lost;
 * the log is as long as it gets, so that each of its parts is looked into.
 */
static void
test_layouts(void **state)
{
	static struct bucket_ask ask;
	static struct bucket_answer mine, theirs;
	static struct bucket_script_value values[1200];
	static char text[REPLY_BYTES];
	struct bucket *bucket = bucket_new();
	int64_t now_us = INT64_C(1795000000000000);
	struct quota quota;
	const char *why;

	(void)state;
	assert_true(quota_derive(&quotas[WIDE - 1], &quota, &why));
	redis_ask(connection, text, "DEL", "k");
	ask = (struct bucket_ask){ .id = "member0", .start = 1, .sent_ago_us = -1, .quota = &quota, .lane_count = 1, .tells = true,
		.lanes = { { .flow = "x", .weight = 1 } } };
	for (int step = 0; step < 700; step++) {
		now_us += step < 100 ? 50000 : quota.slot_us;
		ask.lanes[0].ready = ask.lanes[0].waiting = step % 3;
		ask.peer_count = step == 500;
		ask.peers[0] = (struct bucket_peer){ "member5", 0, 3 };
		ask.tells = step < 100 || step == 500;
		bucket_take(bucket, &ask, now_us, &mine);
		assert_true(bucket_script_answer(&ask, values, check_looks(values, ask_script(&ask, now_us, text, values)), &theirs));
		compare(&mine, &theirs, 1, 0, step);
		assert_true(step != 500 || mine.out > 200);
		ask.epoch = mine.epoch;
		ask.number = mine.number;
		assert_int_equal(is_newer_layout(), step < 500);
		redis_ask(connection, text, "EVAL", "return #(cmsgpack.unpack(redis.call('GET', 'k')).middle or {})", "0");
		assert_string_equal(text, step >= 500 ? ":0" : step >= 200 ? ":5" : text);
	}
	bucket_free(&bucket);
}

/*
 * A member whose script does not mark what it has lost was there: all look for lost answers, for an hour after it was there last.
 */
static void
test_unmarked(void **state)
{
	static struct bucket_ask ask;
	static struct bucket_answer answer;
	static struct bucket_script_value values[1200];
	static char text[REPLY_BYTES];
	static const struct { const char *id; bool older, leave; const char *mark; } calls[] = {
		{ "member2", false, false, "$-1" }, { "member0", true, false, "$-1" }, { "member2", false, false, "*" },
		{ "member2", false, false, "*" }, { "member0", true, true, "$-1" }, { "member2", false, false, "*" },
		{ "member2", false, false, "$-1" } };
	struct quota quota;
	const char *why;

	(void)state;
	assert_true(quota_derive(&quotas[0], &quota, &why));
	redis_ask(connection, text, "DEL", "k");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		redis_ask(connection, text, "DEL", "m");
		mixed_scripts = calls[i].older;
		ask = (struct bucket_ask){ .start = 1, .sent_ago_us = -1, .leave = calls[i].leave, .quota = &quota };
		memcpy(ask.id, calls[i].id, strlen(calls[i].id));
		assert_true(bucket_script_answer(&ask, values, check_looks(values, ask_script(&ask, 0, text, values)), &answer));
		redis_ask(connection, text, "GET", "m");
		if (strcmp(text, calls[i].mark) != 0 && (calls[i].mark[0] != '*' || strstr(text, " *") == NULL))
			fail_msg("call %zu: %s", i, text);
		redis_ask(connection, text, "PTTL", "m");
		assert_true((strtoll(text + 1, NULL, 10) > 3590000) == (calls[i].mark[0] == '*'));
	}
	mixed_scripts = false;
}

/* What another layout, or somebody else, has left at the key counts as no bucket. */
static void
test_foreign_state(void **state)
{
	static const char *const foreign[] = { "", "5:6:7", "\x81\xa6layout\x02", "\x81\xa6layout\x05", "\x93\x01\x02\x03", "\xc1" };
	static struct bucket_ask ask;
	static struct bucket_script_value values[1200];
	static char text[REPLY_BYTES];
	struct bucket_answer answer;
	struct quota quota;
	const char *why;

	(void)state;
	assert_true(quota_derive(&quotas[0], &quota, &why));
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		redis_ask(connection, text, "SET", "k", foreign[i]);
		seed = i;
		random_ask(&ask, &(struct walker){ 0 }, 1, false, true, &quota);
		ask.leave = false;
		assert_true(bucket_script_answer(&ask, values, check_looks(values, ask_script(&ask, 0, text, values)), &answer));
		assert_int_equal(answer.closed, BUCKET_STRANGE);
		assert_int_equal(answer.number, 1);
	}
}

/* Take WORD out of a text that ends in NUL. */
static void
cut(char *text, const char *word)
{
	char *at = strstr(text, word);

	assert_non_null(at);
	memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

/* Have the server load the script as it would be if it knew layout 3 alone, and no marks. */
static void
load_older(void)
{
	char *older = strdup(bucket_script_text), text[256];

	check(older != NULL);
	cut(older, " or read.layout == 4");
	cut(older, "  m.layout = 5\n");
	cut(older, "    redis.call('SET', KEYS[2], floor(now / 1000) + HOUR .. ' *', 'PX', HOUR)\n");
	cut(older, "  b.marks = marks\n");
	redis_ask(connection, text, "SCRIPT", "LOAD", older);
	free(older);
	memcpy(older_sha1, text, sizeof(older_sha1) - 1);
}

static int
start(void **state)
{
	char text[256];

	(void)state;
	redis_server_start(&server);
	connection = loopback_connect(server.port);
	redis_ask(connection, text, "SCRIPT", "LOAD", bucket_script_text);
	assert_string_equal(text, bucket_script_sha1);
	load_older();
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	close(connection);
	redis_server_stop(&server);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_walks), cmocka_unit_test(test_layouts), cmocka_unit_test(test_unmarked), cmocka_unit_test(test_foreign_state) };

	return cmocka_run_group_tests(tests, start, stop);
}
