/* The field Idempotency-Key. */
#include "rules/idempotency_key.h"

#define KEY_SYNTAX "Idempotency-Key must be a string in double quotes, or a word of visible ASCII without \" , ; and \\"
#define KEY_LENGTH "Idempotency-Key must have 1 to 255 bytes"

/* Whether C may begin a parameter's name, or go on in it (RFC 8941 3.1.2). */
static bool
key_is_name(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || c == '*' || (!first && ((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'));
}

/* Whether C may stand in a token, a number, a boolean or a byte sequence: all that is told of a parameter's value. */
static bool
key_is_bare(char c)
{
	return c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\' && c != '(' && c != ')';
}

/* Take a quoted string off the front of REST, unescaped into OUT; false where it is none. */
static bool
key_take_string(struct arena *arena, struct str *rest, struct str *out)
{
	char *bytes = arena_alloc(arena, rest->n + 1);
	size_t n = 0, i = 1;

	if (rest->n == 0 || rest->p[0] != '"')
		return false;
	for (; i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && (++i == rest->n || (rest->p[i] != '"' && rest->p[i] != '\\')))
			return false;
		if (rest->p[i] < 0x20 || rest->p[i] >= 0x7f)
			return false;
		bytes[n++] = rest->p[i];
	}
	if (i == rest->n)
		return false;
	*rest = str_sub(*rest, i + 1, rest->n);
	*out = (struct str){ bytes, n };
	return true;
}

/* Take the value of a parameter off the front of REST. */
static bool
key_take_value(struct arena *arena, struct str *rest)
{
	struct str string;
	size_t n = 0;

	if (rest->n > 0 && rest->p[0] == '"')
		return key_take_string(arena, rest, &string);
	while (n < rest->n && key_is_bare(rest->p[n]))
		n++;
	*rest = str_sub(*rest, n, rest->n);
	return n > 0;
}

/* Take one parameter, its semicolon first, off the front of REST (RFC 8941 4.2.3.2). */
static bool
key_take_parameter(struct arena *arena, struct str *rest)
{
	size_t n = 0;

	if (rest->n == 0 || rest->p[0] != ';')
		return false;
	*rest = str_sub(*rest, 1, rest->n);
	while (rest->n > 0 && rest->p[0] == ' ')
		*rest = str_sub(*rest, 1, rest->n);
	while (n < rest->n && key_is_name(rest->p[n], n == 0))
		n++;
	*rest = str_sub(*rest, n, rest->n);
	if (n == 0 || rest->n == 0 || rest->p[0] != '=')
		return n > 0;
	*rest = str_sub(*rest, 1, rest->n);
	return key_take_value(arena, rest);
}

/* Whether S is a word as clients send it without quotes. */
static bool
key_is_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == ',' || s.p[i] == ';' || s.p[i] == '\\')
			return false;
	return true;
}

const char *
idempotency_key_read(struct arena *arena, struct str value, struct str *out)
{
	struct str rest = str_trim(value);

	if (rest.n == 0)
		return KEY_LENGTH;
	if (rest.p[0] != '"') {
		if (!key_is_word(rest))
			return KEY_SYNTAX;
		*out = rest;
	} else {
		if (!key_take_string(arena, &rest, out))
			return KEY_SYNTAX;
		while (rest.n > 0)
			if (!key_take_parameter(arena, &rest))
				return KEY_SYNTAX;
	}
	return out->n >= 1 && out->n <= IDEMPOTENCY_KEY_MAX ? NULL : KEY_LENGTH;
}

const char *
idempotency_key_find(struct arena *arena, const struct http1_head *head, struct str *out)
{
	static const struct str name = STR_INIT("Idempotency-Key");
	const struct http1_field *field = http1_find(head, name);

	*out = (struct str){ NULL, 0 };
	if (field == NULL)
		return NULL;
	if (http1_count(head, name) > 1)
		return "Idempotency-Key must be given once";
	return idempotency_key_read(arena, field->value, out);
}
