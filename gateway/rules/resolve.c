/* Which of an item's instances a run has started. */
#include "rules/resolve.h"

#include <string.h>

#include "base/json_scan.h"

/* "2026-08-01T12:34:56.1234567Z" has 28; more is no time of the service's. */
#define RESOLVE_TIME_MAX 40

/* What one instance says of itself; texts as they stand, p NULL: not said. */
struct resolve_instance {
	struct str id, job_type, invoke_type, activity, start;
};

struct str
resolve_why_name(enum resolve_why why)
{
	static const struct str names[RESOLVE_WHY_COUNT] = { STR_INIT("matched"), STR_INIT("none"), STR_INIT("several"),
		STR_INIT("failed") };

	return names[why];
}

/* Where of INSTANCE the member KEY goes; NULL for one that nobody asks for. */
static struct str *
instance_member(struct resolve_instance *instance, struct str key)
{
	const struct { struct str name; struct str *to; } members[] = {
		{ STR_INIT("id"), &instance->id },
		{ STR_INIT("jobType"), &instance->job_type },
		{ STR_INIT("invokeType"), &instance->invoke_type },
		{ STR_INIT("rootActivityId"), &instance->activity },
		{ STR_INIT("startTimeUtc"), &instance->start },
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (str_eq(key, members[i].name))
			return members[i].to;
	return NULL;
}

/* Read an instance to its end; false on a fault. */
static bool
read_instance(struct json_scan *scan, struct resolve_instance *instance)
{
	enum json_token token;

	*instance = (struct resolve_instance){ { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
	while ((token = json_scan_next(scan)) == JSON_KEY) {
		struct str *to = instance_member(instance, scan->text);

		token = json_scan_next(scan);
		if (token == JSON_STRING && to != NULL)
			*to = scan->text;
		else if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(scan))
			return false;
	}
	return token == JSON_OBJECT_END;
}

/* The service writes its times without a Z (fabric.md 2). */
static bool
instance_time(struct str text, struct wall_time *out)
{
	char zoned[RESOLVE_TIME_MAX + 1];

	if (text.n == 0 || text.n > RESOLVE_TIME_MAX)
		return false;
	memcpy(zoned, text.p, text.n);
	zoned[text.n] = 'Z';
	return clock_parse_date_time((struct str){ zoned, text.n + 1 }, out) || clock_parse_date_time(text, out);
}

/* Count an instance that the run may have started. */
static void
found_add(struct resolve_found *found, const struct resolve_instance *instance)
{
	found->count++;
	uuid_lower(instance->id, found->id);
}

/* Whether the instance may be what the run started, as far as it can be told without knowing its activity. */
static bool
instance_is_free(const struct resolve_instance *instance, const struct resolve_run *run)
{
	return str_eq_nocase(instance->invoke_type, STR("Manual")) && !(run->is_taken && run->is_taken(run->arg, instance->id));
}

/* Take one instance into account; false where it is none that can be judged. */
static bool
take_instance(const struct resolve_instance *instance, const struct resolve_run *run, struct resolve_found *found)
{
	struct wall_time start;

	if (!uuid_is(instance->id) || instance->job_type.p == NULL)
		return false;
	if (!str_eq_nocase(instance->job_type, run->job_type))
		return true;
	if (run->activity.p != NULL) {
		if (str_eq_nocase(instance->activity, run->activity))
			found_add(found, instance);
		return true;
	}
	if (!instance_is_free(instance, run))
		return true;
	if (instance->start.p == NULL) {
		found->undated++;
		return true;
	}
	if (!instance_time(instance->start, &start))
		return false;
	if (start.us >= run->from.us && start.us <= run->to.us)
		found_add(found, instance);
	return true;
}

/* Read the array of instances. */
static bool
read_instances(struct json_scan *scan, const struct resolve_run *run, struct resolve_found *found)
{
	struct resolve_instance instance;
	enum json_token token;

	while ((token = json_scan_next(scan)) == JSON_OBJECT)
		if (!read_instance(scan, &instance) || !take_instance(&instance, run, found))
			return false;
	return token == JSON_ARRAY_END;
}

/* What a page says beside its instances. */
struct resolve_page {
	struct arena *arena;
	struct str token;		/* p NULL: none */
	bool has_list, goes_on;
};

/* Read the value of the top-level member KEY. */
static bool
read_member(struct json_scan *scan, struct str key, const struct resolve_run *run, struct resolve_found *found,
    struct resolve_page *page)
{
	enum json_token token = json_scan_next(scan);
	char *copy;

	if (token == JSON_ARRAY && str_eq(key, STR("value"))) {
		page->has_list = true;
		return read_instances(scan, run, found);
	}
	if (token == JSON_OBJECT || token == JSON_ARRAY)
		return json_scan_skip(scan);
	if (token == JSON_STRING && scan->text.n > 0 && str_eq(key, STR("continuationToken"))) {
		copy = arena_alloc(page->arena, scan->text.n);
		page->token = (struct str){ copy, json_unescape(scan->text, copy) };
	}
	if (token == JSON_STRING && scan->text.n > 0 && str_eq(key, STR("continuationUri")))
		page->goes_on = true;
	return token != JSON_FAULT;
}

bool
resolve_read_page(struct arena *arena, struct str body, const struct resolve_run *run, struct resolve_found *found,
    struct str *token)
{
	struct resolve_page page = { .arena = arena };
	struct json_scan scan;
	enum json_token got;

	*token = page.token;
	json_scan_init(&scan, body);
	if (json_scan_next(&scan) != JSON_OBJECT)
		return false;
	while ((got = json_scan_next(&scan)) == JSON_KEY)
		if (!read_member(&scan, scan.text, run, found, &page))
			return false;
	if (got != JSON_OBJECT_END || json_scan_next(&scan) != JSON_END)
		return false;
	*token = page.token;
	return page.has_list && (page.token.p != NULL || !page.goes_on);
}

enum resolve_why
resolve_judge(const struct resolve_found *found, bool contested)
{
	if (found->count == 0 && found->undated == 0)
		return RESOLVE_NONE;
	return found->count == 1 && found->undated == 0 && !contested ? RESOLVE_MATCHED : RESOLVE_SEVERAL;
}
