/* Networks: addresses and blocks of them. */
#include "rules/network.h"

#include <arpa/inet.h>
#include <string.h>

/* Where the four bytes of IPv4 begin in a mapped address. */
#define MAPPED_BYTES 12
_Static_assert(NETWORK_IPV4_BITS == MAPPED_BYTES * 8, "the mapped part");

static const uint8_t mapped[MAPPED_BYTES] = { [10] = 0xff, [11] = 0xff };

/* Whether ADDRESS is one of IPv4. */
static bool
is_mapped(const struct network_address *address)
{
	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

bool
network_parse_address(struct str text, struct network_address *out)
{
	char z[INET6_ADDRSTRLEN];

	if (text.n == 0 || text.n >= sizeof(z) || memchr(text.p, '\0', text.n))
		return false;
	memcpy(z, text.p, text.n);
	z[text.n] = '\0';
	if (str_find_char(text, ':') < text.n)	/* as every one of IPv6 has, and none of IPv4 */
		return inet_pton(AF_INET6, z, out->bytes) == 1;
	memcpy(out->bytes, mapped, sizeof(mapped));
	return inet_pton(AF_INET, z, out->bytes + MAPPED_BYTES) == 1;
}

/* Whether PORT is empty, or a colon and a number that a port may have. */
static bool
is_port(struct str port)
{
	uint64_t n;

	return port.n == 0 || (port.n <= 6 && port.p[0] == ':' && str_to_u64(str_sub(port, 1, port.n), &n) && n <= UINT16_MAX);
}

bool
network_parse_hop(struct str text, struct network_address *out, struct str *host)
{
	size_t end, colon = str_find_char(text, ':');

	*host = text;
	if (text.n && text.p[0] == '[') {
		end = str_find_char(text, ']');
		if (end == text.n || !is_port(str_sub(text, end + 1, text.n)))
			return false;
		*host = str_sub(text, 1, end);
		return str_find_char(*host, ':') < host->n && network_parse_address(*host, out);
	}
	if (colon < text.n && str_find_char(str_sub(text, colon + 1, text.n), ':') == text.n - colon - 1) {
		if (!is_port(str_sub(text, colon, text.n)))
			return false;
		*host = str_sub(text, 0, colon);
	}
	return network_parse_address(*host, out);
}

/* Whether all bits of ADDRESS behind the first PREFIX are zero. */
static bool
is_zero_behind(const struct network_address *address, unsigned prefix)
{
	for (unsigned bit = prefix; bit < NETWORK_BYTES * 8; bit++)
		if (address->bytes[bit / 8] & 0x80 >> bit % 8)
			return false;
	return true;
}

const char *
network_parse(struct str text, struct network *out)
{
	size_t slash = str_find_char(text, '/');
	struct str length = str_sub(text, slash + 1, text.n);
	bool four;
	uint64_t bits;

	if (!network_parse_address(str_sub(text, 0, slash), &out->first))
		return "must be a network as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address";
	four = str_find_char(text, ':') == text.n;
	bits = four ? 32 : 128;
	if (slash < text.n && (length.n > 3 || (length.n > 1 && length.p[0] == '0') || !str_to_u64(length, &bits)
	    || bits > (four ? 32 : 128)))
		return four ? "must have a prefix of 0 to 32 behind the slash" : "must have a prefix of 0 to 128 behind the slash";
	out->prefix = (unsigned)bits + (four ? NETWORK_IPV4_BITS : 0);
	if (!is_zero_behind(&out->first, out->prefix))
		return "must be the first address of its network: bits behind the prefix are set";
	return NULL;
}

bool
network_holds(const struct network *network, const struct network_address *address)
{
	size_t whole = network->prefix / 8;
	unsigned rest = network->prefix % 8;

	/* "::/0" says IPv6, and mapped addresses are none: who means everything names both kinds. */
	if (network->prefix < NETWORK_IPV4_BITS && is_mapped(address))
		return false;
	if (memcmp(network->first.bytes, address->bytes, whole) != 0)
		return false;
	return rest == 0 || (network->first.bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

bool
network_any_holds(const struct network_list *networks, const struct network_address *address)
{
	for (size_t i = 0; i < networks->count; i++)
		if (network_holds(&networks->list[i], address))
			return true;
	return false;
}
