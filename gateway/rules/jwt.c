/* Tokens of callers: what they say, and whether that may be. */
#include "rules/jwt.h"

#include <jansson.h>

#include "base/base64url.h"
#include "base/check.h"
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

/* The JSON object that PART is, which the caller releases; else NULL and *FAULT. */
static json_t *
jwt_object(struct arena *arena, struct str part, enum jwt_fault *fault)
{
	uint8_t *bytes = arena_alloc(arena, BASE64URL_DECODED(part.n));
	json_t *object;
	size_t n;

	*fault = JWT_BAD_FORM;
	if (part.n == 0 || !base64url_decode(part, bytes, &n))
		return NULL;
	*fault = JWT_BAD_JSON;
	object = json_loadb((const char *)bytes, n, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

/* A copy of the text VALUE. */
static struct str
jwt_copy(struct arena *arena, json_t *value)
{
	return arena_copy(arena, (struct str){ json_string_value(value), json_string_length(value) });
}

/* Take the member NAME, which is a text where it is there; false where it is something else, or empty. */
static bool
jwt_text(struct arena *arena, json_t *object, const char *name, struct str *out)
{
	json_t *value = json_object_get(object, name);

	if (value == NULL)
		return true;
	if (!json_is_string(value) || json_string_length(value) == 0)
		return false;
	*out = jwt_copy(arena, value);
	return true;
}

/* Take the date NAME; false where it is there and no whole number of seconds that a clock can show. */
static bool
jwt_date(json_t *object, const char *name, int64_t *out)
{
	json_t *value = json_object_get(object, name);

	*out = -1;
	if (value == NULL)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= JWT_DATE_END)
		return false;
	*out = json_integer_value(value);
	return true;
}

/* Take `aud`: one text or a list of them (RFC 7519 4.1.3). */
static bool
jwt_audiences(struct arena *arena, json_t *claims, struct jwt *out)
{
	json_t *value = json_object_get(claims, "aud");
	size_t count = json_is_array(value) ? json_array_size(value) : 1;

	if (count == 0 || count > JWT_AUDIENCES_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		json_t *one = json_is_array(value) ? json_array_get(value, i) : value;

		if (!json_is_string(one))
			return false;
		out->audiences[out->audience_count++] = jwt_copy(arena, one);
	}
	return true;
}

/* Take the application's id: `appid` in tokens of version 1, `azp` in those of version 2. */
static bool
jwt_application(struct arena *arena, json_t *claims, struct jwt *out)
{
	if (!jwt_text(arena, claims, "azp", &out->application))
		return false;
	return jwt_text(arena, claims, "appid", &out->application);
}

/* Take `scp`, which may be empty: a user's token without scopes is a user's all the same. */
static bool
jwt_scopes(struct arena *arena, json_t *claims, struct jwt *out)
{
	json_t *value = json_object_get(claims, "scp");

	if (value && !json_is_string(value))
		return false;
	if (value)
		out->scopes = jwt_copy(arena, value);
	return true;
}

/* Take the claims but `iss`. */
static enum jwt_fault
jwt_claims(struct arena *arena, json_t *claims, struct jwt *out)
{
	bool good = out->issuer.p && jwt_audiences(arena, claims, out) && jwt_date(claims, "exp", &out->expires_s) &&
	    out->expires_s >= 0 && jwt_date(claims, "nbf", &out->not_before_s) && jwt_date(claims, "iat", &out->issued_s);

	good = good && jwt_text(arena, claims, "sub", &out->subject) && jwt_text(arena, claims, "tid", &out->tenant) &&
	    jwt_text(arena, claims, "oid", &out->object) && jwt_application(arena, claims, out) &&
	    jwt_scopes(arena, claims, out);
	good = good && jwt_text(arena, claims, "uti", &out->id) && jwt_text(arena, claims, "jti", &out->id);
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
jwt_header(struct arena *arena, json_t *header, struct jwt *out)
{
	static const char *const forbidden[] = { "crit", "b64", "jku", "jwk", "x5u", "x5c" };
	struct str type = { NULL, 0 };

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		if (json_object_get(header, forbidden[i]))
			return JWT_FORBIDDEN_HEADER;
	if (!jwt_text(arena, header, "alg", &out->algorithm) || !jwt_text(arena, header, "kid", &out->key_id) ||
	    !jwt_text(arena, header, "typ", &type))
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
	uint8_t *signature = arena_alloc(arena, BASE64URL_DECODED(parts[2].n));
	enum jwt_fault fault;
	json_t *header;
	size_t n;

	header = jwt_object(arena, parts[0], &fault);
	if (header == NULL)
		return fault;
	fault = jwt_header(arena, header, out);
	json_decref(header);
	if (fault == JWT_OK && !base64url_decode(parts[2], signature, &n))
		return JWT_BAD_FORM;
	return fault;
}

enum jwt_fault
jwt_parse(struct arena *arena, struct str token, struct jwt *out)
{
	enum jwt_fault fault, claims_fault;
	struct str parts[3];
	json_t *claims;

	*out = (struct jwt){ .expires_s = -1, .not_before_s = -1, .issued_s = -1 };
	if (token.n > JWT_BYTES_MAX)
		return JWT_TOO_LARGE;
	if (!jwt_split(token, parts))
		return JWT_BAD_FORM;
	claims = jwt_object(arena, parts[1], &fault);
	if (claims == NULL)
		return fault;
	claims_fault = jwt_text(arena, claims, "iss", &out->issuer) ? jwt_claims(arena, claims, out) : JWT_BAD_CLAIM;
	json_decref(claims);
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
