/* Where a request comes from: the peer, or for whom a trusted proxy asks. */
#include "gate/steps.h"

#include "rules/forwarded.h"

void
address_client(struct request *request)
{
	const struct front_request *client = request->client;
	const struct network_list *trusted = &request->config->listen[front_listener_index(client)].trusted_proxies;
	struct str peer = front_peer(client), host;
	enum forwarded forwarded = FORWARDED_ABSENT;

	/* Of a head that was not understood nothing is believed. */
	if (network_parse_hop(peer, &request->address, &host) && network_any_holds(trusted, &request->address)
	    && front_http1_fault(client) == HTTP1_OK)
		forwarded = forwarded_client(front_head(client), trusted, &request->address, &host);
	if (forwarded == FORWARDED_CLIENT)
		peer = host;
	else if (forwarded == FORWARDED_UNREADABLE)	/* the proxy is somewhere, its client need not be: "::" is in no network that is meant */
		request->address = (struct network_address){ .bytes = { 0 } };
	request->peer = arena_copy(&request->arena, peer);
}
