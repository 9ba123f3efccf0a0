/* http and https URLs as io needs them: where to connect to, and what to ask for (RFC 3986, RFC 9110 4.2). */
#ifndef JOBGATE_IO_URL_H
#define JOBGATE_IO_URL_H

#include "base/buf.h"

struct url {
	bool tls;		/* https */
	struct str userinfo;	/* as written, percent-encoded; p NULL where there is none */
	struct str authority;	/* host and port as written, without userinfo: for Host */
	struct str host;	/* without brackets */
	uint16_t port;		/* 80 or 443 where not written */
	struct str target;	/* path and query; "/" where empty */
};

/* Split TEXT; the slices point into it. NULL, or a sentence about what is wrong, without any of TEXT, which may hold a password. */
const char *url_split(struct str text, struct url *url);

#endif
