/* Prefer (RFC 7240 2): 1#( token [ = word ] *( ; [ parameter ] ) ), a word being a token or a quoted string. */
#include "rules/prefer.h"

/* The place of the first C outside quoted strings, or the end. */
static size_t
prefer_find(struct str s, char c)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && s.p[i] == c)
			return i;
	}
	return s.n;
}

/* Take the seconds of PREFERENCE where it is `wait`; true where it is, -1 where those are none. */
static bool
prefer_read(struct str preference, int64_t *seconds)
{
	struct str word = str_sub(preference, 0, prefer_find(preference, ';'));
	size_t equals = prefer_find(word, '=');
	uint64_t n;

	if (!str_eq_nocase(str_trim(str_sub(word, 0, equals)), STR("wait")))
		return false;
	word = str_trim(str_sub(word, equals + 1, word.n));
	if (word.n >= 2 && word.p[0] == '"' && word.p[word.n - 1] == '"')
		word = str_sub(word, 1, word.n - 1);
	*seconds = -1;
	if (str_to_u64(word, &n))
		*seconds = n > PREFER_WAIT_MAX_S ? PREFER_WAIT_MAX_S : (int64_t)n;
	return true;
}

int64_t
prefer_wait_s(const struct http1_head *request)
{
	int64_t seconds = -1;

	for (size_t i = 0; i < request->field_count; i++) {
		struct str rest = request->fields[i].value;

		if (!str_eq_nocase(request->fields[i].name, STR("Prefer")))
			continue;
		while (rest.n > 0) {
			size_t comma = prefer_find(rest, ',');

			if (prefer_read(str_sub(rest, 0, comma), &seconds))
				return seconds;		/* "only the first instance is to be considered" */
			rest = str_sub(rest, comma + 1, rest.n);
		}
	}
	return -1;
}
