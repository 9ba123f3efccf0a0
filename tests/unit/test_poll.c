/* What of a GET's answer may serve other GETs: wishes, keys, states, and what is said of time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "rules/poll.h"

#define S ((int64_t)CLOCK_SECOND)

/* A head with the NAMES and values given in pairs, ended by NULL. */
static struct http1_head *
head_of(const char *const *pairs)
{
	struct http1_head *head = calloc(1, sizeof(*head));

	assert_non_null(head);
	for (; pairs[0]; pairs += 2)
		head->fields[head->field_count++] = (struct http1_field){ str_from(pairs[0]), str_from(pairs[1]) };
	return head;
}

/* What is wished of a kept answer. */
static void
test_wishes(void **state)
{
	static const struct {
		const char *pairs[7];
		bool conditional;
		int64_t max_age_us;
	} cases[] = {
		{ { NULL }, false, INT64_MAX },
		{ { "Cache-Control", "no-cache", NULL }, false, 0 },
		{ { "cache-control", "no-transform, No-Cache", NULL }, false, 0 },
		{ { "Cache-Control", "max-age=3", NULL }, false, 3 * S },
		{ { "Cache-Control", "max-age=9", "Cache-Control", " max-age=4 , max-age=7", NULL }, false, 4 * S },
		{ { "Cache-Control", "max-age=99999999999999999999", NULL }, false, INT64_MAX },
		{ { "Cache-Control", "max-age=", NULL }, false, INT64_MAX },
		{ { "Cache-Control", "x-no-cache", NULL }, false, INT64_MAX },
		{ { "Pragma", "no-cache", NULL }, false, 0 },
		{ { "Pragma", "no-cache", "Cache-Control", "max-age=2", NULL }, false, 2 * S },
		{ { "If-None-Match", "\"x\"", NULL }, true, INT64_MAX },
		{ { "if-modified-since", "x", NULL }, true, INT64_MAX },
		{ { "Range", "bytes=0-1", "Cache-Control", "no-cache", NULL }, true, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http1_head *head = head_of(cases[i].pairs);
		struct poll_wish wish = poll_read_wish(head);

		assert_int_equal(wish.conditional, cases[i].conditional);
		assert_int_equal(wish.max_age_us, cases[i].max_age_us);
		free(head);
	}
}

/* Whatever is not known to be harmless selects. */
static void
test_what_selects(void **state)
{
	static const struct { const char *name, *value; bool selects; } cases[] = {
		{ "Accept", "application/json", true }, { "Accept", "*/*", false }, { "accept-language", "de", true },
		{ "Accept-Encoding", "gzip", true }, { "X-Anything", "1", true }, { "Origin", "https://a.example", true },
		{ "x-ms-return-client-request-id", "true", true }, { "authorization", "Bearer x", false }, { "User-Agent", "x", false },
		{ "Traceparent", "x", false }, { "x-ms-client-request-id", "x", false }, { "Cache-Control", "no-cache", false },
		{ "Cookie2", "x", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http1_field field = { str_from(cases[i].name), str_from(cases[i].value) };

		assert_int_equal(poll_selects(&field), cases[i].selects);
	}
}

/* The key of a route under an identity. */
static struct buf
key_of(struct config_identity identity, struct route route, const char *selecting)
{
	struct buf out = BUF_EMPTY;

	poll_add_key(&out, &identity, &route, str_from(selecting));
	return out;
}

/* Each part makes another key; what is the same in any case does not; no part can be told for two. */
static void
test_keys(void **state)
{
	const struct config_identity one = { .name = STR("one") };
	const struct route route = { .workspace = STR("ws"), .item = STR("it"), .instance = STR("in"), .collection = STR("items"),
		.upstream_target = STR("/v1/x?q=1") };
	struct config_identity identities[] = { one, one, one, one, one };
	struct route routes[] = { route, route, route, route, route, route };
	struct buf keys[16], same = key_of(one, route, "");
	size_t count = 0;

	(void)state;
	identities[0].name = STR("two");
	identities[1].credential.kind = CONFIG_CREDENTIAL_CLIENT_SECRET;
	identities[2].credential.tenant = STR("t");
	identities[3].credential.client_id = STR("t");
	identities[4].credential.scope = STR("t");
	for (size_t i = 0; i < 5; i++)
		keys[count++] = key_of(identities[i], route, "");
	routes[0].workspace = STR("other");
	routes[1].item = STR("other");
	routes[2].instance = STR("");
	routes[3].collection = STR("notebooks");
	routes[4].upstream_target = STR("/v1/x?q=2");
	routes[5].upstream_target = STR("/v1/x");
	for (size_t i = 0; i < 6; i++)
		keys[count++] = key_of(one, routes[i], "");
	keys[count++] = key_of(one, route, "Accept: text/plain\r\n");
	keys[count++] = same;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			assert_false(str_eq(buf_str(&keys[i]), buf_str(&keys[k])));
	routes[0] = route;
	routes[0].collection = STR("Items");
	routes[0].upstream_target = STR("/V1/Y?q=1");
	buf_fini(&keys[0]);
	keys[0] = key_of(one, routes[0], "");
	assert_true(str_eq(buf_str(&keys[0]), buf_str(&same)));
	for (size_t i = 0; i < count; i++)
		buf_fini(&keys[i]);
}

/* States: the terminal ones are four; whatever is no instance's body, or says it twice, has none. */
static void
test_states(void **state)
{
	static const struct { const char *body; bool known, terminal; } cases[] = {
		{ "{\"id\":\"x\",\"status\":\"NotStarted\"}", true, false },
		{ "{\"status\":\"InProgress\",\"failureReason\":{\"status\":\"Failed\"}}", true, false },
		{ "{\"status\":\"Completed\"}", true, true }, { "{\"status\":\"failed\"}", true, true },
		{ "{\"status\":\"Cancelled\"}", true, true }, { "{\"status\":\"Deduped\"}", true, true },
		{ "{\"status\":\"Succeeded\"}", true, false }, { "{\"stat\\u0075s\":\"Complet\\u0065d\"}", true, true },
		{ "{\"status\":\"\"}", true, false }, { "{\"status\":null}", false, false }, { "{}", false, false },
		{ "[{\"status\":\"Completed\"}]", false, false }, { "", false, false }, { "{\"status\":\"Completed\"", false, false },
		{ "{\"status\":\"Completed\"}x", false, false }, { "{\"status\":\"Completed\",\"status\":\"Failed\"}", false, false },
		{ "{\"status\":\"a\",\"status\":\"b\",\"status\":\"Completed\"}", false, false },
		{ "\x1f\x8b", false, false },
	};

	const struct wall_time start = { INT64_C(1785585296) * CLOCK_SECOND };	/* 2026-08-01T11:54:56Z */

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct poll_state found = poll_read_state(str_from(cases[i].body), start);

		assert_int_equal(found.known, cases[i].known);
		assert_int_equal(found.terminal, cases[i].terminal);
		assert_int_equal(found.status != 0, cases[i].known);
	}
	assert_true(poll_read_state(STR("{\"status\":\"A\"}"), start).status
	    == poll_read_state(STR("{\"x\":1,\"status\":\"A\"}"), start).status);
	assert_true(poll_read_state(STR("{\"status\":\"A\"}"), start).status
	    != poll_read_state(STR("{\"status\":\"B\"}"), start).status);
}

/* Right after the 202 an instance may be said not to be found: that passes; of an older one it is the truth. */
static void
test_brief(void **state)
{
	static const struct { const char *body; bool brief, terminal; } cases[] = {
		{ "{\"status\":\"Failed\",\"startTimeUtc\":\"2026-08-01T11:54:56.1234567\",\"failureReason\":{\"errorCode\":\"NotFound\"}}", true, false },
		{ "{\"status\":\"Failed\",\"failureReason\":{\"message\":{},\"errorCode\":\"JobInstanceNotFound\"}}", true, false },
		{ "{\"failureReason\":{\"errorCode\":\"notfound\"},\"status\":\"NotStarted\",\"startTimeUtc\":\"2026-08-01T11:54:56\"}", true, false },
		{ "{\"status\":\"Failed\",\"startTimeUtc\":\"2026-08-01T11:53:50.1\",\"failureReason\":{\"errorCode\":\"NotFound\"}}", false, true },
		{ "{\"status\":\"Failed\",\"failureReason\":{\"errorCode\":\"NotFoundAtAll\"}}", false, true },
		{ "{\"status\":\"Failed\",\"failureReason\":{\"errorCode\":\"x\"},\"x\":{\"errorCode\":\"NotFound\"}}", false, true },
		{ "{\"status\":\"Failed\",\"failureReason\":null}", false, true },
		{ "{\"status\":\"Failed\",\"failureReason\":[\"NotFound\"]}", false, true },
	};
	const struct wall_time now = { INT64_C(1785585300) * CLOCK_SECOND };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct poll_state found = poll_read_state(str_from(cases[i].body), now);

		assert_true(found.known);
		assert_int_equal(found.brief, cases[i].brief);
		assert_int_equal(found.terminal, cases[i].terminal);
	}
}

/* How long who asks for what is not there waits for the next call. */
static void
test_pauses(void **state)
{
	const struct config_polls polls = { .min_refresh_us = 5 * S };

	(void)state;
	assert_int_equal(poll_pause_us(&polls, 1), S / 2);
	assert_int_equal(poll_pause_us(&polls, 2), S);
	assert_int_equal(poll_pause_us(&polls, 4), 4 * S);
	assert_int_equal(poll_pause_us(&polls, 5), 5 * S);
	assert_int_equal(poll_pause_us(&polls, 4000000000u), 5 * S);
}

/* How long an answer stands. */
static void
test_stands(void **state)
{
	const struct config_polls polls = { .refresh_us = 15 * S, .keep_us = 600 * S };

	(void)state;
	assert_int_equal(poll_stands_us(&polls, false, (struct str){ NULL, 0 }), 15 * S);
	assert_int_equal(poll_stands_us(&polls, false, STR("3")), 3 * S);
	assert_int_equal(poll_stands_us(&polls, false, STR("60")), 15 * S);
	assert_int_equal(poll_stands_us(&polls, false, STR("99999999999999999999")), 15 * S);
	assert_int_equal(poll_stands_us(&polls, false, STR("0")), 15 * S);
	assert_int_equal(poll_stands_us(&polls, false, STR("Sat, 01 Aug 2026 12:34:56 GMT")), 15 * S);
	assert_int_equal(poll_stands_us(&polls, true, STR("3")), 600 * S);
}

/* What a kept answer says of its time: FIELDS as "Name: value" lines before and after. */
static void
test_dates(void **state)
{
	static const struct { const char *age, *retry; int64_t age_us, due_us; bool terminal; const char *age_after, *retry_after; } cases[] = {
		{ NULL, NULL, 0, 15 * S, false, "0", "15" },
		{ NULL, NULL, 1999999, 13000001, false, "1", "14" },
		{ NULL, NULL, 20 * S, -5 * S, false, "20", "1" },
		{ NULL, "60", 3500000, 11500000, false, "3", "57" },
		{ NULL, "2", 3 * S, -1 * S, false, "3", "1" },
		{ "7", "0", 2 * S, 13 * S, false, "9", "1" },
		{ "x", "Sat, 01 Aug 2026 12:34:56 GMT", 2 * S, 1, false, "2", "Sat, 01 Aug 2026 12:34:56 GMT" },
		{ NULL, NULL, 2 * S, 500 * S, true, "2", NULL },
		{ NULL, "30", 2 * S, 500 * S, true, "2", "28" },
		{ NULL, NULL, -1, 15 * S, false, "0", "15" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http1_field fields[5] = { { STR("RequestId"), STR("r") } };
		const char *after[] = { cases[i].age_after, cases[i].retry_after };
		const struct str names[] = { STR("age"), STR("retry-after") };
		size_t count = 1;
		struct arena arena;

		arena_init(&arena);
		if (cases[i].age)
			fields[count++] = (struct http1_field){ STR("age"), str_from(cases[i].age) };
		if (cases[i].retry)
			fields[count++] = (struct http1_field){ STR("retry-after"), str_from(cases[i].retry) };
		count = poll_date(&arena, fields, count, cases[i].age_us, cases[i].due_us, cases[i].terminal);
		assert_int_equal(count, 1 + (after[0] != NULL) + (after[1] != NULL));
		for (size_t k = 0; k < 2; k++)
			for (size_t f = 0; f < count; f++)
				if (str_eq_nocase(fields[f].name, names[k]))
					assert_true(str_eq(fields[f].value, str_from(after[k])));
		arena_fini(&arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_wishes), cmocka_unit_test(test_what_selects),
		cmocka_unit_test(test_keys), cmocka_unit_test(test_states), cmocka_unit_test(test_brief), cmocka_unit_test(test_pauses), cmocka_unit_test(test_stands),
		cmocka_unit_test(test_dates) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
