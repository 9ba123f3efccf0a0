/* The routes of the Job Scheduler API and the one rewrite, ?jobType= to the path form. */
#include "rules/route.h"

#include "base/check.h"
#include "rules/target.h"
#include "rules/uuid.h"

/* Far above the longest job type seen (28); a bound for records and logs. */
#define JOB_TYPE_BYTES_MAX 128

/* Where the segments of every route stand: /v1/workspaces/{ws}/items/{item}/jobs/... */
enum {
	AT_VERSION, AT_WORKSPACES, AT_WORKSPACE, AT_COLLECTION, AT_ITEM, AT_JOBS, AT_FIRST, AT_SECOND, AT_THIRD,
	SEGMENTS_MAX
};

enum word { WORD_OTHER, WORD_INSTANCES, WORD_SCHEDULES, WORD_CANCEL };

enum shape {
	SHAPE_INSTANCES,	/* jobs/instances */
	SHAPE_INSTANCE,		/* jobs/instances/{id} */
	SHAPE_CANCEL,		/* jobs/instances/{id}/cancel */
	SHAPE_RUN,		/* jobs/{jobType}/instances */
	SHAPE_SCHEDULES,	/* jobs/{jobType}/schedules */
	SHAPE_SCHEDULE,		/* jobs/{jobType}/schedules/{id} */
	SHAPE_COUNT,
	SHAPE_NONE
};

/* What each shape has where, and what may be done with it. */
static const struct {
	const char *allow;
	enum operation get, post, patch, delete;	/* OPERATION_NONE: 405 */
	unsigned job_type, id;				/* which segment; 0 where it has none */
} shapes[SHAPE_COUNT] = {
	[SHAPE_INSTANCES] = { "GET, HEAD, POST", OPERATION_LIST, OPERATION_RUN, OPERATION_NONE, OPERATION_NONE, 0, 0 },
	[SHAPE_INSTANCE] = { "GET, HEAD", OPERATION_GET, OPERATION_NONE, OPERATION_NONE, OPERATION_NONE, 0, AT_SECOND },
	[SHAPE_CANCEL] = { "POST", OPERATION_NONE, OPERATION_CANCEL, OPERATION_NONE, OPERATION_NONE, 0, AT_SECOND },
	[SHAPE_RUN] = { "POST", OPERATION_NONE, OPERATION_RUN, OPERATION_NONE, OPERATION_NONE, AT_FIRST, 0 },
	[SHAPE_SCHEDULES] = { "GET, HEAD, POST", OPERATION_SCHEDULE_LIST, OPERATION_SCHEDULE_CREATE, OPERATION_NONE,
	    OPERATION_NONE, AT_FIRST, 0 },
	[SHAPE_SCHEDULE] = { "GET, HEAD, PATCH, DELETE", OPERATION_SCHEDULE_GET, OPERATION_NONE,
	    OPERATION_SCHEDULE_UPDATE, OPERATION_SCHEDULE_DELETE, AT_FIRST, AT_THIRD },
};

/* A route being recognised. */
struct parse {
	struct arena *arena;
	struct target target;
	enum shape shape;
	struct route *out;
};

/* Set the sentence of a refusal. */
static enum route_verdict
refuse(struct route *out, enum route_verdict verdict, const char *fault)
{
	out->fault = fault;
	return verdict;
}

/*
 * The fixed word that a raw segment is, without case. An encoded spelling is none: it would be a word
 * to some and a job type to others, and as a job type it is refused.
 */
static enum word
find_word(struct str segment)
{
	if (str_eq_nocase(segment, STR("instances")))
		return WORD_INSTANCES;
	if (str_eq_nocase(segment, STR("schedules")))
		return WORD_SCHEDULES;
	return str_eq_nocase(segment, STR("cancel")) ? WORD_CANCEL : WORD_OTHER;
}

/* Whether SEGMENT is "items" or one of its item-specific look-alikes (reference: Fabric REST, section 1). */
static bool
is_collection(struct str segment)
{
	static const struct str words[] = { STR_INIT("items"), STR_INIT("notebooks"), STR_INIT("dataPipelines"),
		STR_INIT("lakehouses"), STR_INIT("sparkJobDefinitions"), STR_INIT("dataflows"), STR_INIT("graphModels"),
		STR_INIT("dataBuildToolJobs") };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (str_eq_nocase(segment, words[i]))
			return true;
	return false;
}

/* Recognise what stands behind "jobs". */
static enum shape
find_shape(const struct target *target)
{
	enum word first = find_word(target->segments[AT_FIRST]), second, third;

	if (target->segment_count == AT_FIRST + 1)
		return first == WORD_INSTANCES ? SHAPE_INSTANCES : SHAPE_NONE;
	second = find_word(target->segments[AT_SECOND]);
	if (target->segment_count == AT_SECOND + 1) {
		if (second == WORD_INSTANCES)
			return SHAPE_RUN;
		if (second == WORD_SCHEDULES)
			return SHAPE_SCHEDULES;
		return first == WORD_INSTANCES ? SHAPE_INSTANCE : SHAPE_NONE;
	}
	third = find_word(target->segments[AT_THIRD]);
	if (first == WORD_INSTANCES && third == WORD_CANCEL)
		return SHAPE_CANCEL;
	return second == WORD_SCHEDULES && third == WORD_OTHER ? SHAPE_SCHEDULE : SHAPE_NONE;
}

/* Recognise a whole path by its fixed words. */
static enum shape
find_route(const struct target *target)
{
	const struct str *s = target->segments;

	if (target->segment_count <= AT_FIRST || target->segment_count > SEGMENTS_MAX)
		return SHAPE_NONE;
	/* A trailing slash would be another resource. */
	if (s[target->segment_count - 1].n == 0)
		return SHAPE_NONE;
	if (!str_eq(s[AT_VERSION], STR("v1")) || !str_eq_nocase(s[AT_WORKSPACES], STR("workspaces")) ||
	    !is_collection(s[AT_COLLECTION]) || !str_eq_nocase(s[AT_JOBS], STR("jobs")))
		return SHAPE_NONE;
	return find_shape(target);
}

/* Copy the UUID in segment AT in lower case. */
static bool
take_uuid(struct parse *p, unsigned at, struct str *out)
{
	struct str segment = p->target.segments[at];
	char *lower;

	if (!uuid_is(segment))
		return false;
	lower = arena_alloc(p->arena, UUID_BYTES);
	uuid_lower(segment, lower);
	*out = (struct str){ lower, UUID_BYTES };
	return true;
}

/* Read the ids of the path. */
static enum route_verdict
take_ids(struct parse *p)
{
	unsigned id = shapes[p->shape].id;

	p->out->collection = p->target.segments[AT_COLLECTION];
	if (!take_uuid(p, AT_WORKSPACE, &p->out->workspace))
		return refuse(p->out, ROUTE_BAD_TARGET, "The workspace id is not a UUID");
	if (!take_uuid(p, AT_ITEM, &p->out->item))
		return refuse(p->out, ROUTE_BAD_TARGET, "The item id is not a UUID");
	if (id != 0 && !take_uuid(p, id, &p->out->instance))
		return refuse(p->out, ROUTE_BAD_TARGET, p->shape == SHAPE_SCHEDULE ? "The schedule id is not a UUID" :
		    "The job instance id is not a UUID");
	return ROUTE_OK;
}

/* What METHOD does with the shape, or OPERATION_NONE. */
static enum operation
find_operation(enum shape shape, struct str method)
{
	if (str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")))
		return shapes[shape].get;
	if (str_eq(method, STR("POST")))
		return shapes[shape].post;
	if (str_eq(method, STR("PATCH")))
		return shapes[shape].patch;
	return str_eq(method, STR("DELETE")) ? shapes[shape].delete : OPERATION_NONE;
}

/* Whether S, decoded, can be a job type: unreserved bytes but '~', no fixed word, not dots alone. */
static bool
is_job_type(struct str s)
{
	size_t dots = 0;

	if (s.n == 0 || s.n > JOB_TYPE_BYTES_MAX || find_word(s) == WORD_INSTANCES || find_word(s) == WORD_SCHEDULES)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = str_lower(s.p[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
			return false;
		dots += c == '.';
	}
	return dots < s.n;
}

/* Whether a parameter is the job type to the service: its key without case, and without blanks around it. */
static bool
is_job_type_key(struct str key)
{
	while (key.n > 0 && (key.p[0] == ' ' || key.p[0] == '+' || key.p[0] == '\t'))
		key = str_sub(key, 1, key.n);
	while (key.n > 0 && (key.p[key.n - 1] == ' ' || key.p[key.n - 1] == '+' || key.p[key.n - 1] == '\t'))
		key.n--;
	return str_eq_nocase(key, STR("jobType"));
}

/* Find the jobType parameters: how many, and the last of them in *FOUND. */
static size_t
find_job_types(const struct target *target, struct str *found)
{
	size_t count = 0;

	for (size_t i = 0; i < target->parameter_count; i++)
		if (is_job_type_key(target->parameters[i].key)) {
			*found = target->parameters[i].value;
			count++;
		}
	return count;
}

/* Take the job type of the path, the query or both; two that could be read differently are refused. */
static enum route_verdict
take_job_type(struct parse *p, size_t *in_query)
{
	unsigned at = shapes[p->shape].job_type;
	struct str path = { NULL, 0 }, query = { NULL, 0 }, job_type;

	p->out->legacy = at == 0;
	*in_query = find_job_types(&p->target, &query);
	if (*in_query > 1)
		return refuse(p->out, ROUTE_BAD_JOB_TYPE, "The parameter jobType is given more than once");
	if (at == 0 && *in_query == 0)
		return refuse(p->out, ROUTE_BAD_JOB_TYPE,
		    "The job type is missing: neither in the path nor as jobType");
	/* target_split has seen that every encoding is whole. */
	if (at != 0)
		check(target_decode(p->arena, p->target.segments[at], &path));
	job_type = at != 0 ? path : query;
	if (!is_job_type(job_type))
		return refuse(p->out, ROUTE_BAD_JOB_TYPE,
		    "The job type must be 1 to 128 letters, digits, '_', '-' and '.', and no word of the API");
	if (at != 0 && *in_query == 1 && !str_eq_nocase(path, query))
		return refuse(p->out, ROUTE_BAD_JOB_TYPE, "The job types in path and query differ");
	p->out->job_type = arena_copy(p->arena, job_type);
	return ROUTE_OK;
}

/* The path up to and with "jobs", as the caller spelled it. */
static struct str
find_prefix(const struct target *target)
{
	struct str jobs = target->segments[AT_JOBS];

	return str_sub(target->path, 0, (size_t)(jobs.p + jobs.n - target->path.p));
}

/*
 * Rebuild the target of a run in path form, without the parameter jobType; all others keep their order and spelling. A legal job type
 * needs no encoding.
 */
static struct str
rewrite_run(struct parse *p)
{
	const struct target *target = &p->target;
	struct str prefix = find_prefix(target), parts[4 + 2 * TARGET_PARAMETERS_MAX];
	struct str separator = STR("?");
	size_t count = 0;

	parts[count++] = prefix;
	if (p->out->legacy) {
		parts[count++] = STR("/");
		parts[count++] = p->out->job_type;
	}
	parts[count++] = str_sub(target->path, prefix.n, target->path.n);
	for (size_t i = 0; i < target->parameter_count; i++) {
		if (is_job_type_key(target->parameters[i].key))
			continue;
		parts[count++] = separator;
		parts[count++] = target->parameters[i].raw;
		separator = STR("&");
	}
	return arena_join(p->arena, parts, count);
}

/*
 * Whether some server could take SEGMENT for the scheduler's "jobs": in any case, encoded once or more, with parameters behind
 * it. A segment that stays encoded when it is decoded is not worth the risk.
 */
static bool
may_be_jobs(struct arena *arena, struct str segment)
{
	struct str word;

	if (!target_decode(arena, segment, &word) || str_find_char(word, '%') < word.n)
		return true;
	word = str_trim(word);
	return word.n >= 4 && str_eq_nocase(str_sub(word, 0, 4), STR("jobs")) && (word.n == 4 || word.p[4] == ';' || word.p[4] == ' ');
}

/* Whether the target is under /v1 and none of the scheduler's, however it may be read. */
static bool
is_other_route(const struct parse *p)
{
	const struct target *target = &p->target;

	if (target->segment_count < 2 || !str_eq(target->segments[AT_VERSION], STR("v1")))
		return false;
	for (size_t i = 1; i < target->segment_count; i++)
		if (may_be_jobs(p->arena, target->segments[i]))
			return false;
	return true;
}

/* No route of the scheduler: another one of the API's, or none. */
static enum route_verdict
recognise_other(struct parse *p, struct str plain)
{
	p->out->is_other = is_other_route(p);
	if (p->out->is_other)
		p->out->upstream_target = plain;
	return refuse(p->out, ROUTE_UNKNOWN, p->out->is_other ?
	    "This is no route of the job scheduler; others pass only for callers whose callers[].other_routes says so" :
	    "There is no such route");
}

/* Recognise the split target; PLAIN is it as it would go upstream without a rewrite. */
static enum route_verdict
recognise(struct parse *p, struct str method, struct str plain)
{
	struct route *out = p->out;
	struct str prefix;
	size_t in_query = 0;
	enum route_verdict verdict;

	p->shape = find_route(&p->target);
	if (p->shape == SHAPE_NONE)
		return recognise_other(p, plain);
	verdict = take_ids(p);
	if (verdict != ROUTE_OK)
		return verdict;
	prefix = find_prefix(&p->target);
	out->instances_path = arena_join(p->arena, (struct str[]){ prefix, STR("/instances") }, 2);
	out->operation = find_operation(p->shape, method);
	if (out->operation == OPERATION_NONE) {
		out->allow = shapes[p->shape].allow;
		return refuse(out, ROUTE_BAD_METHOD, "The method is not allowed for this resource");
	}
	if (out->operation == OPERATION_RUN || shapes[p->shape].job_type != 0)
		verdict = take_job_type(p, &in_query);
	if (verdict == ROUTE_OK)
		out->upstream_target = out->operation == OPERATION_RUN && in_query > 0 ? rewrite_run(p) : plain;
	return verdict;
}

/* Take the public path off; it stands in front of /v1 or it is none. */
static struct str
strip_public_path(struct str target, struct str public_path)
{
	struct str rest = str_sub(target, public_path.n, target.n);

	return str_starts(target, public_path) && str_starts(rest, STR("/v1/")) ? rest : target;
}

enum route_verdict
route_parse(struct arena *arena, struct str method, struct str target, const struct route_origin *origin,
    struct route *out)
{
	struct parse p;		/* not zeroed: 3 KB, of which a request uses a tenth */
	struct str plain = strip_public_path(target, origin->public_path);
	const char *fault;

	*out = (struct route){ .operation = OPERATION_NONE };
	if (str_eq(target, STR("*"))) {
		out->allow = "GET, HEAD, POST, PATCH, DELETE";
		return refuse(out, ROUTE_BAD_METHOD, "The method is not allowed for this resource");
	}
	p.arena = arena;
	p.out = out;
	fault = target_split(arena, plain, &p.target);
	if (fault != NULL)
		return refuse(out, ROUTE_BAD_TARGET, fault);
	return recognise(&p, method, plain);
}
