/*
 * Networks: addresses of IPv4 and IPv6, and blocks of them in CIDR form (RFC 4632 3.1, RFC 4291 2.3).
 *
 * An IPv4 address and the IPv6 one that it is mapped to (::ffff:a.b.c.d, RFC 4291 2.5.5.2) are the same here, so that it does not
 * matter on which kind of socket a client came. Pure; allocates nothing.
 */
#ifndef JOBGATE_RULES_NETWORK_H
#define JOBGATE_RULES_NETWORK_H

#include "base/str.h"

#define NETWORK_BYTES 16
/* The prefix of all of IPv4. */
#define NETWORK_IPV4_BITS 96

struct network_address {
	uint8_t bytes[NETWORK_BYTES];	/* IPv4 as mapped */
};

struct network {
	struct network_address first;
	unsigned prefix;		/* bits of it that count: 0 to 128; those of IPv4 begin behind 96 */
};

struct network_list {
	struct network *list;
	size_t count;
};

/* Read "192.0.2.7" or "2001:db8::7"; no port, no brackets, no zone, no leading zeros. False where TEXT has another form. */
bool network_parse_address(struct str text, struct network_address *out);

/*
 * Read an address as it stands in a list of hops: as above, "192.0.2.7:4711", "[2001:db8::7]" or "[2001:db8::7]:4711" (RFC 7239 6).
 * *HOST is the slice of TEXT that is the address alone.
 */
bool network_parse_hop(struct str text, struct network_address *out, struct str *host);

/*
 * Read "10.0.0.0/8" or "2001:db8::/32"; an address alone is a network of one. NULL, or in words what is wrong: bits behind the prefix
 * must be zero, since "10.1.2.3/8" is more often a mistake than 16 million addresses that are meant.
 */
const char *network_parse(struct str text, struct network *out);

bool network_holds(const struct network *network, const struct network_address *address);

/* Whether one of LIST holds ADDRESS; an empty list holds none. */
bool network_any_holds(const struct network_list *networks, const struct network_address *address);

#endif
