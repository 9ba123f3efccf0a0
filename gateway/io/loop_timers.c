/* The timers of one loop. */
#include "io/loop_timers.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"

/* The timerfd has fired; the timers are looked at when all other callbacks of the turn are done. */
static void
on_timerfd(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timers *timers = arg;

	(void)fd;
	(void)what;
	timers->fired = true;
}

void
loop_timers_init(struct loop_timers *timers, struct event_base *base)
{
	*timers = (struct loop_timers){ .fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC) };
	check(timers->fd >= 0);
	timers->event = event_new(base, timers->fd, EV_READ | EV_PERSIST, on_timerfd, timers);
	check(timers->event != NULL && event_add(timers->event, NULL) == 0);
}

void
loop_timers_fini(struct loop_timers *timers)
{
	for (size_t i = 0; i < timers->count; i++)
		timers->heap[i].timer->place = 0;
	free(timers->heap);
	event_free(timers->event);
	close(timers->fd);
	*timers = (struct loop_timers){ .fd = -1 };
}

/* Put a place at AT, counted from 0. */
static void
timers_put(struct loop_timers *timers, size_t at, struct loop_timer_place place)
{
	timers->heap[at] = place;
	place.timer->place = at + 1;
}

/* Put PLACE at AT, which is free, or where its time belongs: towards the first or away from it. */
static void
timers_settle(struct loop_timers *timers, size_t at, struct loop_timer_place place)
{
	struct loop_timer_place *heap = timers->heap;

	while (at > 0 && place.look_us < heap[(at - 1) / 2].look_us) {
		timers_put(timers, at, heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (size_t child; (child = 2 * at + 1) < timers->count; at = child) {
		if (child + 1 < timers->count && heap[child + 1].look_us < heap[child].look_us)
			child++;
		if (place.look_us <= heap[child].look_us)
			break;
		timers_put(timers, at, heap[child]);
	}
	timers_put(timers, at, place);
}

/* A free place at the end; where there was no room the heap grows. */
static size_t
timers_new_place(struct loop_timers *timers)
{
	if (timers->count == timers->size) {
		timers->size = timers->size ? 2 * timers->size : 16;
		timers->heap = realloc(timers->heap, timers->size * sizeof(timers->heap[0]));
		check(timers->heap != NULL);
	}
	return timers->count++;
}

/* Look at TIMER at its time, and not in the present run. */
static void
timers_place(struct loop_timers *timers, struct loop_timer *timer)
{
	int64_t look_us = timer->due.us > timers->running_us ? timer->due.us : timers->running_us + 1;
	size_t at = timer->place ? timer->place - 1 : timers_new_place(timers);

	timers_settle(timers, at, (struct loop_timer_place){ look_us, timer });
}

/* Take TIMER's place away. */
static void
timers_remove(struct loop_timers *timers, struct loop_timer *timer)
{
	size_t at = timer->place - 1;
	struct loop_timer_place last = timers->heap[--timers->count];

	timer->place = 0;
	if (last.timer != timer)
		timers_settle(timers, at, last);
}

void
loop_timers_tell(struct loop_timers *timers)
{
	int64_t first_us = timers->count > 0 ? timers->heap[0].look_us : 0;
	struct itimerspec spec = { 0 };

	if (!timers->fired && (first_us == 0 || (timers->told_us != 0 && timers->told_us <= first_us)))
		return;
	/* All zeros would disarm it, which is what no timer asks for. */
	spec.it_value.tv_sec = first_us / CLOCK_SECOND;
	spec.it_value.tv_nsec = first_us % CLOCK_SECOND * 1000;
	check(timerfd_settime(timers->fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0);
	timers->told_us = first_us;
	timers->fired = false;
}

void
loop_timers_run(struct loop_timers *timers)
{
	if (!timers->fired)
		return;
	timers->running_us = clock_now_mono().us;
	while (timers->count > 0 && timers->heap[0].look_us <= timers->running_us) {
		struct loop_timer *timer = timers->heap[0].timer;

		if (timer->pending && timer->due.us > timers->running_us) {
			timers_place(timers, timer);	/* it was put off */
			continue;
		}
		timers_remove(timers, timer);
		if (timer->pending) {
			timer->pending = false;
			timer->on_due(timer->arg);
		}
	}
	timers->running_us = 0;
}

void
loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*on_due)(void *arg), void *arg)
{
	*timer = (struct loop_timer){ .loop = loop, .on_due = on_due, .arg = arg };
}

void
loop_timer_at(struct loop_timer *timer, struct mono_time due)
{
	struct loop_timers *timers = loop_timers_of(timer->loop);

	timer->due = due;
	timer->pending = true;
	if (timer->place == 0 || timers->heap[timer->place - 1].look_us > due.us)
		timers_place(timers, timer);
}

void
loop_timer_clear(struct loop_timer *timer)
{
	timer->pending = false;
}

void
loop_timer_fini(struct loop_timer *timer)
{
	timer->pending = false;
	if (timer->place != 0)
		timers_remove(loop_timers_of(timer->loop), timer);
}
