/* The body of a run. */
#include "rules/jobbody.h"

#include "base/check.h"
#include "base/json_scan.h"
#include "base/utf8.h"
#include "rules/jobbody_keys.h"
#include "rules/jobbody_names.h"
#include "rules/jobbody_value.h"

/* The page's bound, in characters (code points here). */
#define JOBBODY_NAME_MAX 256

/* How much of a caller's own word an error repeats. */
#define JOBBODY_QUOTED_BYTES 64

_Static_assert(JOBBODY_DEPTH_MAX == JSON_SCAN_DEPTH_MAX, "the scanner's bound is the body's");

/* One check under way. */
struct jobbody_checker {
	struct json_scan scan;
	struct arena *arena;			/* borrowed: messages */
	struct jobbody_result *result;		/* borrowed */
	struct jobbody_keys keys;		/* of the objects that are open, outermost first */
	size_t open[JSON_SCAN_DEPTH_MAX + 1];	/* by depth: where the keys of that object begin */
	struct jobbody_names names;
	const char *member;			/* what is being read: "the body", "executionData" ... */
	bool in_parameter;
	size_t parameter;			/* index of the present or next one */
	struct str name;			/* of the present parameter; p NULL while not known */
};

/* What is kept of a parameter until its end, since its members come in any order. */
struct jobbody_parameter {
	struct jobbody_member name, type, value;
};

/* Say where the check is, as the beginning of a message. */
static struct str
checker_where(const struct jobbody_checker *c)
{
	struct str name = utf8_cut(c->name, JOBBODY_QUOTED_BYTES);

	if (!c->in_parameter)
		return str_from(c->member);
	if (name.p == NULL)
		return arena_printf(c->arena, "parameters[%zu]", c->parameter);
	return arena_printf(c->arena, "parameters[%zu] (\"%.*s\")", c->parameter, STR_ARG(name));
}

/* The place for the next fault that is listed. */
static struct jobbody_fault *
checker_next_fault(struct jobbody_checker *c)
{
	struct jobbody_result *r = c->result;

	if (r->faults == NULL)
		r->faults = arena_alloc(c->arena, JOBBODY_FAULTS_MAX * sizeof(*r->faults));
	return &r->faults[r->fault_count++];
}

/* Count a fault, and list it while there is room: WHAT, and what of the caller's it is about (p NULL: nothing). */
static void
checker_fault(struct jobbody_checker *c, const char *what, struct str about)
{
	struct jobbody_result *r = c->result;
	struct str where, quoted = utf8_cut(about, JOBBODY_QUOTED_BYTES);
	struct jobbody_fault *fault;

	r->fault_total++;
	if (r->fault_count == JOBBODY_FAULTS_MAX)
		return;
	where = checker_where(c);
	fault = checker_next_fault(c);
	fault->code = "InvalidParameter";
	if (quoted.p == NULL)
		fault->message = arena_printf(c->arena, "%.*s: %s", STR_ARG(where), what);
	else
		fault->message = arena_printf(c->arena, "%.*s: %s \"%.*s\"", STR_ARG(where), what, STR_ARG(quoted));
}

/* A fault that needs no word of the caller's. */
static void
checker_fault_plain(struct jobbody_checker *c, const char *what)
{
	checker_fault(c, what, (struct str){ NULL, 0 });
}

/* Report the keys of the object that has just ended which stand twice in it, and forget its keys. */
static void
checker_close_object(struct jobbody_checker *c, size_t from)
{
	struct jobbody_keys *k = &c->keys;

	jobbody_keys_sort(k, from);
	for (size_t i = from + 1; i < k->count; i++) {
		struct str key = jobbody_keys_text(k, &k->keys[i]);

		if (str_eq(key, jobbody_keys_text(k, &k->keys[i - 1])))
			checker_fault(c, "a key stands more than once in an object:", key);
	}
	jobbody_keys_drop(k, from);
}

/* Read the next token, keeping account of the keys. */
static enum json_token
checker_next(struct jobbody_checker *c)
{
	enum json_token token = json_scan_next(&c->scan);

	if (token == JSON_OBJECT)
		c->open[c->scan.depth] = c->keys.count;
	else if (token == JSON_KEY)
		jobbody_keys_add(&c->keys, c->scan.text, c->scan.escaped);
	else if (token == JSON_OBJECT_END)
		checker_close_object(c, c->open[c->scan.depth + 1]);
	return token;
}

/* Having read the first TOKEN of a value, read the rest of it. */
static void
checker_finish(struct jobbody_checker *c, enum json_token token)
{
	unsigned outside = c->scan.depth - 1;

	if (token != JSON_OBJECT && token != JSON_ARRAY)
		return;
	while (c->scan.depth > outside && token != JSON_FAULT)
		token = checker_next(c);
}

/* Return the key that has just been read. */
static struct str
checker_key(const struct jobbody_checker *c)
{
	check(c->keys.count > 0);
	return jobbody_keys_text(&c->keys, &c->keys.keys[c->keys.count - 1]);
}

/* Count the characters of UTF-8. */
static size_t
count_characters(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

/* Tell whether a member is a string that says something. */
static bool
has_text(const struct jobbody_member *m)
{
	return m->token == JSON_STRING && m->text.n > 0;
}

/* Tell whether a member is not there, or as good as not. */
static bool
is_missing(const struct jobbody_member *m)
{
	return m->token == JSON_END || m->token == JSON_NULL || (m->token == JSON_STRING && m->text.n == 0);
}

/* Judge a parameter of which everything has been read. */
static void
checker_judge_parameter(struct jobbody_checker *c, const struct jobbody_parameter *p)
{
	const char *fault;

	if (p->name.token == JSON_STRING && c->name.n == 0)
		checker_fault_plain(c, "the name is empty");
	else if (is_missing(&p->name))
		checker_fault_plain(c, "the name is missing");
	else if (p->name.token != JSON_STRING)
		checker_fault_plain(c, "the name is no string");
	else if (count_characters(c->name) > JOBBODY_NAME_MAX)
		checker_fault_plain(c, "the name is longer than 256 characters");
	if (!has_text(&p->type))
		checker_fault_plain(c, is_missing(&p->type) ? "the type is missing" : "the type is no string");
	if (p->value.token == JSON_END)
		checker_fault_plain(c, "the value is missing");
	else if (has_text(&p->type) && (fault = jobbody_value_fault(&p->type, &p->value)) != NULL)
		checker_fault_plain(c, fault);
}

/* Find the place for the member KEY of a parameter; NULL for one without rules. */
static struct jobbody_member *
parameter_member(struct jobbody_parameter *p, struct str key)
{
	return str_eq(key, STR("name")) ? &p->name : str_eq(key, STR("type")) ? &p->type :
	    str_eq(key, STR("value")) ? &p->value : NULL;
}

/* Read one parameter, whose `{` has been seen. */
static void
checker_read_parameter(struct jobbody_checker *c)
{
	struct jobbody_parameter p = { 0 };
	enum json_token token;

	c->name = (struct str){ NULL, 0 };
	while ((token = checker_next(c)) == JSON_KEY) {
		struct jobbody_member *m = parameter_member(&p, checker_key(c));

		token = checker_next(c);
		if (m == &p.name && token == JSON_STRING && c->name.p == NULL)
			c->name = jobbody_names_add(&c->names, c->scan.text, c->scan.escaped, c->parameter);
		if (m)
			*m = (struct jobbody_member){ token, c->scan.text, c->scan.escaped };
		checker_finish(c, token);
	}
	if (token == JSON_OBJECT_END)
		checker_judge_parameter(c, &p);
	c->name = (struct str){ NULL, 0 };
}

/* Read the elements of `parameters`, whose `[` has been seen. */
static void
checker_read_parameters(struct jobbody_checker *c)
{
	enum json_token token;

	c->in_parameter = true;
	while ((token = checker_next(c)) != JSON_ARRAY_END && token != JSON_FAULT) {
		if (token == JSON_OBJECT) {
			checker_read_parameter(c);
		} else {
			checker_fault_plain(c, "is no object");
			checker_finish(c, token);
		}
		c->parameter++;
	}
	c->in_parameter = false;
}

/* Read the value of a member of the body, whose key has been seen. */
static void
checker_read_member(struct jobbody_checker *c)
{
	bool data = str_eq(checker_key(c), STR("executionData"));
	bool parameters = str_eq(checker_key(c), STR("parameters"));
	enum json_token token = checker_next(c);

	c->member = data ? "executionData" : parameters ? "parameters" : "the body";
	if (parameters && token == JSON_ARRAY) {
		checker_read_parameters(c);
	} else {
		if (data && token != JSON_OBJECT && token != JSON_NULL)
			checker_fault_plain(c, "is no object");
		if (parameters && token != JSON_NULL)
			checker_fault_plain(c, "is no array");
		checker_finish(c, token);
	}
	c->member = "the body";
}

/* Report the names that stand twice. */
static void
checker_judge_names(struct jobbody_checker *c)
{
	struct jobbody_names *names = &c->names;
	struct jobbody_result *r = c->result;

	jobbody_names_keep_repeats(names);
	c->in_parameter = true;
	for (size_t i = 0; i < names->count; i++) {
		const struct jobbody_name *name = &names->names[i];

		if (r->fault_count == JOBBODY_FAULTS_MAX) {
			r->fault_total += names->count - i;
			break;
		}
		c->parameter = name->index;
		c->name = jobbody_names_text(names, name);
		checker_fault_plain(c, arena_printf(c->arena,
		    "the name is that of parameters[%u] already (case does not count)", name->first).p);
	}
	c->in_parameter = false;
}

/* Read the whole body. */
static void
checker_read_body(struct jobbody_checker *c)
{
	enum json_token token = checker_next(c);

	if (token == JSON_OBJECT) {
		while ((token = checker_next(c)) == JSON_KEY)
			checker_read_member(c);
	} else if (token != JSON_FAULT && !(token == JSON_STRING && c->scan.text.n == 0)) {
		checker_fault_plain(c, "is no object");
		return;
	}
	if (token != JSON_FAULT && checker_next(c) == JSON_END)
		checker_judge_names(c);
}

/* Replace all faults by the one that makes them meaningless: the body is no JSON that can be read. */
static void
checker_syntax_fault(struct jobbody_checker *c, struct str message)
{
	struct jobbody_result *r = c->result;

	r->fault_count = 0;
	r->fault_total = 1;
	*checker_next_fault(c) = (struct jobbody_fault){ "InvalidParameter", message };
}

/* Sum the faults up in one message. */
static void
checker_sum_up(struct jobbody_checker *c)
{
	struct jobbody_result *r = c->result;

	r->ok = r->fault_total == 0;
	if (r->fault_total == 1)
		r->message = r->faults[0].message;
	else if (r->fault_total > 1)
		r->message = arena_printf(c->arena, "%zu faults in the body; the first: %.*s", r->fault_total,
		    STR_ARG(r->faults[0].message));
}

void
jobbody_check(struct arena *arena, struct str body, struct jobbody_result *result)
{
	struct jobbody_checker c = { .arena = arena, .result = result, .member = "the body" };

	*result = (struct jobbody_result){ .ok = true };
	if (body.n == 0)
		return;
	if (body.n > JOBBODY_KEYS_BODY_MAX) {
		checker_syntax_fault(&c, STR("the body is larger than 2 GiB"));
		checker_sum_up(&c);
		return;
	}
	json_scan_init(&c.scan, body);
	jobbody_keys_init(&c.keys, body);
	checker_read_body(&c);
	if (c.scan.fault)
		checker_syntax_fault(&c, arena_printf(arena, "the body is not JSON that can be read: %s at byte %zu",
		    c.scan.fault, c.scan.at));
	checker_sum_up(&c);
	jobbody_keys_fini(&c.keys);
	jobbody_names_fini(&c.names);
}
