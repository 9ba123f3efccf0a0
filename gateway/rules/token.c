/* What a token endpoint is asked and what it answers. */
#include "rules/token.h"

#include "base/json_scan.h"

#define TOKEN_MINUTE (60 * (int64_t)CLOCK_SECOND)
/* Entra's live 60 to 90 minutes; a managed identity's a day. */
#define TOKEN_AHEAD_US (5 * TOKEN_MINUTE)
#define TOKEN_SPREAD_US TOKEN_MINUTE
#define TOKEN_BACKOFF_US (1 * (int64_t)CLOCK_SECOND)
#define TOKEN_BACKOFF_MAX_US TOKEN_MINUTE
/* More than a year is no life of a token, and would overflow what is reckoned with it. */
#define TOKEN_LIFE_MAX_S (366LL * 86400)
#define TOKEN_ERROR_BYTES 64

/* The members that are looked for; p NULL where absent. */
struct token_members {
	struct str value, type, expires_in, expires_on;
	struct str error, error_code;	/* error_code: the first of error_codes */
};

/* The slot for a member of that name. */
static struct str *
members_slot(struct token_members *m, struct str key)
{
	if (str_eq(key, STR("access_token")))
		return &m->value;
	if (str_eq(key, STR("token_type")))
		return &m->type;
	if (str_eq(key, STR("expires_in")))
		return &m->expires_in;
	if (str_eq(key, STR("expires_on")))
		return &m->expires_on;
	return str_eq(key, STR("error")) ? &m->error : NULL;
}

/* Read on behind an opened array, whose first element is kept where it is a number. */
static bool
members_first(struct json_scan *s, struct str *out)
{
	enum json_token token = json_scan_next(s);

	if (token == JSON_NUMBER)
		*out = s->text;
	while (token != JSON_ARRAY_END && token != JSON_FAULT) {
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(s))
			return false;
		token = json_scan_next(s);
	}
	return token == JSON_ARRAY_END;
}

/* Read one member's value, behind its key. */
static bool
members_value(struct json_scan *s, struct token_members *m)
{
	struct str key = s->text, *slot = members_slot(m, key);
	enum json_token token = json_scan_next(s);

	if (token == JSON_ARRAY && str_eq(key, STR("error_codes")))
		return members_first(s, &m->error_code);
	if (token == JSON_OBJECT || token == JSON_ARRAY)
		return json_scan_skip(s);
	if (slot && (token == JSON_STRING || token == JSON_NUMBER)) {
		if (slot->p != NULL)	/* twice: which one is meant? */
			return false;
		*slot = s->text;
	}
	return token != JSON_FAULT;
}

/* Read all members; false where BODY is no JSON object. */
static bool
members_read(struct str body, struct token_members *m)
{
	struct json_scan s;
	enum json_token token;

	*m = (struct token_members){ .value = { NULL, 0 } };
	json_scan_init(&s, body);
	if (json_scan_next(&s) != JSON_OBJECT)
		return false;
	while ((token = json_scan_next(&s)) == JSON_KEY)
		if (!members_value(&s, m))
			return false;
	return token == JSON_OBJECT_END && json_scan_next(&s) == JSON_END;
}

/* Whether S may stand in an Authorization field (RFC 6750 2.1), which no escape of JSON does. */
static bool
token_is_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '\\' || s.p[i] == '"' || s.p[i] == ',')
			return false;
	return s.n > 0;
}

/* The life that the answer tells; 0 where it tells none that can be believed. */
static int64_t
members_life_us(const struct token_members *m, struct wall_time now)
{
	int64_t now_s = now.us / CLOCK_SECOND;
	uint64_t n;

	if (m->expires_in.p && str_to_u64(m->expires_in, &n))
		return n <= TOKEN_LIFE_MAX_S ? (int64_t)n * CLOCK_SECOND : 0;
	if (m->expires_on.p && str_to_u64(m->expires_on, &n) && n <= INT64_MAX && (int64_t)n > now_s
	    && (int64_t)n - now_s <= TOKEN_LIFE_MAX_S)
		return ((int64_t)n - now_s) * CLOCK_SECOND;
	return 0;
}

const char *
token_read(struct str body, struct wall_time now, struct token_answer *out)
{
	struct token_members m;

	if (!members_read(body, &m))
		return "the answer is not a JSON object with each member once";
	if (!token_is_value(m.value))
		return "the answer has no access_token that could be sent";
	if (m.type.p && !str_eq_nocase(m.type, STR("Bearer")))
		return "the answer's token_type is not Bearer";
	*out = (struct token_answer){ m.value, members_life_us(&m, now) };
	if (out->life_us <= TOKEN_LEFT_MIN_US)
		return "the answer does not say how long the token lives, or it has expired";
	return NULL;
}

/* Whether S is one of the words that error may be (RFC 6749 5.2): nothing that could be a secret or break a line. */
static bool
token_is_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = str_lower(s.p[i]);

		if (!(c >= 'a' && c <= 'z') && c != '_' && c != '-')
			return false;
	}
	return s.n > 0 && s.n <= TOKEN_ERROR_BYTES;
}

void
token_read_error(struct str body, struct buf *out)
{
	struct token_members m;
	uint64_t code;

	if (!members_read(body, &m) || !token_is_word(m.error))
		return;
	buf_add(out, m.error);
	if (m.error_code.p && str_to_u64(m.error_code, &code))
		buf_printf(out, " (AADSTS%llu)", (unsigned long long)code);
}

bool
token_is_refusal(int status)
{
	return status == 400 || status == 401 || status == 403;
}

void
token_add_field(struct buf *out, struct str name, struct str value)
{
	static const char digits[] = "0123456789ABCDEF";
	char *p = buf_room(out, name.n + 2 + 3 * value.n), *start = p;

	if (out->n > 0)
		*p++ = '&';
	for (size_t i = 0; i < name.n; i++)
		*p++ = name.p[i];
	*p++ = '=';
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i], lower = (unsigned char)str_lower((char)c);
		bool plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';

		if (plain) {
			*p++ = (char)c;
			continue;
		}
		*p++ = '%';
		*p++ = digits[c >> 4];
		*p++ = digits[c & 15];
	}
	out->n += (size_t)(p - start);
}

struct str
token_resource(struct str scope)
{
	static const struct str suffix = STR_INIT("/.default");

	if (scope.n > suffix.n && str_eq(str_sub(scope, scope.n - suffix.n, scope.n), suffix))
		return str_sub(scope, 0, scope.n - suffix.n);
	return scope;
}

int64_t
token_refresh_us(int64_t life_us, uint32_t random)
{
	int64_t ahead_us = TOKEN_AHEAD_US + (int64_t)(random % (uint32_t)TOKEN_SPREAD_US);

	return life_us - ahead_us > life_us / 2 ? life_us - ahead_us : life_us / 2;
}

int64_t
token_backoff_us(unsigned failures, int64_t asked_us)
{
	int64_t us = TOKEN_BACKOFF_US;

	for (unsigned i = 1; i < failures && us < TOKEN_BACKOFF_MAX_US; i++)
		us *= 2;
	if (us > TOKEN_BACKOFF_MAX_US)
		us = TOKEN_BACKOFF_MAX_US;
	return asked_us > us ? asked_us : us;
}
