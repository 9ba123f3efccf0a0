/*
 * The header of the PROXY protocol, version 2 (haproxy's doc/proxy-protocol.txt, 2.2): what a proxy says in front of a connection's
 * first byte about whom it connects for. Pure. Version 1, the line of text, is not spoken.
 */
#ifndef JOBGATE_BASE_PROXY2_H
#define JOBGATE_BASE_PROXY2_H

#include "base/str.h"

/* Before the length is known; and what a header may have in all: addresses take 36 bytes, the extensions that clouds add some hundred. */
#define PROXY2_FIXED_BYTES 16
#define PROXY2_BYTES_MAX 2048
/* "[address]:port" and a NUL. */
#define PROXY2_PEER_BYTES 64

enum proxy2 {
	PROXY2_MORE,	/* right as far as it goes: at least *NEED bytes in all are the header's */
	PROXY2_OWN,	/* whole: the proxy speaks for itself (LOCAL, a health check) or does not know for whom */
	PROXY2_CLIENT,	/* whole: PEER is whom it connects for, over TCP */
	PROXY2_WRONG,	/* no such header, or one of another version, of UDP or of Unix sockets, or too long */
};

/*
 * Judge BYTES, the beginning of a connection. *NEED is how long the header is, or how much of it must be there to know more; what is
 * behind it is not looked at. Extensions (TLVs) are skipped.
 */
enum proxy2 proxy2_parse(struct str bytes, size_t *need, char peer[PROXY2_PEER_BYTES]);

#endif
