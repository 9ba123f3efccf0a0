/* The condition of something outside. */
#include "gate/condition.h"

#include "base/log.h"

/* While it is ill it is said again so often (STYLE, "the environment"). */
#define CONDITION_REPEAT_US (30 * (int64_t)CLOCK_SECOND)

void
condition_set(struct condition *condition, bool well, const char *why, struct mono_time now)
{
	bool was_ill = atomic_load_explicit(&condition->ill, memory_order_relaxed);
	int_fast64_t said = atomic_load_explicit(&condition->said_us, memory_order_relaxed);

	if (well && !was_ill)
		return;
	if (!well && was_ill && now.us - said < CONDITION_REPEAT_US)
		return;
	if (atomic_exchange(&condition->ill, !well) == !well && well)
		return;		/* another thread has said it */
	if (!well && !atomic_compare_exchange_strong(&condition->said_us, &said, now.us))
		return;
	log_line(well ? LOG_INFO : LOG_ERROR, well ? condition->up : condition->down, log_z("why", why));
}

bool
condition_is_ill(const struct condition *condition)
{
	return atomic_load_explicit(&condition->ill, memory_order_relaxed);
}
