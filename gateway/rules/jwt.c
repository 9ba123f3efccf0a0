/* Tokens of callers: what they say, and whether that may be. */
#include "rules/jwt.h"

#include "base/base64.h"
#include "base/check.h"
#include "base/json_scan.h"
#include "rules/uuid.h"

/* The year 10000: beyond it no date of ours can be written. */
#define JWT_DATE_END INT64_C(253402300800)

const char *
jwt_fault_text(enum jwt_fault fault)
{
	static const char *const texts[JWT_FAULT_COUNT] = {
		[JWT_OK] = "The token is in order",
		[JWT_TOO_LARGE] = "The token has more than 8192 bytes",
		[JWT_BAD_FORM] = "The token is not three parts of base64url",
		[JWT_BAD_JSON] = "The token's header or claims are not JSON objects without double members",
		[JWT_BAD_HEADER] = "The token's header lacks alg or kid, or has a wrong typ",
		[JWT_FORBIDDEN_HEADER] = "The token's header has a parameter that is not accepted",
		[JWT_BAD_CLAIM] = "The token lacks a claim, or has one of a wrong type",
		[JWT_UNKNOWN_KEY] = "The token's key is not one of its issuer",
		[JWT_BAD_ALGORITHM] = "The token's algorithm is not that of its key",
		[JWT_BAD_SIGNATURE] = "The token's signature is wrong",
		[JWT_BAD_ISSUER] = "The token's issuer or tenant is not accepted",
		[JWT_BAD_AUDIENCE] = "The token is for another audience",
		[JWT_EXPIRED] = "The token has expired",
		[JWT_NOT_YET] = "The token is not valid yet",
	};

	check((unsigned)fault < JWT_FAULT_COUNT);
	return texts[fault];
}

struct str
jwt_of_authorization(struct str value)
{
	struct str scheme = STR("Bearer ");

	if (!str_starts_nocase(value, scheme))
		return (struct str){ NULL, 0 };
	return str_trim(str_sub(value, scheme.n, value.n));
}

/* --- reading JSON --- */

/* Tokens have 20 claims or so; each is compared with each. */
#define JWT_MEMBERS_MAX 100

struct jwt_member {
	struct str key;			/* without escapes */
	enum json_token kind;
	struct str text;		/* a string's between the quotes, a number's as written, a list's with its brackets */
	bool escaped;
};

/* A JSON object; everything in the arena. */
struct jwt_object {
	struct jwt_member members[JWT_MEMBERS_MAX];
	size_t count;
};

/* TEXT as it is meant: its escapes undone, in the arena. */
static struct str
jwt_unescape(struct arena *arena, struct str text, bool escaped)
{
	char *bytes;

	if (!escaped)
		return arena_copy(arena, text);
	bytes = arena_alloc(arena, text.n + 1);
	return (struct str){ bytes, json_unescape(text, bytes) };
}

/* The member of that name, or NULL. */
static const struct jwt_member *
jwt_member(const struct jwt_object *object, struct str key)
{
	for (size_t i = 0; i < object->count; i++)
		if (str_eq(object->members[i].key, key))
			return &object->members[i];
	return NULL;
}

/* Read the member whose key the scanner has just given; false where it is a second one, one too many, or broken. */
static bool
jwt_read_member(struct arena *arena, struct json_scan *s, struct jwt_object *out)
{
	struct jwt_member *member = &out->members[out->count];
	struct str key = s->escaped ? jwt_unescape(arena, s->text, true) : s->text;
	size_t start;

	if (out->count == JWT_MEMBERS_MAX || jwt_member(out, key))
		return false;
	*member = (struct jwt_member){ .key = key, .kind = json_scan_next(s) };
	member->text = s->text;
	member->escaped = s->escaped;
	out->count++;
	if (member->kind != JSON_ARRAY && member->kind != JSON_OBJECT)
		return member->kind != JSON_FAULT;
	start = s->at - 1;		/* at its bracket */
	if (!json_scan_skip(s))
		return false;
	member->text = str_sub(s->input, start, s->at);
	return true;
}

/* Read TEXT, a JSON object in which no member stands twice. */
static bool
jwt_read_object(struct arena *arena, struct str text, struct jwt_object *out)
{
	struct json_scan s;
	enum json_token token;

	out->count = 0;
	json_scan_init(&s, text);
	if (json_scan_next(&s) != JSON_OBJECT)
		return false;
	while ((token = json_scan_next(&s)) == JSON_KEY)
		if (!jwt_read_member(arena, &s, out))
			return false;
	return token == JSON_OBJECT_END && json_scan_next(&s) == JSON_END;
}

/* Decode and read the JSON object that PART is. */
static enum jwt_fault
jwt_decode_object(struct arena *arena, struct str part, struct jwt_object *out)
{
	uint8_t *bytes = arena_alloc(arena, BASE64_DECODED(part.n));
	size_t n;

	if (!base64_decode_url(part, bytes, &n))
		return JWT_BAD_FORM;
	return jwt_read_object(arena, (struct str){ (const char *)bytes, n }, out) ? JWT_OK : JWT_BAD_JSON;
}

/* Take the member NAME, which is a text where it is there; false where it is something else, or empty. */
static bool
jwt_text(struct arena *arena, const struct jwt_object *object, struct str name, struct str *out)
{
	const struct jwt_member *member = jwt_member(object, name);

	if (member == NULL)
		return true;
	if (member->kind != JSON_STRING || member->text.n == 0)
		return false;
	*out = jwt_unescape(arena, member->text, member->escaped);
	return true;
}

/* Take the date NAME; false where it is there and no whole number of seconds that a clock can show. */
static bool
jwt_date(const struct jwt_object *object, struct str name, int64_t *out)
{
	const struct jwt_member *member = jwt_member(object, name);
	uint64_t seconds;

	*out = -1;
	if (member == NULL)
		return true;
	if (member->kind != JSON_NUMBER || !str_to_u64(member->text, &seconds) || seconds >= JWT_DATE_END)
		return false;
	*out = (int64_t)seconds;
	return true;
}

/* Take the list of audiences TEXT. */
static bool
jwt_audience_list(struct arena *arena, struct str text, struct jwt *out)
{
	struct json_scan s;
	enum json_token token;

	json_scan_init(&s, text);
	json_scan_next(&s);		/* its bracket */
	while ((token = json_scan_next(&s)) == JSON_STRING && out->audience_count < JWT_AUDIENCES_MAX)
		out->audiences[out->audience_count++] = jwt_unescape(arena, s.text, s.escaped);
	return token == JSON_ARRAY_END && out->audience_count > 0;
}

/* Take `aud`: one text or a list of them (RFC 7519 4.1.3). */
static bool
jwt_audiences(struct arena *arena, const struct jwt_object *claims, struct jwt *out)
{
	const struct jwt_member *member = jwt_member(claims, STR("aud"));

	if (member && member->kind == JSON_ARRAY)
		return jwt_audience_list(arena, member->text, out);
	if (member == NULL || member->kind != JSON_STRING)
		return false;
	out->audiences[out->audience_count++] = jwt_unescape(arena, member->text, member->escaped);
	return true;
}

/* Take the application's id: `appid` in tokens of version 1, `azp` in those of version 2. */
static bool
jwt_application(struct arena *arena, const struct jwt_object *claims, struct jwt *out)
{
	if (!jwt_text(arena, claims, STR("azp"), &out->application))
		return false;
	return jwt_text(arena, claims, STR("appid"), &out->application);
}

/* Take `scp`, which may be empty: a user's token without scopes is a user's all the same. */
static bool
jwt_scopes(struct arena *arena, const struct jwt_object *claims, struct jwt *out)
{
	const struct jwt_member *member = jwt_member(claims, STR("scp"));

	if (member && member->kind != JSON_STRING)
		return false;
	if (member)
		out->scopes = jwt_unescape(arena, member->text, member->escaped);
	return true;
}

/* Take the claims but `iss`. */
static enum jwt_fault
jwt_claims(struct arena *arena, const struct jwt_object *claims, struct jwt *out)
{
	bool good = out->issuer.p && jwt_audiences(arena, claims, out) && jwt_date(claims, STR("exp"), &out->expires_s) &&
	    out->expires_s >= 0 && jwt_date(claims, STR("nbf"), &out->not_before_s) && jwt_date(claims, STR("iat"), &out->issued_s);

	good = good && jwt_text(arena, claims, STR("sub"), &out->subject) && jwt_text(arena, claims, STR("tid"), &out->tenant) &&
	    jwt_text(arena, claims, STR("oid"), &out->object) && jwt_application(arena, claims, out) &&
	    jwt_scopes(arena, claims, out);
	good = good && jwt_text(arena, claims, STR("uti"), &out->id) && jwt_text(arena, claims, STR("jti"), &out->id);
	return good ? JWT_OK : JWT_BAD_CLAIM;
}

/* Whether `typ` says a JWT or an access token (RFC 9068 2.1), where it says anything. */
static bool
jwt_is_type(struct str type)
{
	return type.p == NULL || str_eq_nocase(type, STR("JWT")) || str_eq_nocase(type, STR("at+jwt")) ||
	    str_eq_nocase(type, STR("application/at+jwt"));
}

/* Take the header. What would bring a key along, or change how the rest is read, is refused whatever it says. */
static enum jwt_fault
jwt_header(struct arena *arena, const struct jwt_object *header, struct jwt *out)
{
	static const struct str forbidden[] = { STR_INIT("crit"), STR_INIT("b64"), STR_INIT("jku"), STR_INIT("jwk"),
		STR_INIT("x5u"), STR_INIT("x5c") };
	struct str type = { NULL, 0 };

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		if (jwt_member(header, forbidden[i]))
			return JWT_FORBIDDEN_HEADER;
	if (!jwt_text(arena, header, STR("alg"), &out->algorithm) || !jwt_text(arena, header, STR("kid"), &out->key_id) ||
	    !jwt_text(arena, header, STR("typ"), &type))
		return JWT_BAD_HEADER;
	return out->algorithm.p && out->key_id.p && jwt_is_type(type) ? JWT_OK : JWT_BAD_HEADER;
}

/* Split TOKEN at its dots into exactly three parts that are not empty. */
static bool
jwt_split(struct str token, struct str parts[3])
{
	size_t first = str_find_char(token, '.'), second;
	struct str rest = str_sub(token, first + 1, token.n);

	second = str_find_char(rest, '.');
	if (first == token.n || second == rest.n)
		return false;
	parts[0] = str_sub(token, 0, first);
	parts[1] = str_sub(rest, 0, second);
	parts[2] = str_sub(rest, second + 1, rest.n);
	return parts[0].n && parts[1].n && parts[2].n && str_find_char(parts[2], '.') == parts[2].n;
}

/* Read the header and the signature's form; the claims are known by now. */
static enum jwt_fault
jwt_parse_frame(struct arena *arena, const struct str parts[3], struct jwt *out)
{
	uint8_t *signature = arena_alloc(arena, BASE64_DECODED(parts[2].n));
	struct jwt_object header;
	enum jwt_fault fault = jwt_decode_object(arena, parts[0], &header);
	size_t n;

	if (fault == JWT_OK)
		fault = jwt_header(arena, &header, out);
	if (fault == JWT_OK && !base64_decode_url(parts[2], signature, &n))
		fault = JWT_BAD_FORM;
	return fault;
}

/* Read the claims; *CLAIMS_FAULT is what is wrong with what stands in them. */
static enum jwt_fault
jwt_parse_claims(struct arena *arena, struct str part, struct jwt *out, enum jwt_fault *claims_fault)
{
	struct jwt_object claims;
	enum jwt_fault fault = jwt_decode_object(arena, part, &claims);

	if (fault != JWT_OK)
		return fault;
	*claims_fault = JWT_BAD_CLAIM;
	if (jwt_text(arena, &claims, STR("iss"), &out->issuer))
		*claims_fault = jwt_claims(arena, &claims, out);
	return JWT_OK;
}

enum jwt_fault
jwt_parse(struct arena *arena, struct str token, struct jwt *out)
{
	enum jwt_fault fault, claims_fault;
	struct str parts[3];

	*out = (struct jwt){ .expires_s = -1, .not_before_s = -1, .issued_s = -1 };
	if (token.n > JWT_BYTES_MAX)
		return JWT_TOO_LARGE;
	if (!jwt_split(token, parts))
		return JWT_BAD_FORM;
	fault = jwt_parse_claims(arena, parts[1], out, &claims_fault);
	if (fault != JWT_OK)
		return fault;
	fault = jwt_parse_frame(arena, parts, out);
	return fault == JWT_OK ? claims_fault : fault;
}

/* --- judging --- */

/* Whether one of the token's audiences is one of ours. */
static bool
jwt_is_for(const struct jwt *jwt, const struct jwt_expected *expected)
{
	for (size_t i = 0; i < jwt->audience_count; i++)
		for (size_t k = 0; k < expected->audience_count; k++)
			if (str_eq(jwt->audiences[i], expected->audiences[k]))
				return true;
	return false;
}

enum jwt_fault
jwt_judge(const struct jwt *jwt, const struct jwt_expected *expected, struct wall_time now)
{
	int64_t now_s = now.us / CLOCK_SECOND;

	if (!str_eq(jwt->issuer, expected->issuer) ||
	    (expected->tenant.n && !str_eq(jwt->tenant, expected->tenant)))
		return JWT_BAD_ISSUER;
	if (!jwt_is_for(jwt, expected))
		return JWT_BAD_AUDIENCE;
	if (now_s >= jwt->expires_s)
		return JWT_EXPIRED;
	if (jwt->not_before_s > now_s + JWT_LEEWAY_S || jwt->issued_s > now_s + JWT_LEEWAY_S)
		return JWT_NOT_YET;
	return JWT_OK;
}

/* The clouds' forms of an issuer: what stands before the tenant and what behind. */
static const struct { struct str before, behind; } jwt_entra[] = {
	{ STR_INIT("https://sts.windows.net/"), STR_INIT("/") },
	{ STR_INIT("https://login.microsoftonline.com/"), STR_INIT("/v2.0") },
	{ STR_INIT("https://login.microsoftonline.us/"), STR_INIT("/v2.0") },
	{ STR_INIT("https://sts.chinacloudapi.cn/"), STR_INIT("/") },
	{ STR_INIT("https://login.partner.microsoftonline.cn/"), STR_INIT("/v2.0") },
};

struct str
jwt_tenant_of_issuer(struct str issuer)
{
	for (size_t i = 0; i < sizeof(jwt_entra) / sizeof(jwt_entra[0]); i++) {
		struct str rest = str_sub(issuer, jwt_entra[i].before.n, issuer.n);
		struct str tenant = str_sub(rest, 0, UUID_BYTES);

		if (str_starts(issuer, jwt_entra[i].before) && uuid_is(tenant) &&
		    str_eq(str_sub(rest, UUID_BYTES, rest.n), jwt_entra[i].behind))
			return tenant;
	}
	return (struct str){ NULL, 0 };
}
