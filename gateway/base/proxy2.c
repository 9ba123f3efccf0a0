/* The header of the PROXY protocol, version 2. */
#include "base/proxy2.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define SIGNATURE_BYTES 12
/* Source and destination, then their ports. */
#define TCP4_BYTES 12
#define TCP6_BYTES 36

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
_Static_assert(sizeof(signature) - 1 == SIGNATURE_BYTES, "12 bytes");

/* Version and command, family and transport. */
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21, FAMILY_UNSPEC = 0x00, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21 };

/* Write the source of ADDRESSES, whose PORT stands behind both addresses. */
static bool
proxy2_peer(int family, const unsigned char *addresses, const unsigned char *port, char peer[PROXY2_PEER_BYTES])
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(family, addresses, text, sizeof(text)) == NULL)
		return false;
	snprintf(peer, PROXY2_PEER_BYTES, family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port[0] << 8 | port[1]);
	return true;
}

/* Judge a whole header by its command and family; LENGTH bytes are behind the fixed part. */
static enum proxy2
proxy2_whole(const unsigned char *p, size_t length, char peer[PROXY2_PEER_BYTES])
{
	const unsigned char *addresses = p + PROXY2_FIXED_BYTES;
	bool known = false;

	if (p[12] == COMMAND_LOCAL || p[13] == FAMILY_UNSPEC)
		return PROXY2_OWN;
	if (p[13] == FAMILY_TCP4 && length >= TCP4_BYTES)
		known = proxy2_peer(AF_INET, addresses, addresses + 8, peer);
	else if (p[13] == FAMILY_TCP6 && length >= TCP6_BYTES)
		known = proxy2_peer(AF_INET6, addresses, addresses + 32, peer);
	return known ? PROXY2_CLIENT : PROXY2_WRONG;
}

enum proxy2
proxy2_parse(struct str bytes, size_t *need, char peer[PROXY2_PEER_BYTES])
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	size_t begun = bytes.n < SIGNATURE_BYTES ? bytes.n : SIGNATURE_BYTES, length;

	*need = PROXY2_FIXED_BYTES;
	if (begun && memcmp(p, signature, begun) != 0)
		return PROXY2_WRONG;
	if (bytes.n > 12 && p[12] != COMMAND_LOCAL && p[12] != COMMAND_PROXY)
		return PROXY2_WRONG;
	if (bytes.n < PROXY2_FIXED_BYTES)
		return PROXY2_MORE;
	length = (size_t)(p[14] << 8 | p[15]);
	*need = PROXY2_FIXED_BYTES + length;
	if (*need > PROXY2_BYTES_MAX)
		return PROXY2_WRONG;
	return bytes.n < *need ? PROXY2_MORE : proxy2_whole(p, length, peer);
}
