/*
 * Private to rules/config*.c: the reader that walks the JSON, its tables and its errors.
 *
 * A section of the configuration is one table of rules (struct config_rule): the name, the function that reads
 * the value into the snapshot, its bounds. What is wrong is written down with its path and reading goes on, so that
 * all errors are found at once; a value that could not be read leaves its default.
 */
#ifndef JOBGATE_RULES_CONFIG_PRIVATE_H
#define JOBGATE_RULES_CONFIG_PRIVATE_H

#include "rules/config.h"

struct json_t;

struct config_reader {
	struct config *config;		/* what is being filled; its arena owns all memory */
	struct buf path;		/* where we are: callers[3] ("adf-sales").weight */
	struct buf *errors;		/* borrowed */
	size_t error_count;
	struct buf warnings;		/* one sentence per line, until they go into the snapshot */
	struct config_quota upstream_quota;	/* of upstream.quota; requests 0 where not given, -1 where wrong */
	bool identities_given, identities_bad;
	bool public_url_bad;		/* given, but wrong: do not also call it missing */
	bool server_name_given;
	bool proxy_bad;			/* upstream.proxy is given, but wrong: do not also call it missing */
	bool upstream_ipv6;		/* upstream.host is an IPv6 address: brackets in authorities */
	struct str *caller_identities;	/* one per caller; p NULL where not given or wrong */
	struct str limit_identities[CONFIG_LIMITS_MAX];	/* one per rule, likewise */
};

struct config_rule {
	struct str name;
	/* Read VALUE into OUT; says itself what is wrong. */
	void (*read)(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
	size_t offset;			/* of OUT in the struct that the section fills */
	int64_t min, max;		/* of numbers; of durations in microseconds; of texts in bytes */
	bool required;
	const struct config_rule *members;	/* of a section, ended by a rule without a name */
};

#define CONFIG_KEY(name, read, type, member, min, max) \
	{ STR_INIT(name), read, offsetof(type, member), min, max, false, NULL }
#define CONFIG_NEED(name, read, type, member, min, max) \
	{ STR_INIT(name), read, offsetof(type, member), min, max, true, NULL }
#define CONFIG_SECTION(name, members, required) \
	{ STR_INIT(name), config_read_section, 0, 0, 0, required, members }
#define CONFIG_END { { NULL, 0 }, NULL, 0, 0, 0, false, NULL }

#define CONFIG_MS ((int64_t)1000)
#define CONFIG_SECOND (1000 * CONFIG_MS)
#define CONFIG_MINUTE (60 * CONFIG_SECOND)
#define CONFIG_HOUR (60 * CONFIG_MINUTE)
#define CONFIG_DAY (24 * CONFIG_HOUR)

#define CONFIG_MB (INT64_C(1) << 20)
#define CONFIG_TB (INT64_C(1) << 40)

/* One round trip to the store and one fdatasync: in less than 10 ms not even a token that lies ready is got. */
#define CONFIG_WAIT_MIN (10 * CONFIG_MS)
#define CONFIG_WAIT_MAX (5 * CONFIG_MINUTE)
/* Everybody passes the queue, so 0 would let nobody through; a waiting request holds about 20 KB. */
#define CONFIG_QUEUE_MIN 1
#define CONFIG_QUEUE_MAX 100000

/* --- config_error.c: paths and errors --- */

/* Go into a member; returns what config_leave takes. */
size_t config_enter(struct config_reader *r, struct str key);
/* Go into element I of the list we are at; NAME (may be empty) is shown for people. */
size_t config_enter_index(struct config_reader *r, size_t i, struct str name);
/* Both, for a list at the top: callers[3] ("adf-sales"). */
size_t config_enter_item(struct config_reader *r, const char *list, size_t i, struct str name);
void config_leave(struct config_reader *r, size_t mark);

/* "FILE: PATH: text\n" */
void config_error(struct config_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "FILE: PATH: MUST, is VALUE\n": MUST begins with "must be". */
void config_error_is(struct config_reader *r, const char *must, struct json_t *value);
void config_error_unknown(struct config_reader *r, struct str key, const struct config_rule *rules);
/* The text is no JSON: line and column, without the text near by, which may be a secret. */
void config_error_syntax(struct config_reader *r, int line, int column, const char *text);
void config_warn(struct config_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Add NAMES to OUT as "a", "b" and 3 more: ten of them at most. */
void config_list_names(struct buf *out, const struct str *names, size_t count);

/* --- config_object.c: objects and lists --- */

/* Read VALUE, an object, by RULES into BASE. */
void config_read_object(struct config_reader *r, struct json_t *value, const struct config_rule *rules, void *base);
/* For lists whose length only the size of the file bounds. */
#define CONFIG_MANY SIZE_MAX

/* A rule's own members; OUT is the same base as the section's. */
void config_read_section(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
/*
 * Read a list of MIN to MAX elements of SIZE bytes each into the arena, *OUT and *COUNT; READ is told its element's
 * place. Nothing is set where VALUE is no such list.
 */
bool config_read_list(struct config_reader *r, struct json_t *value, size_t min, size_t max, size_t size, void **out,
    size_t *count, void (*read)(struct config_reader *r, struct json_t *value, void *out, size_t i));

/* --- config_value.c: typed values --- */

void config_read_bool(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_int64(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_int(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_duration(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
/* "256MB" in powers of 1024 */
void config_read_bytes(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_name(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_path(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_secret(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_date_time(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_ignored(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);

/* A text of MIN to MAX bytes as a slice of VALUE's own; else false, and the error is written. */
bool config_text(struct config_reader *r, struct json_t *value, size_t min, size_t max, struct str *out);
/* One of WORDS (ended by NULL) as its index; else false, and the error is written. */
bool config_word(struct config_reader *r, struct json_t *value, const char *const *words, int *out);
/* A copy in lower case in the arena. */
struct str config_lower(struct config_reader *r, struct str s);

/* --- config_address.c: addresses and URLs --- */

/* No URL of ours is longer; a bound for sentences that show one. */
#define CONFIG_URL_MAX 1024

struct config_url {
	/* Slices of the URL; host without brackets; userinfo.p NULL where there is none. */
	struct str scheme, userinfo, host, path;
	bool ipv6;
	uint16_t port;			/* 0: not given */
};

/* Split an absolute URL of ASCII without query and fragment (RFC 3986); NULL, or a sentence about what is wrong. */
const char *config_url_split(struct str s, struct config_url *out);
/* Split "host", "host:port" or "[v6]:port"; *PORT stays 0 where there is none. */
bool config_split_host(struct str s, struct str *host, bool *ipv6, uint16_t *port);
/* Whether S has only visible ASCII that a URL may have without quoting. */
bool config_is_url_text(struct str s);
/* A text that is a URL without user and password, at most CONFIG_URL_MAX bytes; else false, and the error is written. */
bool config_read_url(struct config_reader *r, struct json_t *value, struct config_url *url);
/* A DNS name or an IPv4 address; where IPV6 an IPv6 address instead. */
bool config_is_host(struct str host, bool ipv6);

void config_read_address(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_public_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_upstream_url(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_server_name(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);

bool config_is_loopback(const struct config_listen *listen);
/* Whether both would take the same connections: one address and port, or one of them all addresses of the family. */
bool config_same_address(const struct config_listen *a, const struct config_listen *b);

/* --- config_allow.c: what a rule is for --- */

/* The keys of a struct config_allow at OFFSET, whose operations are all before it is read. */
#define CONFIG_ALLOW_KEYS(offset) \
	{ STR_INIT("workspace"), config_read_workspace, offset, 0, 0, false, NULL }, \
	{ STR_INIT("items"), config_read_items, offset, 0, 0, false, NULL }, \
	{ STR_INIT("job_types"), config_read_job_types, offset, 0, 0, false, NULL }, \
	{ STR_INIT("operations"), config_read_operations, offset, 0, 0, false, NULL }
#define CONFIG_RIGHTS_ALL ((1u << RIGHT_COUNT) - 1)

void config_read_workspace(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_items(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_job_types(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_operations(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);

/* --- config_network.c --- */

/* Read a list of at least one network into a struct network_list. */
void config_read_networks(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);

/* --- config_rate.c --- */

/* Read a struct config_rate, complete where nothing is wrong. */
void config_read_rate(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);

/* --- config_caller.c, config_limit.c, config_store.c, config_section.c: the tables --- */
void config_read_callers(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_limits(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_quota(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
/* config_credential.c: read a struct config_credential */
void config_read_credential(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
/* config_proxy.c */
void config_read_proxy(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_proxy_password(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_no_proxy(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
extern const struct config_rule config_store_rules[];
extern const struct config_rule config_polls_rules[];
/* Where kept answers are shared, once all is read. */
void config_finish_polls(struct config_reader *r);
extern const struct config_rule config_rules[];	/* of the top */

/* --- config_issuer.c: issuers, and tokens of callers --- */
void config_read_issuers(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
void config_read_tokens(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);

/* --- config_tokens.c --- */

/* What a token names: two texts, and what they are. */
enum config_principal_kind { CONFIG_OBJECT, CONFIG_APPLICATION, CONFIG_SUBJECT };
struct config_principal {
	enum config_principal_kind kind;
	struct str realm, principal;	/* tenant and object or application; issuer and subject */
};

struct config_principal config_token_principal(const struct config_token *token);
bool config_same_principal(const struct config_principal *a, const struct config_principal *b);
/* Where the search for a principal in the table begins, before it is cut to the table's size. */
uint64_t config_token_hash(struct str realm, struct str principal);
/* Make the table; a principal that stands twice, and a token that no issuer can have made, are errors. */
void config_index_tokens(struct config_reader *r);

/* --- config_keys.c --- */

/* Where a key's search in the table begins, before it is cut to the table's size. */
uint64_t config_key_hash(const uint8_t sha256[32]);
/* Make the table; a key that stands twice is an error. */
void config_index_keys(struct config_reader *r);

/* --- config_certificate.c --- */

void config_read_certificates(struct config_reader *r, struct json_t *value, const struct config_rule *rule, void *out);
/* Where the search for MATCH begins, before it is cut to the table's size. */
uint64_t config_certificate_hash(struct str match);
/* Make the table; what stands twice is an error. */
void config_index_certificates(struct config_reader *r);

/* --- config_check.c: what no single value shows --- */

/* Fill in what depends on other values and check the whole; errors and warnings as ever. */
void config_finish(struct config_reader *r);

/* --- config_warn.c --- */
void config_warn_all(struct config_reader *r);

#endif
