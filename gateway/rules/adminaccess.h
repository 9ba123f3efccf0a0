/*
 * Who may ask what on the admin listener.
 *
 * Health and metrics are open: probes and scrapers have no token. Everything else, and whatever is not just read, takes the token of the
 * configuration; where there is none, the status can be read from this machine and nothing can be changed. Pages of browsers get nothing
 * in: a host that is a name of somebody else's is refused (DNS rebinding), and a POST must be application/json, which a page of
 * another origin cannot send unasked.
 */
#ifndef JOBGATE_RULES_ADMINACCESS_H
#define JOBGATE_RULES_ADMINACCESS_H

#include "base/http1.h"
#include "rules/network.h"
#include "rules/reply.h"

struct adminaccess {
	const struct http1_head *head;
	struct str peer;	/* "127.0.0.1:40312" */
	struct str instance;	/* the name of this instance, one of those under which it may be asked */
	bool has_token;		/* there is one in the configuration */
	bool token_fits;	/* and the request has it (adminaccess_token, compared by the caller in constant time) */
};

/* Whether PATH is open to whoever reaches the listener. */
bool adminaccess_is_open(struct str path);

/* The token that a request shows as Authorization: Bearer TOKEN (RFC 6750 2.1); empty where it shows none, or several. */
struct str adminaccess_token(const struct http1_head *head);

/* REFUSAL_NONE, or why not, with *WHY in words. */
enum refusal adminaccess_judge(const struct adminaccess *access, const char **why);

/*
 * Whether TEXT can be a token: 16 to 4096 characters of RFC 6750's b64token. A shorter one could be guessed, and others cannot be sent.
 */
bool adminaccess_is_token(struct str text);

#endif
