/* For issuers*.c alone. */
#ifndef JOBGATE_GATE_ISSUERS_PRIVATE_H
#define JOBGATE_GATE_ISSUERS_PRIVATE_H

#include "gate/condition.h"
#include "gate/issuers.h"
#include "io/fetch.h"

struct issuers_source {
	struct issuers *issuers;	/* its owner */
	const struct config_issuer *issuer;
	struct jose_keys *keys;		/* a reference; NULL: none are known */
	uint8_t digest[32];		/* of the document they are of */
	struct condition condition;
	/* Of a URL. */
	struct fetch *fetch;		/* the one in flight */
	struct loop_timer timer;	/* when it is asked next */
	struct mono_time asked, got;	/* when it was asked last, and when it last gave the keys */
	unsigned failures;		/* in a row */
};

struct issuers {
	struct issuers_settings settings;
	struct config *config;		/* referenced */
	struct buf proxy;		/* the proxy's URL, wiped at the end; empty: none */
	struct issuers_source *sources;	/* one per issuer */
	struct loop_timer look;		/* at the files */
};

/*
 * Take the DOCUMENT that NAME gave, where it is another than the one in use; true where the keys have changed. What is
 * wrong with it is said in ERROR, and nothing is changed.
 */
bool issuers_take(struct issuers_source *source, struct str name, struct str document, struct buf *error);

/* issuers_fetch.c: a source that is a URL */
void issuers_fetch_init(struct issuers_source *source);
void issuers_fetch_fini(struct issuers_source *source);
/* Take over what OLD, of the same URL and algorithms, knows. */
void issuers_fetch_inherit(struct issuers_source *source, const struct issuers_source *old);
void issuers_fetch_begin(struct issuers_source *source);
/* A token has shown a key that is not known. */
void issuers_fetch_want(struct issuers_source *source);

#endif
