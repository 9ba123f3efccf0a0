/*
 * Where the keys of issuers come from: their files, read at start, at a reload and when they change. On main's loop.
 *
 * One belongs to one configuration. What a key set becomes that cannot be read or is wrong is announced, and the last
 * good one stays in use.
 */
#ifndef JOBGATE_GATE_ISSUERS_H
#define JOBGATE_GATE_ISSUERS_H

#include "gate/keyring.h"
#include "io/loop.h"
#include "rules/config.h"

struct issuers;

/*
 * Read the key files that CONFIG (referenced) names. NULL with a sentence in ERROR where one cannot be used. ON_CHANGE(arg)
 * runs on LOOP whenever the keyring is another one; not before issuers_watch.
 */
struct issuers *issuers_new(struct loop *loop, struct config *config, void (*on_change)(void *arg), void *arg,
    struct buf *error);
void issuers_free(struct issuers **issuers);

/* Begin to look whether files change. */
void issuers_watch(struct issuers *issuers);

/* What is known now: a reference, the caller's. */
struct keyring *issuers_keyring(const struct issuers *issuers);

/* Whether some issuer's keys cannot be read as they are now. */
bool issuers_are_ill(const struct issuers *issuers);

/* The keys of FILE, one reference; NULL with a sentence in ERROR. For `jobgate check` too. */
struct jose_keys *issuers_read_file(const char *file, unsigned algorithms, struct buf *error);

#endif
