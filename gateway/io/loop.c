/* Event loop: a libevent base, mail from other threads, and the end of a turn. */
#include "io/loop.h"
#include "io/loop_event.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

struct loop {
	struct event_base *base;
	struct event *wake_event;	/* fires when mail was posted */
	int wake_fd;			/* eventfd */
	bool stop;
	struct loop_hook *hooks, **hooks_tail;	/* of this turn, in order */
	pthread_mutex_t lock;		/* guards the mail queue; held for a few instructions */
	struct mail *mails, **mails_tail;
};

/* Run the mail that other threads have queued. */
static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	struct mail *list, *next;
	uint64_t count;

	(void)what;
	while (read(fd, &count, sizeof(count)) < 0)
		break;	/* EAGAIN: somebody else's wake; the queue is looked at all the same */
	pthread_mutex_lock(&loop->lock);
	list = loop->mails;
	loop->mails = NULL;
	loop->mails_tail = &loop->mails;
	pthread_mutex_unlock(&loop->lock);
	for (; list; list = next) {
		next = list->next;
		list->run(list);
	}
}

void
loop_read_mail(struct loop *loop)
{
	on_wake(loop->wake_fd, 0, loop);
}

struct loop *
loop_new(void)
{
	struct event_config *config = event_config_new();
	struct loop *loop = calloc(1, sizeof(*loop));

	check(config != NULL && loop != NULL);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	check(loop->base != NULL);
	loop->hooks_tail = &loop->hooks;
	loop->mails_tail = &loop->mails;
	pthread_mutex_init(&loop->lock, NULL);
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	check(loop->wake_fd >= 0);
	loop->wake_event = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	check(loop->wake_event != NULL && event_add(loop->wake_event, NULL) == 0);
	return loop;
}

void
loop_free(struct loop **loop_p)
{
	struct loop *loop = *loop_p;

	if (loop == NULL)
		return;
	*loop_p = NULL;
	loop_read_mail(loop);	/* mail that nobody reads would be lost memory */
	event_free(loop->wake_event);
	close(loop->wake_fd);
	event_base_free(loop->base);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* Run the hooks of the turn, and those that they schedule. */
static void
loop_end_turn(struct loop *loop)
{
	while (loop->hooks) {
		struct loop_hook *hook = loop->hooks;

		loop->hooks = hook->next;
		if (loop->hooks == NULL)
			loop->hooks_tail = &loop->hooks;
		hook->queued = false;
		hook->fn(hook->arg);
	}
}

void
loop_run(struct loop *loop)
{
	loop->stop = false;
	loop_end_turn(loop);	/* what was made ready before the loop ran */
	while (!loop->stop) {
		check(event_base_loop(loop->base, EVLOOP_ONCE) >= 0);
		loop_end_turn(loop);
	}
}

void
loop_stop(struct loop *loop)
{
	loop->stop = true;
}

struct mono_time
loop_now(const struct loop *loop)
{
	(void)loop;
	return clock_now_mono();
}

struct event_base *
loop_base(struct loop *loop)
{
	return loop->base;
}

void
loop_at_turn_end(struct loop *loop, struct loop_hook *hook)
{
	if (hook->queued)
		return;
	hook->queued = true;
	hook->next = NULL;
	*loop->hooks_tail = hook;
	loop->hooks_tail = &hook->next;
}

void
loop_unhook(struct loop *loop, struct loop_hook *hook)
{
	struct loop_hook **p;

	if (!hook->queued)
		return;
	for (p = &loop->hooks; *p != hook; p = &(*p)->next)
		check(*p != NULL);
	*p = hook->next;
	if (*p == NULL)
		loop->hooks_tail = p;
	hook->queued = false;
}

void
loop_post(struct loop *loop, struct mail *mail)
{
	bool wake;
	uint64_t one = 1;

	mail->next = NULL;
	pthread_mutex_lock(&loop->lock);
	wake = loop->mails == NULL;
	*loop->mails_tail = mail;
	loop->mails_tail = &mail->next;
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		check(write(loop->wake_fd, &one, sizeof(one)) == sizeof(one));
}

/* libevent's timer fired. */
static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *timer = arg;

	(void)fd;
	(void)what;
	timer->pending = false;
	timer->on_due(timer->arg);
}

void
loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*on_due)(void *arg), void *arg)
{
	*timer = (struct loop_timer){ .loop = loop, .on_due = on_due, .arg = arg };
}

void
loop_timer_at(struct loop_timer *timer, struct mono_time due)
{
	int64_t wait_us = mono_since(due, clock_now_mono());
	struct timeval tv;

	if (wait_us < 0)
		wait_us = 0;
	tv.tv_sec = wait_us / CLOCK_SECOND;
	tv.tv_usec = wait_us % CLOCK_SECOND;
	if (timer->event == NULL)
		timer->event = evtimer_new(timer->loop->base, on_timer, timer);
	check(timer->event != NULL && event_add(timer->event, &tv) == 0);
	timer->pending = true;
}

void
loop_timer_clear(struct loop_timer *timer)
{
	if (timer->event && timer->pending)
		event_del(timer->event);
	timer->pending = false;
}

void
loop_timer_fini(struct loop_timer *timer)
{
	if (timer->event)
		event_free(timer->event);
	timer->event = NULL;
	timer->pending = false;
}

struct loop_watch {
	struct event *event;
	void (*on_readable)(void *arg);
	void *arg;
};

/* A watched descriptor has something. */
static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *watch = arg;

	(void)fd;
	(void)what;
	watch->on_readable(watch->arg);
}

struct loop_watch *
loop_watch_new(struct loop *loop, int fd, void (*on_readable)(void *arg), void *arg)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));

	check(watch != NULL);
	watch->on_readable = on_readable;
	watch->arg = arg;
	watch->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_watch, watch);
	check(watch->event != NULL && event_add(watch->event, NULL) == 0);
	return watch;
}

void
loop_watch_free(struct loop_watch **watch)
{
	if (*watch == NULL)
		return;
	event_free((*watch)->event);
	free(*watch);
	*watch = NULL;
}
