/*
 * The configuration: JSON text in, one immutable snapshot out, or every error at once.
 *
 * Pure: it reads no file and no environment. Secrets and certificate files are named here and read
 * by gate/. A snapshot is swapped whole at a reload and never changed; it is counted by config_ref and
 * freed with the last config_unref (any thread).
 */
#ifndef JOBGATE_RULES_CONFIG_H
#define JOBGATE_RULES_CONFIG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

#include "rules/network.h"
/* Operations of the API, and so what a rule, a record and a metric can name. */
#include "rules/operation.h"

/* How many workers share the plain connections: as few as carry the load, or all. */
enum config_spread { CONFIG_SPREAD_FEW, CONFIG_SPREAD_ALL };
enum config_location { CONFIG_LOCATION_PRESERVE, CONFIG_LOCATION_REWRITE };
/* Routes of the API beside the job scheduler's: which of them a caller may use. */
enum config_other { CONFIG_OTHER_REFUSE, CONFIG_OTHER_READ, CONFIG_OTHER_ALL };
/* By what an instance is known to be that of a run whose fate is unknown. */
enum config_match { CONFIG_MATCH_OFF, CONFIG_MATCH_ACTIVITY, CONFIG_MATCH_TIME };
enum config_validate { CONFIG_VALIDATE_ENFORCE, CONFIG_VALIDATE_REPORT, CONFIG_VALIDATE_OFF };

struct config_secret {		/* {"file": path} or {"env": name}; both empty where absent */
	struct str file;	/* resolved against the configuration file's folder */
	struct str env;
};

struct config_quota {
	int64_t requests;	/* 2 to 10,000,000, as stated by the upstream's owner */
	int64_t window_us;	/* 1 s to 1 h */
	int64_t jitter_us;	/* 250 ms */
	int64_t outside;	/* calls per window left to others; 0 */
	int64_t burst;		/* may go at once after idleness; 0: not given, three quarters; 1: the simple bucket */
};

enum config_credential_kind {
	CONFIG_CREDENTIAL_NONE,			/* the callers' own tokens pass through */
	CONFIG_CREDENTIAL_CLIENT_SECRET,
	CONFIG_CREDENTIAL_CERTIFICATE,
	CONFIG_CREDENTIAL_MANAGED_IDENTITY,
	CONFIG_CREDENTIAL_WORKLOAD_IDENTITY,
};

/* As whom the gateway calls the upstream. What a kind does not have is empty, and so is what the environment is to tell. */
struct config_credential {
	enum config_credential_kind kind;
	struct str tenant, client_id;
	struct str authority;			/* "https://login.microsoftonline.com", without a slash at its end */
	struct str ca_file;			/* of the authority; empty: the system's */
	struct config_secret secret;
	struct str cert_file, key_file, token_file;
	struct str endpoint;			/* of a managed identity; empty: the machine's */
	struct str scope;			/* "https://api.fabric.microsoft.com/.default" */
};

struct config_identity {
	struct str name;
	struct config_quota quota;
	struct config_credential credential;
	bool per_token;			/* each verified token's principal has a quota of its own */
};

struct config_listen {
	struct str address;		/* as written: "127.0.0.1:8080", "[::1]:8080" */
	struct str host;		/* without brackets; numeric */
	uint16_t port;
	bool tls;
	struct str cert_file, key_file;	/* resolved */
	struct str client_ca_file;	/* whose clients' certificates are believed; empty: none are asked for */
	bool plain;			/* "plain": true was said */
	struct network_list trusted_proxies;	/* who may say for whom it asks */
	bool proxy_protocol;		/* and says it by the PROXY protocol, version 2 */
};

struct config_key {
	struct str id;			/* given, or the first 8 hex digits of the hash */
	uint8_t sha256[32];
	struct wall_time expires;	/* from then on it is no key any more; 0: never */
	struct network_list networks;	/* from where it may be shown; empty: from anywhere */
};

struct config_certificate {
	struct str id;			/* given, or what it is known by, cut to CONFIG_NAME_MAX */
	struct str match;		/* "DNS:a.example" (in lower case), "URI:...", "email:...", or "SPKI:" and 64 hex digits */
};

struct config_certificate_slot {	/* of an open-addressed table; policy_find_certificate reads it */
	uint32_t caller;		/* its index + 1; 0: free */
	uint32_t certificate;		/* index into the caller's certificates */
};

struct config_key_slot {	/* of an open-addressed table; policy_find_key and policy_find_token read them */
	uint32_t caller;		/* its index + 1; 0: free */
	uint32_t key;			/* index into the caller's keys or tokens */
};

struct config_issuer {			/* whose tokens are verified */
	struct str issuer;		/* their `iss`, to the letter; no other issuer has it */
	struct str tenant;		/* of an issuer of Entra, in lower case; empty: another one */
	struct str *audiences;		/* one of them must be the token's */
	size_t audience_count;
	unsigned algorithms;		/* bits 1u << enum jwa; RS256 */
	struct str jwks_file, jwks_url;	/* its key set, one of them; the file resolved */
	struct str ca_file;		/* of the URL; resolved; empty: the system's */
};

/* A principal by whose tokens a caller is known: of Entra by tenant and object or application, else by issuer and subject. */
struct config_token {
	struct str id;			/* given, or 8 digits of what it names */
	struct str issuer;		/* of Entra: empty where any issuer of the tenant will do */
	struct str tenant, object, application;	/* UUIDs in lower case */
	struct str subject;
};

struct config_endpoint { struct str host; uint16_t port; };	/* host: a name or an address, without brackets */

struct config_allow {			/* NULL/0 lists mean "any" */
	struct str workspace;		/* UUID in lower case; empty: any */
	struct str *items;		/* UUIDs in lower case */
	size_t item_count;
	struct str *job_types;		/* compared without case */
	size_t job_type_count;
	unsigned operations;		/* bits 1u << enum operation_right; all where absent */
};

/*
 * A token bucket of its own, of which a request takes besides its identity's quota, from all of its buckets or from
 * none: `burst` tokens, refilled at requests / window. burst * window_us is at most 2^52.
 */
struct config_rate {
	int64_t requests;	/* 1 to 10,000,000; 0: there is none */
	int64_t window_us;	/* 1 s to 1 day */
	int64_t burst;		/* 1 to 1,000,000; as many as requests, where not given */
};

struct config_caller {
	struct str name;
	size_t index;			/* in config.callers */
	size_t label;			/* its slot in the metrics; set by gate/ before the snapshot is shared */
	struct config_key *keys;
	size_t key_count;
	struct config_token *tokens;
	size_t token_count;
	struct config_certificate *certificates;
	size_t certificate_count;
	size_t identity;		/* index into config.identities */
	int64_t weight;			/* 1 to 1000: its part of what the callers of one identity share; 1 */
	struct config_rate rate;
	int64_t wait_max_us;		/* wait.max of the caller, else the general one */
	int64_t wait_queue;		/* how many of this caller may wait here; the general one where not given */
	enum config_location location;
	bool location_given;
	struct config_allow *allow;
	size_t allow_count;
	bool allow_given;		/* with allow_count 0: nothing is permitted */
	enum config_validate validate;
	bool scopes_enforced;		/* a user's token must have a scope for a run; true */
	enum config_other other_routes;	/* refuse */
};

/* A rule of `rules`: a rate for what it matches, beside the identity's quota. What it matches shares one bucket. */
struct config_limit {
	struct str name;		/* no other rule has it */
	bool identity_given;		/* else each identity has a bucket of its own by this rule */
	size_t identity;		/* index into config.identities, where given */
	struct config_allow match;	/* as in a caller's `allow`; see limits_match for what differs */
	struct config_rate rate;
};

/* A Redis, or none. */
struct config_store {
	bool redis;		/* false: embedded */
	struct str host;	/* empty with Sentinels */
	uint16_t port;
	struct config_endpoint *sentinels;
	size_t sentinel_count;
	struct str sentinel_text;	/* their list and the service as written, to compare */
	struct str service;	/* the primary's name among them */
	bool tls;
	struct str ca_file;	/* resolved; empty: the system's */
	int db;
	struct str username;	/* of the url or the key */
	struct str password;	/* of the url; else see password_secret */
	struct config_secret password_secret;
	struct str prefix;	/* "jobgate" */
	int64_t timeout_us;	/* 100 ms */
	bool share;		/* on_failure: each instance goes on with its share, the default; else nothing is sent */
};

/* Answers to polls that are kept and shared. */
struct config_polls {
	int64_t refresh_us;		/* 15 s: an answer stands so long where the upstream says nothing; 0: nothing is kept or joined */
	int64_t min_refresh_us;		/* 5 s: no-cache is not heard more often */
	int64_t keep_us;		/* 10 min: a terminal state, and any other as the last that was known */
	int64_t grant_us;		/* 60 s: so long after its last success a caller's own token shares what others were answered */
	int64_t max_bytes;		/* 32 MB, for this instance */
};

/* They are the bits of a mask (limits_match). */
#define CONFIG_LIMITS_MAX 32

struct config {
	struct str file;		/* its name as given, for messages */
	struct str directory;		/* what relative paths are relative to */
	uint8_t digest[32];		/* SHA-256 of the text; set by the caller of config_parse before it is shared */
	struct str instance;		/* empty: the host name */
	int workers;			/* 0: to be found out */
	enum config_spread spread;
	struct str public_origin;	/* "https://gate.example:8443"; empty where not set */
	struct str public_path;		/* "/fabric", without trailing slash; empty where none */
	struct config_listen *listen;
	size_t listen_count;
	struct config_listen admin;	/* 127.0.0.1:8081 */
	struct config_secret admin_token;
	struct {
		struct str url;		/* as written */
		struct str host;	/* to connect to: name or numeric, without brackets */
		uint16_t port;		/* 443 */
		struct str origin;	/* "https://" and authority: whose Locations are rewritten */
		/* Host sent upstream: server_name, with the url's port unless 443 or server_name was given. */
		struct str authority;
		struct str server_name;	/* SNI and verification */
		struct str ca_file;	/* empty: the system's */
		int64_t timeout_us;	/* 30 s */
		int64_t idle_timeout_us;	/* 10 s */
		struct str proxy;	/* "http://[user[:password]@]host:port", percent-encoded; empty: none */
		struct config_secret proxy_password;	/* in place of the URL's */
		struct str *no_proxy;	/* domains, addresses, blocks: proxy_is_for tells which hosts they are for */
		size_t no_proxy_count;
		bool private_link;	/* each workspace is reached by a name of its own */
		bool replay_429;		/* true: what was answered 429 waits and is sent again */
	} upstream;
	struct config_identity *identities;	/* at least one */
	size_t identity_count;
	struct config_issuer *issuers;
	size_t issuer_count;
	struct config_caller *callers;
	size_t caller_count;
	struct config_limit *rate_limits;	/* `rules`, in their order */
	size_t rate_limit_count;		/* at most CONFIG_LIMITS_MAX */
	struct config_key_slot *key_slots;	/* all keys of all callers, by the first 8 bytes of the hash */
	size_t key_slot_count;		/* a power of two, at least twice the number of keys */
	struct config_key_slot *token_slots;	/* the same of all tokens, by what they name */
	size_t token_slot_count;
	struct config_certificate_slot *certificate_slots;	/* all certificates of all callers, by what they are known by */
	size_t certificate_slot_count;	/* likewise */
	struct config_store store;
	int64_t wait_max_us;		/* 20 s */
	int64_t wait_queue;		/* 1000, per identity */
	struct {
		int64_t connections;	/* 10000 */
		int64_t head_bytes;	/* 32768 */
		int64_t body_bytes;	/* 262144 */
		int64_t head_timeout_us, body_timeout_us, idle_timeout_us;
	} limits;
	struct str audit_directory;	/* resolved; empty: the default of the contract, which gate/ finds out */
	int64_t audit_refusals;		/* 10 */
	struct {
		int64_t age_us, bytes;	/* 0: no bound; both 0: nothing is ever deleted */
		struct str collected;	/* the collector's file; empty: none */
	} audit_retention;
	int64_t audit_warn_free;	/* bytes; 1 GB */
	int64_t audit_anchors_us;	/* 60 s; 0: off */
	struct config_secret audit_digest_key;	/* empty: a record's body_sha256 is a plain SHA-256 */
	struct {			/* its value as a key of HMAC-SHA-256; set by gate/ before it is shared, wiped with the snapshot */
		size_t n;		/* 0: there is none */
		uint8_t bytes[64];	/* a longer one by its SHA-256, which is the same key (RFC 2104) */
	} audit_hmac;
	struct {
		enum config_match match;	/* off, where `resolve` is absent */
		int64_t delay_us;	/* 15 s: from the outcome to the first list, and from one to the next */
		int tries;		/* 3 */
		int64_t window_us;	/* 2 min: how long after its sending an instance of a run may begin */
	} resolve;
	struct config_polls polls;
	struct {
		int64_t keys_us;	/* how long a key is remembered; 24 h */
		int64_t max_bytes;	/* what the embedded store may take for them; 128 MB */
		int64_t undelivered_us;	/* how long an answer that nobody received is; 2 min, 0: not at all */
	} idempotency;
	struct config_store polls_store;	/* where kept answers are shared: the store's server where nothing else is said; share means nothing */
	bool polls_store_is_stores;
	int64_t drain_delay_us, drain_timeout_us;
	int log_level;			/* enum log_level */
	struct str *warnings;		/* sentences to say once at start */
	size_t warning_count;
	struct arena arena;		/* owns everything above */
	int refs;			/* atomic */
};

/*
 * Parse TEXT. FILE is the name for messages, DIRECTORY what relative paths are relative to.
 * On success the snapshot (one reference); else NULL and in ERRORS one line per error,
 * "FILE: callers[3] (\"adf-sales\").weight: must be 1 to 1000, is \"4\"\n", all of them.
 */
struct config *config_parse(struct str text, struct str file, struct str directory, struct buf *errors);

/*
 * Names of callers, identities, instances and key ids: 1 to 64 ASCII letters, digits and . _ - : @ /. They stand in
 * metrics, Redis keys and records, where nothing may need quoting.
 */
#define CONFIG_NAME_MAX 64
bool config_is_name(struct str s);

struct config *config_ref(struct config *config);
void config_unref(struct config **config);

#endif
