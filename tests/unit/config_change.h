/*
 * For the tests of rules/config: the least configuration and one change to it. Included after cmocka, by one file of each program.
 */
#ifndef JOBGATE_TESTS_CONFIG_CHANGE_H
#define JOBGATE_TESTS_CONFIG_CHANGE_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HASH_A "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HASH_B "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define WS "cfafbeb1-8037-4d0c-896e-a46fb27ff229"
#define ITEM "5b218778-e7a5-4d73-8187-f10824047715"

#define LEAST \
	"{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"admin\": {\"address\": \"127.0.0.1:8081\"}," \
	" \"upstream\": {\"url\": \"https://127.0.0.1:9443\", \"server_name\": \"api.fabric.microsoft.com\", \"ca_file\": \"ca.pem\"," \
	"  \"quota\": {\"requests\": 200, \"window\": \"60s\"}}," \
	" \"callers\": [{\"name\": \"etl\", \"keys\": [{\"sha256\": \"" HASH_A "\"}]}], \"audit\": {\"directory\": \"audit\"}}"

/* Find the value at "callers[0].keys[1].id" of ROOT but for the last step, whose name goes to LAST (or *INDEX). */
static inline json_t *
walk(json_t *at, const char *path, char last[64], size_t *index)
{
	for (;;) {
		size_t n = strcspn(path, ".[");
		const char *next;

		if (*path == '[') {
			*index = strtoul(path + 1, NULL, 10);
			last[0] = '\0';
			next = strchr(path, ']') + 1;
		} else {
			memcpy(last, path, n);
			last[n] = '\0';
			next = path + n;
		}
		if (*next == '\0')
			return at;
		at = last[0] ? json_object_get(at, last) : json_array_get(at, *index);
		path = *next == '.' ? next + 1 : next;
	}
}

/* The text of TEXT with VALUE (JSON; NULL: nothing) at PATH, to free. */
static inline char *
change(const char *text, const char *path, const char *value)
{
	json_t *root = json_loads(text, 0, NULL), *parent, *new = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
	char last[64], *changed;
	size_t index = 0;

	assert_non_null(root);
	assert_true(value == NULL || new != NULL);
	parent = walk(root, path, last, &index);
	if (last[0] == '\0' && index >= json_array_size(parent))
		json_array_append_new(parent, new);
	else if (last[0] == '\0')
		json_array_set_new(parent, index, new);
	else if (new)
		json_object_set_new(parent, last, new);
	else
		json_object_del(parent, last);
	changed = json_dumps(root, 0);
	json_decref(root);
	return changed;
}

#endif
