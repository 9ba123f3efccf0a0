/* What the connections of one fabricsim share. */
#ifndef FABRICSIM_SIM_SERVER_H
#define FABRICSIM_SIM_SERVER_H

#include <event2/util.h>
#include <openssl/ssl.h>

#include "sim_api.h"
#include "sim_ledger.h"
#include "sim_quota.h"

struct event_base;
struct sim_conn;

struct sim_server {
	struct sim_options options;
	struct event_base *base;
	SSL_CTX *tls;
	struct sim_jobs *jobs;
	struct sim_quota *quota;
	struct sim_ledger *ledger;
	struct sim_api api;
	uint64_t random;		/* of ids */
	uint64_t connections;		/* accepted so far */
	struct sim_conn *conns;		/* list of the living */
};

/* Serve an accepted socket until it ends; takes FD over. */
void sim_conn_new(struct sim_server *server, evutil_socket_t fd);

/* End one connection at once and free it. */
void sim_conn_free(struct sim_conn **conn);

#endif
