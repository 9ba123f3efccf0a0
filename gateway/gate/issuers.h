/*
 * Where the keys of issuers come from: files, read at start, at a reload and when they change, and URLs, asked at start,
 * every hour, and when a token shows a key that is not known. On main's loop.
 *
 * One belongs to one configuration. When a key set cannot be had or is wrong, that is announced, and the last good one
 * stays in use; one from a URL for a day at most.
 */
#ifndef JOBGATE_GATE_ISSUERS_H
#define JOBGATE_GATE_ISSUERS_H

#include "gate/keyring.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "rules/config.h"

struct issuers;

struct issuers_settings {
	struct loop *loop;
	struct resolver *resolver;
	struct str proxy;		/* by which URLs are reached where proxy_is_for their host; copied; empty: none */
	void (*on_change)(void *arg);	/* the keyring is another one now; on LOOP, not before issuers_begin */
	void *arg;
	/* How often a URL is asked, how often at most by a token's word, how long its keys are kept without it; 0: an hour, 5 min, a day. */
	int64_t every_us, want_us, keep_us;
};

/*
 * Read the key files that CONFIG (referenced) names; what OLD (may be NULL) knows from the same URLs is taken over. NULL
 * with a sentence in ERROR where a file cannot be used.
 */
struct issuers *issuers_new(const struct issuers_settings *settings, struct config *config, const struct issuers *old,
    struct buf *error);
void issuers_free(struct issuers **issuers);

/* Begin to look whether files change, and to ask URLs. */
void issuers_begin(struct issuers *issuers);

/* A token has shown a key of ISSUER that is not known: its URL is asked, at most every 5 minutes. */
void issuers_want(struct issuers *issuers, struct str issuer);

/* What is known now: a reference, the caller's. */
struct keyring *issuers_keyring(const struct issuers *issuers);

/* Whether some issuer's keys cannot be had as they are now. */
bool issuers_are_ill(const struct issuers *issuers);

/* The keys of FILE, one reference; NULL with a sentence in ERROR. For `jobgate check` too. */
struct jose_keys *issuers_read_file(const char *file, unsigned algorithms, struct buf *error);

#endif
