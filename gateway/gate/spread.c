/* Over how many workers the callers' connections are spread. */
#include "gate/spread.h"

#include "base/check.h"

/*
 * A worker that has so little left is joined by another: above it requests would wait for each other. The others' number shrinks where
 * the rest would be less busy than this, each: what a worker carries alone is less than what two carry, who cost more.
 */
#define SPREAD_GROW_PERMILLE 900
#define SPREAD_SHRINK_PERMILLE 800
/* A worker that has noted nothing for so long has nothing to do; after a change no other word than that is waited for. */
#define SPREAD_STALE_US (5 * SPREAD_WINDOW_US)
/* What is measured over more than that has a pause in it in which nobody asked. */
#define SPREAD_WINDOW_MOST_US (2 * SPREAD_WINDOW_US)

void
spread_init(struct spread *spread, size_t count, bool all)
{
	check(count > 0 && count <= SPREAD_WORKERS_MAX);
	spread->count = count;
	spread->all = all;
	atomic_store(&spread->active, all ? count : 1);
}

bool
spread_moves(const struct spread *spread)
{
	return spread->count > 1 && !spread->all;
}

bool
spread_is_due(const struct spread *spread, const struct spread_window *window, struct mono_time now)
{
	return spread_moves(spread) && (window->began.us == 0 || mono_since(now, window->began) >= SPREAD_WINDOW_US);
}

/* How busy the first COUNT workers are together, as far as they have told lately. */
static int64_t
spread_sum(const struct spread *spread, size_t count, struct mono_time now)
{
	int64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		if (now.us - atomic_load(&spread->workers[i].until_us) < SPREAD_STALE_US)
			sum += atomic_load(&spread->workers[i].busy_permille);
	return sum;
}

/* How many workers are wanted, where one of the ACTIVE ones was so busy. */
static size_t
spread_wanted(const struct spread *spread, size_t active, int64_t busy_permille, struct mono_time now)
{
	bool settled = now.us - atomic_load(&spread->changed_us) >= SPREAD_STALE_US;

	if (busy_permille >= SPREAD_GROW_PERMILLE)
		return active < spread->count ? active + 1 : active;
	if (settled && active > 1 && spread_sum(spread, active, now) < (int64_t)(active - 1) * SPREAD_SHRINK_PERMILLE)
		return active - 1;
	return active;
}

void
spread_note(struct spread *spread, size_t index, struct spread_window *window, struct mono_time now, int64_t waited_us)
{
	struct spread_window last = *window;
	size_t active = atomic_load(&spread->active), wanted;
	int64_t permille;

	*window = (struct spread_window){ now, waited_us };
	if (last.began.us == 0 || mono_since(now, last.began) > SPREAD_WINDOW_MOST_US)
		return;
	permille = 1000 - (waited_us - last.waited_us) * 1000 / mono_since(now, last.began);
	atomic_store(&spread->workers[index].busy_permille, permille);
	atomic_store(&spread->workers[index].until_us, now.us);
	/* One that has just been given more, or less, is watched for a whole window first. */
	if (index >= active || last.began.us < atomic_load(&spread->changed_us))
		return;
	wanted = spread_wanted(spread, active, permille, now);
	if (wanted != active && atomic_compare_exchange_strong(&spread->active, &active, wanted))
		atomic_store(&spread->changed_us, now.us);
}

size_t
spread_active(const struct spread *spread)
{
	return atomic_load_explicit(&spread->active, memory_order_relaxed);
}

size_t
spread_home(const struct spread *spread, size_t number)
{
	return number % spread_active(spread);
}

bool
spread_begin(struct spread *spread)
{
	atomic_fetch_add(&spread->moving, 1);	/* first: who stops it either sees this one or is seen */
	if (!atomic_load(&spread->still))
		return true;
	spread_end(spread);
	return false;
}

void
spread_end(struct spread *spread)
{
	check(atomic_fetch_sub(&spread->moving, 1) > 0);
}

void
spread_stop(struct spread *spread)
{
	atomic_store(&spread->still, true);
}

bool
spread_is_quiet(const struct spread *spread)
{
	return atomic_load(&spread->moving) == 0;
}
