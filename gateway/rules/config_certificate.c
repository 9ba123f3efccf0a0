/* Certificates by which callers are known, and the table of them, which policy_find_certificate reads. */
#include "rules/config_private.h"

#include <jansson.h>

/* Two while one is being replaced, for each of a few kinds of client; ids are compared with each other. */
#define CERTIFICATES_MAX 100
/* A name in a certificate that is longer is none that anybody would write down. */
#define SAN_MAX 1024

/* Whether all of S is visible ASCII; nothing else stands in the names that are looked up. */
static bool
is_visible(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n > 0;
}

/* Whether S is an address of mail, as far as the certificates of services have any. */
static bool
is_mail(struct str s)
{
	size_t at = str_find_char(s, '@');

	return is_visible(s) && at > 0 && at < s.n && config_is_host(str_sub(s, at + 1, s.n), false);
}

/* Read a name as it stands in certificates: its kind, a colon, and the whole name. */
static void
read_san(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_certificate *certificate = out;
	struct arena *arena = &r->config->arena;
	struct str s;
	size_t at;

	(void)rule;
	if (!config_text(r, value, 1, SAN_MAX, &s))
		return;
	at = str_find_char(s, '@');
	if (str_starts(s, STR("DNS:")) && config_is_host(str_sub(s, 4, s.n), false))
		certificate->match = arena_printf(arena, "DNS:%.*s", STR_ARG(config_lower(r, str_sub(s, 4, s.n))));
	else if (str_starts(s, STR("URI:")) && is_visible(str_sub(s, 4, s.n)))
		certificate->match = arena_copy(arena, s);
	else if (str_starts(s, STR("email:")) && is_mail(str_sub(s, 6, s.n)))
		certificate->match = arena_printf(arena, "%.*s%.*s", STR_ARG(str_sub(s, 0, at)),
		    STR_ARG(config_lower(r, str_sub(s, at, s.n))));
	else
		config_error_is(r, "must be a name as \"DNS:etl.example\", \"URI:spiffe://example/etl\" or \"email:etl@example\"", value);
}

static void
read_spki(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_certificate *certificate = out;
	struct str s = { json_string_value(value), json_string_length(value) };
	uint8_t sha256[32];
	char hex[64];

	(void)rule;
	if (!json_is_string(value) || !str_hex_decode(s, sha256, sizeof(sha256))) {
		config_error_is(r, "must be the SHA-256 of the certificate's public key (DER) as 64 hexadecimal digits", value);
		return;
	}
	str_hex_encode(sha256, sizeof(sha256), hex);
	certificate->match = arena_printf(&r->config->arena, "SPKI:%.64s", hex);
}

static const struct config_rule certificate_rules[] = {
	CONFIG_KEY("id", config_read_name, struct config_certificate, id, 0, 0),
	{ STR_INIT("san"), read_san, 0, 0, 0, false, NULL },
	{ STR_INIT("spki_sha256"), read_spki, 0, 0, 0, false, NULL },
	CONFIG_END,
};

/* Read one certificate; without an id of its own what it is known by tells it from the others. */
static void
read_certificate(struct config_reader *r, struct json_t *value, void *out, size_t i)
{
	struct config_certificate *certificate = out;

	(void)i;
	config_read_object(r, value, certificate_rules, certificate);
	if (json_is_object(value) && (json_object_get(value, "san") != NULL) == (json_object_get(value, "spki_sha256") != NULL))
		config_error(r, "must have exactly one of \"san\" and \"spki_sha256\"");
	if (certificate->id.p == NULL)
		certificate->id = str_sub(certificate->match, 0, CONFIG_NAME_MAX);
}

void
config_read_certificates(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out)
{
	struct config_caller *caller = out;

	(void)rule;
	config_read_list(r, value, 1, CERTIFICATES_MAX, sizeof(*caller->certificates), (void **)&caller->certificates,
	    &caller->certificate_count, read_certificate);
}

/* An attacker chooses what is looked up, but not what stands in the table. */
uint64_t
config_certificate_hash(struct str match)
{
	return str_hash_end(str_hash(STR_HASH_BEGIN, match));
}

/* Say that certificate I of CALLER stands at SLOT already. */
static void
error_certificate_twice(struct config_reader *r, const struct config_caller *caller, size_t i, struct config_certificate_slot slot)
{
	const struct config_caller *other = &r->config->callers[slot.caller - 1];
	size_t mark = config_enter_item(r, "callers", caller->index, caller->name);

	config_enter(r, STR("certificates"));
	config_enter_index(r, i, (struct str){ NULL, 0 });
	config_error(r, "is the same as callers[%zu] (\"%.*s\").certificates[%u]", other->index, STR_ARG(other->name),
	    slot.certificate);
	config_leave(r, mark);
}

/* Put certificate I of CALLER into the table. */
static void
index_certificate(struct config_reader *r, const struct config_caller *caller, size_t i)
{
	struct config *config = r->config;
	size_t mask = config->certificate_slot_count - 1;
	struct str match = caller->certificates[i].match;
	size_t at = config_certificate_hash(match) & mask;

	for (; config->certificate_slots[at].caller; at = (at + 1) & mask) {
		struct config_certificate_slot slot = config->certificate_slots[at];

		if (str_eq(config->callers[slot.caller - 1].certificates[slot.certificate].match, match)) {
			error_certificate_twice(r, caller, i, slot);
			return;
		}
	}
	config->certificate_slots[at] = (struct config_certificate_slot){ (uint32_t)caller->index + 1, (uint32_t)i };
}

void
config_index_certificates(struct config_reader *r)
{
	struct config *config = r->config;
	size_t count = 0;

	for (size_t i = 0; i < config->caller_count; i++)
		count += config->callers[i].certificate_count;
	for (config->certificate_slot_count = 4; config->certificate_slot_count < 2 * count;)
		config->certificate_slot_count *= 2;
	config->certificate_slots = arena_alloc(&config->arena,
	    config->certificate_slot_count * sizeof(*config->certificate_slots));
	for (size_t i = 0; i < config->caller_count; i++)
		for (size_t k = 0; k < config->callers[i].certificate_count; k++)
			if (config->callers[i].certificates[k].match.n)
				index_certificate(r, &config->callers[i], k);
}
