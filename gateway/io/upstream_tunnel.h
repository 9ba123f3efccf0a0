/*
 * For upstream_open.c and upstream_connection.c alone: asking a proxy for a tunnel (CONNECT, RFC 9110 9.3.6).
 *
 * The proxy is told the upstream's host and port and our credentials for the proxy, and nothing of any request. A 2xx
 * hands the connection to upstream_open_wire; whatever else ends the call with UPSTREAM_REASON_PROXY.
 */
#ifndef JOBGATE_IO_UPSTREAM_TUNNEL_H
#define JOBGATE_IO_UPSTREAM_TUNNEL_H

struct upstream_connection;
struct upstream_tunnel;

/* Ask on CONNECTION's connected socket, which stays the connection's; sets its tunnel. May fail the call at once. */
void upstream_tunnel_begin(struct upstream_connection *connection);
/* NULL is nothing. */
void upstream_tunnel_free(struct upstream_tunnel **tunnel);

#endif
