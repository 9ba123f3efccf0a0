/* Fuzz target: the body rules, and the reader of an upstream's error, on any bytes. */
#include "fuzz.h"

#include "base/check.h"
#include "base/json_scan.h"
#include "base/utf8.h"
#include "rules/jobbody.h"

/* Tell whether S is UTF-8 from end to end: messages are cut inside callers' words, never inside a character. */
static bool
is_utf8(struct str s)
{
	while (s.n) {
		size_t n = utf8_length(s);

		if (n == 0)
			return false;
		s = str_sub(s, n, s.n);
	}
	return true;
}

/* Check what the header promises of every result. */
static void
check_result(const struct jobbody_result *r)
{
	check(r->ok == (r->fault_total == 0));
	check(r->fault_count <= r->fault_total && r->fault_count <= JOBBODY_FAULTS_MAX);
	check(r->fault_count == r->fault_total || r->fault_count == JOBBODY_FAULTS_MAX);
	check(r->ok == (r->message.n == 0) && is_utf8(r->message));
	for (size_t i = 0; i < r->fault_count; i++)
		check(r->faults[i].code != NULL && r->faults[i].message.n > 0 && r->faults[i].message.n < 512 &&
		    is_utf8(r->faults[i].message));
}

/* Tell whether BODY is JSON as the scanner reads it. */
static bool
is_json(struct str body)
{
	struct json_scan s;
	enum json_token token;

	json_scan_init(&s, body);
	do
		token = json_scan_next(&s);
	while (token != JSON_END && token != JSON_FAULT);
	return token == JSON_END;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = { (const char *)data, size };
	struct jobbody_result r;
	struct jobbody_error error;
	struct arena arena;

	arena_init(&arena);
	jobbody_check(&arena, body, &r);
	check_result(&r);
	check(!r.ok || size == 0 || is_json(body));
	error = jobbody_read_error(&arena, body);
	check(error.error_code.n <= 128 && is_utf8(error.error_code));
	check((error.error_code.p == NULL && !error.is_retriable) || is_json(body));
	arena_fini(&arena);
	return 0;
}
