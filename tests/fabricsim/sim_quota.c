/* The upstream's quota, counted exactly. */
#include "sim_quota.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* One identity's count. A chain of a few: tests use a handful of tokens. */
struct quota_identity {
	struct quota_identity *next;
	char *name;		/* owned */
	size_t name_bytes;
	int64_t window;		/* fixed: the number of the window that COUNT belongs to */
	int64_t count;		/* fixed: of that window; sliding: times in use */
	int64_t *times;		/* sliding: ring of admitted times, owned */
	int64_t first;		/* sliding: the oldest of the ring */
};

struct sim_quota {
	int64_t requests, window_us;
	bool sliding;
	int64_t start_us;	/* where fixed window 0 begins */
	struct quota_identity *identities;
};

/* Make a quota that counts from now on. */
struct sim_quota *
sim_quota_new(int64_t requests, int64_t window_us, bool sliding, int64_t phase_us)
{
	struct sim_quota *q = calloc(1, sizeof(*q));

	check(q != NULL);
	q->requests = requests;
	q->window_us = window_us;
	q->sliding = sliding;
	q->start_us = clock_now_mono().us - (phase_us > 0 ? window_us - phase_us % (window_us > 0 ? window_us : 1) : 0);
	return q;
}

/* Free a quota and all it counted. */
void
sim_quota_free(struct sim_quota **quota)
{
	struct quota_identity *i, *next;

	if (*quota == NULL)
		return;
	for (i = (*quota)->identities; i != NULL; i = next) {
		next = i->next;
		free(i->name);
		free(i->times);
		free(i);
	}
	free(*quota);
	*quota = NULL;
}

/* Find an identity or begin a new one. */
static struct quota_identity *
quota_find(struct sim_quota *q, struct str name)
{
	struct quota_identity *i;

	for (i = q->identities; i != NULL; i = i->next)
		if (i->name_bytes == name.n && memcmp(i->name, name.p, name.n) == 0)
			return i;
	i = calloc(1, sizeof(*i));
	check(i != NULL);
	i->name = malloc(name.n + 1);
	check(i->name != NULL);
	if (name.n > 0)
		memcpy(i->name, name.p, name.n);
	i->name_bytes = name.n;
	i->window = -1;
	if (q->sliding) {
		i->times = calloc((size_t)q->requests, sizeof(*i->times));
		check(i->times != NULL);
	}
	i->next = q->identities;
	q->identities = i;
	return i;
}

/* Count in a window that begins anew. */
static int64_t
quota_take_fixed(struct sim_quota *q, struct quota_identity *i, int64_t now)
{
	int64_t window = (now - q->start_us) / q->window_us;

	if (i->window != window) {
		i->window = window;
		i->count = 0;
	}
	if (i->count >= q->requests)
		return q->start_us + (window + 1) * q->window_us - now;
	i->count++;
	return 0;
}

/* Count in a window that ends now. */
static int64_t
quota_take_sliding(struct sim_quota *q, struct quota_identity *i, int64_t now)
{
	while (i->count > 0 && now - i->times[i->first] >= q->window_us) {
		i->first = (i->first + 1) % q->requests;
		i->count--;
	}
	if (i->count >= q->requests)
		return i->times[i->first] + q->window_us - now;
	i->times[(i->first + i->count) % q->requests] = now;
	i->count++;
	return 0;
}

/* Count one request. */
int64_t
sim_quota_take(struct sim_quota *q, struct str identity, struct mono_time now)
{
	if (q->requests == 0)
		return 0;
	if (q->sliding)
		return quota_take_sliding(q, quota_find(q, identity), now.us);
	return quota_take_fixed(q, quota_find(q, identity), now.us);
}
