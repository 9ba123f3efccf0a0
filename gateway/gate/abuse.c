/* Failed authentications, counted over all workers. */
#include "gate/abuse.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "io/tls.h"
#include "rules/suspicion.h"

struct abuse {
	pthread_mutex_t lock;		/* held for a look into the table: failures are few, or it is no loss that they wait */
	struct suspicion suspicion;
};

struct abuse *
abuse_new(void)
{
	struct abuse *abuse = calloc(1, sizeof(*abuse));
	uint64_t seed;

	check(abuse != NULL);
	random_bytes((uint8_t *)&seed, sizeof(seed));
	suspicion_init(&abuse->suspicion, seed);
	pthread_mutex_init(&abuse->lock, NULL);
	return abuse;
}

void
abuse_free(struct abuse **abuse)
{
	if (*abuse == NULL)
		return;
	pthread_mutex_destroy(&(*abuse)->lock);
	free(*abuse);
	*abuse = NULL;
}

int64_t
abuse_failure(struct abuse *abuse, const struct network_address *address, struct str peer, struct str shown, struct mono_time now)
{
	uint32_t by_address, by_key = 0;

	pthread_mutex_lock(&abuse->lock);
	by_address = suspicion_note(&abuse->suspicion, suspicion_of_address(&abuse->suspicion, address), now);
	if (shown.n > 0)
		by_key = suspicion_note(&abuse->suspicion, suspicion_of_key(&abuse->suspicion, shown), now);
	pthread_mutex_unlock(&abuse->lock);
	if (by_address == SUSPICION_FREE + 1 || by_key == SUSPICION_FREE + 1)
		log_line(LOG_WARN, "failed authentications are slowed", log_s("peer", peer), log_i("of_address", by_address),
		    log_i("of_key", by_key));
	return suspicion_delay_us(by_address > by_key ? by_address : by_key);
}
