/* Typed values of the configuration. */
#include "rules/config_private.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Linux' PATH_MAX with the NUL; a longer name can be opened by nobody. */
#define CONFIG_PATH_MAX 4095

bool
config_text(struct config_reader *r, struct json_t *value, size_t min, size_t max, struct str *out)
{
	size_t n = json_string_length(value);

	if (!json_is_string(value)) {
		config_error_is(r, "must be a text", value);
		return false;
	}
	if (n < min || n > max) {
		config_error(r, "must be a text of %zu to %zu bytes, is one of %zu", min, max, n);
		return false;
	}
	*out = (struct str){ json_string_value(value), n };
	return true;
}

/* Say which WORDS there are. */
static void
config_error_word(struct config_reader *r, struct json_t *value, const char *const *words)
{
	struct buf must = BUF_EMPTY;

	buf_add_z(&must, "must be ");
	for (size_t i = 0; words[i]; i++)
		buf_printf(&must, "%s\"%s\"", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
	buf_add_char(&must, '\0');
	config_error_is(r, must.p, value);
	buf_fini(&must);
}

bool
config_word(struct config_reader *r, struct json_t *value, const char *const *words, int *out)
{
	for (int i = 0; json_is_string(value) && words[i]; i++)
		if (strcmp(json_string_value(value), words[i]) == 0) {
			*out = i;
			return true;
		}
	config_error_word(r, value, words);
	return false;
}

struct str
config_lower(struct config_reader *r, struct str s)
{
	char *copy = arena_alloc(&r->config->arena, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		copy[i] = str_lower(s.p[i]);
	return (struct str){ copy, s.n };
}

void
config_read_ignored(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	(void)r;
	(void)value;
	(void)rule;
	(void)out;
}

void
config_read_bool(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	(void)rule;
	if (json_is_boolean(value))
		*(bool *)out = json_is_true(value);
	else
		config_error_is(r, "must be true or false", value);
}

void
config_read_int64(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	int64_t n = json_integer_value(value);
	char must[80];

	if (json_is_integer(value) && n >= rule->min && n <= rule->max) {
		*(int64_t *)out = n;
		return;
	}
	snprintf(must, sizeof(must), "must be %lld to %lld", (long long)rule->min, (long long)rule->max);
	config_error_is(r, must, value);
}

void
config_read_int(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	int64_t n = *(int *)out;

	config_read_int64(r, value, rule, &n);
	*(int *)out = (int)n;
}

static const struct { struct str name; int64_t us; } config_units[] = {
	{ STR_INIT("ms"), CONFIG_MS }, { STR_INIT("s"), CONFIG_SECOND }, { STR_INIT("m"), CONFIG_MINUTE },
	{ STR_INIT("h"), CONFIG_HOUR }, { STR_INIT("d"), CONFIG_DAY },
};
#define CONFIG_UNITS (sizeof(config_units) / sizeof(config_units[0]))

/* "250ms", "60s": digits and a unit, nothing else; false on anything that does not fit. */
static bool
config_duration_parse(struct str s, int64_t *us)
{
	size_t digits = 0;
	uint64_t n;

	while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
		digits++;
	if (!str_to_u64(str_sub(s, 0, digits), &n))
		return false;
	for (size_t i = 0; i < CONFIG_UNITS; i++)
		if (str_eq(str_sub(s, digits, s.n), config_units[i].name) &&
		    n <= (uint64_t)(INT64_MAX / config_units[i].us)) {
			*us = (int64_t)n * config_units[i].us;
			return true;
		}
	return false;
}

/* Write US in the largest unit that divides it. */
static void
config_duration_format(int64_t us, char *out, size_t size)
{
	size_t i = CONFIG_UNITS - 1;

	while (i > 0 && us % config_units[i].us != 0)
		i--;
	if (us == 0)
		i = 1;
	snprintf(out, size, "%lld%s", (long long)(us / config_units[i].us), config_units[i].name.p);
}

void
config_read_duration(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	char min[32], max[32], must[160];
	int64_t us;

	if (json_is_string(value) &&
	    config_duration_parse((struct str){ json_string_value(value), json_string_length(value) }, &us) &&
	    us >= rule->min && us <= rule->max) {
		*(int64_t *)out = us;
		return;
	}
	config_duration_format(rule->min, min, sizeof(min));
	config_duration_format(rule->max, max, sizeof(max));
	snprintf(must, sizeof(must), "must be a duration (whole ms, s, m, h or d) from \"%s\" to \"%s\"", min, max);
	config_error_is(r, must, value);
}

/* Units of sizes. */
static const struct { struct str name; int shift; } config_sizes[] = {
	{ STR_INIT("KB"), 10 }, { STR_INIT("MB"), 20 }, { STR_INIT("GB"), 30 }, { STR_INIT("TB"), 40 },
};
#define CONFIG_SIZES (sizeof(config_sizes) / sizeof(config_sizes[0]))

/* Read "32MB"; false on anything else, and on what does not fit. */
static bool
config_bytes_parse(struct str s, int64_t *bytes)
{
	uint64_t n;

	if (s.n < 3 || !str_to_u64(str_sub(s, 0, s.n - 2), &n))
		return false;
	for (size_t i = 0; i < CONFIG_SIZES; i++)
		if (str_eq(str_sub(s, s.n - 2, s.n), config_sizes[i].name) &&
		    n <= (uint64_t)INT64_MAX >> config_sizes[i].shift) {
			*bytes = (int64_t)(n << config_sizes[i].shift);
			return true;
		}
	return false;
}

/* Write BYTES in the largest unit that divides it. */
static void
config_bytes_format(int64_t bytes, char *out, size_t size)
{
	size_t i = CONFIG_SIZES - 1;

	while (i > 0 && bytes % (INT64_C(1) << config_sizes[i].shift) != 0)
		i--;
	if (bytes == 0)
		i = 0;
	snprintf(out, size, "%lld%s", (long long)(bytes >> config_sizes[i].shift), config_sizes[i].name.p);
}

void
config_read_bytes(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	char min[32], max[32], must[160];
	int64_t bytes;

	if (json_is_string(value) &&
	    config_bytes_parse((struct str){ json_string_value(value), json_string_length(value) }, &bytes) &&
	    bytes >= rule->min && bytes <= rule->max) {
		*(int64_t *)out = bytes;
		return;
	}
	config_bytes_format(rule->min, min, sizeof(min));
	config_bytes_format(rule->max, max, sizeof(max));
	snprintf(must, sizeof(must), "must be a size (whole KB, MB, GB or TB) from \"%s\" to \"%s\"", min, max);
	config_error_is(r, must, value);
}

void
config_read_date_time(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s = { json_string_value(value), json_string_length(value) };

	(void)rule;
	if (!json_is_string(value) || !clock_parse_date_time(s, out))
		config_error_is(r, "must be a date and a time with its offset (RFC 3339), as \"2027-01-31T00:00:00Z\"", value);
}

bool
config_is_name(struct str s)
{
	if (s.n == 0 || s.n > CONFIG_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = str_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (c == '\0' || strchr("._-:@/", c) == NULL))
			return false;
	}
	return true;
}

void
config_read_name(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s = { json_string_value(value), json_string_length(value) };

	(void)rule;
	if (json_is_string(value) && config_is_name(s))
		*(struct str *)out = arena_copy(&r->config->arena, s);
	else
		config_error_is(r, "must be a name: 1 to 64 ASCII letters, digits or any of . _ - : @ /", value);
}

void
config_read_path(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct arena *arena = &r->config->arena;
	struct str directory = r->config->directory, s;

	(void)rule;
	if (!config_text(r, value, 1, CONFIG_PATH_MAX, &s))
		return;
	if (s.p[0] == '/' || directory.n == 0 || str_eq(directory, STR(".")))
		*(struct str *)out = arena_copy(arena, s);
	else
		*(struct str *)out = arena_printf(arena, "%.*s%s%.*s", STR_ARG(directory),
		    directory.p[directory.n - 1] == '/' ? "" : "/", STR_ARG(s));
}

/* POSIX: letters, digits and underscores, not beginning with a digit. */
static void
config_read_env(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct str s;

	(void)rule;
	if (!config_text(r, value, 1, 256, &s))
		return;
	for (size_t i = 0; i < s.n; i++) {
		char c = str_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && c != '_' && (i == 0 || c < '0' || c > '9')) {
			config_error(r, "must be the name of an environment variable, not its value");
			return;
		}
	}
	*(struct str *)out = arena_copy(&r->config->arena, s);
}

static const struct config_rule config_secret_rules[] = {
	CONFIG_KEY("file", config_read_path, struct config_secret, file, 0, 0),
	CONFIG_KEY("env", config_read_env, struct config_secret, env, 0, 0),
	CONFIG_END,
};

void
config_read_secret(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_secret *secret = out;

	(void)rule;
	if (!json_is_object(value)) {	/* the value is not shown: it is most likely the secret */
		config_error(r, "must be {\"file\": \"...\"} or {\"env\": \"...\"}; a secret does not stand here "
		    "itself");
		return;
	}
	config_read_object(r, value, config_secret_rules, secret);
	if ((json_object_get(value, "file") != NULL) == (json_object_get(value, "env") != NULL))
		config_error(r, "must have exactly one of \"file\" and \"env\"");
}
