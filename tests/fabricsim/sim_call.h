/* One call of the simulated API: what the route's parts said, and the operations. */
#ifndef FABRICSIM_SIM_CALL_H
#define FABRICSIM_SIM_CALL_H

#include "sim_api.h"

struct sim_call {
	struct sim_api *api;
	struct arena *arena;
	struct str base;	/* path up to and with "/jobs", as sent */
	struct str item;	/* "WORKSPACE/ITEM" in lower case */
	struct str item_id;	/* in lower case */
	struct str type;	/* of the path, decoded */
	struct str query_type;	/* of the query, decoded; p NULL where absent */
	struct str token;	/* continuationToken, decoded; p NULL where absent */
	struct str id;		/* of an instance or schedule in lower case; p NULL where none or no UUID */
	struct str body;
	struct wall_time now;
	struct sim_reply *reply;
};

void sim_call_run(struct sim_call *call);
void sim_call_run_legacy(struct sim_call *call);
void sim_call_get(struct sim_call *call);
void sim_call_list(struct sim_call *call);
void sim_call_cancel(struct sim_call *call);
void sim_call_schedule_list(struct sim_call *call);
void sim_call_schedule_create(struct sim_call *call);
void sim_call_schedule_get(struct sim_call *call);
void sim_call_schedule_update(struct sim_call *call);
void sim_call_schedule_delete(struct sim_call *call);

/* A time as Fabric writes it: without a zone, seven digits. */
struct str sim_call_time(struct sim_call *call, struct wall_time t);
/* The Location of "jobs/REST" for this item. */
void sim_call_location(struct sim_call *call, const char *rest);

#endif
