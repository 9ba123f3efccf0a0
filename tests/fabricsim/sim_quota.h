/*
 * The upstream's quota: at most so many requests in a window, for each identity (Authorization value) apart.
 *
 * Only admitted requests count, as a fixed window that begins anew or as a sliding one that remembers every time.
 */
#ifndef FABRICSIM_SIM_QUOTA_H
#define FABRICSIM_SIM_QUOTA_H

#include "base/clock.h"
#include "base/str.h"

struct sim_quota;

/* REQUESTS 0: everything passes. PHASE_US: see sim_options. */
struct sim_quota *sim_quota_new(int64_t requests, int64_t window_us, bool sliding, int64_t phase_us);
void sim_quota_free(struct sim_quota **quota);

/* Count one request of IDENTITY at NOW; 0 where it is admitted, else how many microseconds until one would be. */
int64_t sim_quota_take(struct sim_quota *quota, struct str identity, struct mono_time now);

#endif
