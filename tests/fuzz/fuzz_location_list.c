/* Fuzz target: rewriting a list's continuationUri, and a Location, on any bytes. */
#include "fuzz.h"

#include "base/check.h"
#include "base/json_scan.h"
#include "rules/location.h"

static const struct location_rule rule = { STR_INIT("https://api.fabric.microsoft.com"),
	STR_INIT("https://gate.example"), STR_INIT("/fabric") };

/* Check that A and B have the same tokens, whose texts differ nowhere but in strings; false where A is no JSON. */
static bool
same_tokens(struct str a, struct str b)
{
	struct json_scan x, y;
	enum json_token token;

	json_scan_init(&x, a);
	json_scan_init(&y, b);
	do {
		token = json_scan_next(&x);
		if (token == JSON_FAULT)
			return false;
		check(json_scan_next(&y) == token);
		check(token == JSON_STRING || str_eq(x.text, y.text));
	} while (token != JSON_END);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = { (const char *)data, size }, once, twice, value, id;
	struct arena arena;

	arena_init(&arena);
	once = location_rewrite_list(&arena, body, &rule);
	if (once.p != body.p) {
		check(same_tokens(body, once));
		twice = location_rewrite_list(&arena, once, &rule);	/* what is ours already stays */
		check(twice.p == once.p);
	}
	value = location_rewrite(&arena, body, &rule);
	check(value.p == body.p || str_starts(value, rule.public_origin) || str_starts(value, rule.public_path));
	id = location_instance_id(&arena, body, (struct str){ NULL, 0 });
	check(id.p == NULL || id.n == 36);
	arena_fini(&arena);
	return 0;
}
