/* Where a request comes from. */
#include "gate/steps.h"

void
address_client(struct request *request)
{
	struct str host;

	request->peer = arena_copy(&request->arena, front_peer(request->client));
	network_parse_hop(request->peer, &request->address, &host);
}
