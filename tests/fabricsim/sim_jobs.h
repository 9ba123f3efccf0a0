/*
 * What the simulated Fabric remembers: job instances, whose state follows from the time, and schedules.
 *
 * Of each item all running instances and about 100 ended ones are kept, as Fabric does.
 */
#ifndef FABRICSIM_SIM_JOBS_H
#define FABRICSIM_SIM_JOBS_H

#include "base/clock.h"
#include "base/str.h"
#include "sim_random.h"

struct sim_jobs;

struct sim_job {
	struct sim_job *next_hash, *newer, *older;	/* private */
	struct sim_item *owner;				/* private */
	char id[SIM_UUID_BYTES], activity[SIM_UUID_BYTES];	/* activity: RequestId of the 202 that made it */
	char *type;			/* owned */
	struct wall_time started, ended;	/* ended: when it ends by itself, or was cancelled */
	bool cancelled;
};

struct sim_schedule {
	struct sim_schedule *next;	/* private */
	char id[SIM_UUID_BYTES];
	char *item, *type;		/* owned; item as the key "WORKSPACE/ITEM" in lower case */
	bool enabled;
	char *configuration;		/* owned JSON text */
	struct wall_time created;
};

/* Instances run for JOB_US. RANDOM makes the ids. */
struct sim_jobs *sim_jobs_new(int64_t job_us, uint64_t *random);
void sim_jobs_free(struct sim_jobs **jobs);

/* ITEM is the key "WORKSPACE/ITEM" in lower case, here and below. */
struct sim_job *sim_jobs_start(struct sim_jobs *jobs, struct str item, struct str type, const char *activity,
    struct wall_time now);
/* The instance of that id and item, or NULL. */
struct sim_job *sim_jobs_find(struct sim_jobs *jobs, struct str item, struct str id);
/* The newest instance of an item, or NULL; the next older one is job->older. */
struct sim_job *sim_jobs_newest(struct sim_jobs *jobs, struct str item);

bool sim_job_is_ended(const struct sim_job *job, struct wall_time now);
/* NotStarted (the first fifth of its life), InProgress, Completed or Cancelled. */
const char *sim_job_status(const struct sim_job *job, struct wall_time now);
void sim_job_cancel(struct sim_job *job, struct wall_time now);

/* A new schedule, enabled and without a configuration. */
struct sim_schedule *sim_schedule_add(struct sim_jobs *jobs, struct str item, struct str type, struct wall_time now);
/* The schedule of that id, item and type, or NULL. */
struct sim_schedule *sim_schedule_find(struct sim_jobs *jobs, struct str item, struct str type, struct str id);
/* The first schedule of an item and type after PREVIOUS (NULL: from the newest on), or NULL. */
struct sim_schedule *sim_schedule_next(struct sim_jobs *jobs, struct str item, struct str type,
    struct sim_schedule *previous);
/* Replace the configuration by a copy of this JSON text. */
void sim_schedule_configure(struct sim_schedule *schedule, const char *configuration);
void sim_schedule_remove(struct sim_jobs *jobs, struct sim_schedule *schedule);

#endif
