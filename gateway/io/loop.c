/* Event loop: a libevent base, mail from other threads, and the end of a turn. */
#include "io/loop.h"
#include "io/loop_event.h"
#include "io/loop_timers.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

/* Mail of the loop's own thread is read so often at the end of a turn before descriptors are looked at again: chains of it are shorter. */
#define LOOP_MAIL_ROUNDS 8

/*
 * What waits for a pause of the kernel's waits no longer than this, or to the end of the turn in which that is over: less than an fdatasync
 * takes on most disks.
 */
#define LOOP_PAUSE_US 500

/* Hooks in their order. */
struct loop_hooks {
	struct loop_hook *first, **tail;
};

struct loop {
	struct event_base *base;
	struct event *wake_event;	/* fires when mail was posted */
	int wake_fd;			/* eventfd */
	struct mono_time turn_began;
	bool waits;			/* the present look may take its time, and nothing is known to have come */
	int64_t waited_us;
	bool stop;
	struct loop_timers timers;
	struct mail *own, **own_tail;	/* mail from its own thread */
	struct loop_hooks hooks, last;	/* of this turn; LAST run when there are no others */
	struct loop_hooks pause;	/* run when a turn was told nothing */
	struct mono_time pause_wanted;	/* when the turn began in which the first of them was added */
	pthread_mutex_t lock;		/* guards the mail queue; held for a few instructions */
	struct mail *mails, **mails_tail;	/* from other threads */
	bool woken;			/* there may be some: read behind what this thread has written to itself, which is older */
	atomic_uint wakers;		/* other threads that have queued mail, and wake the loop now */
};

/* The loop that this thread runs. */
static _Thread_local struct loop *loop_of_thread;

/* Take the list that a queue is. */
static struct mail *
mails_take(struct mail **mails, struct mail ***tail)
{
	struct mail *list = *mails;

	*mails = NULL;
	*tail = mails;
	return list;
}

/* Read a list. */
static void
mails_read(struct mail *list)
{
	struct mail *next;

	for (; list; list = next) {
		next = list->next;
		list->run(list);
	}
}

/* Read what other threads have sent. */
static void
loop_read_others(struct loop *loop)
{
	struct mail *list;

	pthread_mutex_lock(&loop->lock);
	list = mails_take(&loop->mails, &loop->mails_tail);
	pthread_mutex_unlock(&loop->lock);
	mails_read(list);
}

void
loop_read_mail(struct loop *loop)
{
	mails_read(mails_take(&loop->own, &loop->own_tail));
	loop_read_others(loop);
}

void
loop_waits_no_more(struct loop *loop)
{
	if (!loop->waits)
		return;
	loop->waits = false;
	loop->waited_us += mono_since(clock_now_mono(), loop->turn_began);
}

/* Other threads have queued mail. */
static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;

	(void)fd;
	(void)what;
	loop_waits_no_more(loop);
	loop->woken = true;
}

struct loop *
loop_new(void)
{
	struct event_config *config = event_config_new();
	struct loop *loop = calloc(1, sizeof(*loop));

	check(config != NULL && loop != NULL);
	/*
	 * The changelist: what is changed and changed back within a turn is not told to epoll. It forbids to double a
	 * descriptor that is watched: one that is closed before its removal is told to epoll stays watched as long as its
	 * double is open, under a number that is another connection's by then.
	 */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	check(loop->base != NULL);
	loop_timers_init(&loop->timers, loop->base);
	loop->hooks.tail = &loop->hooks.first;
	loop->last.tail = &loop->last.first;
	loop->pause.tail = &loop->pause.first;
	loop->mails_tail = &loop->mails;
	loop->own_tail = &loop->own;
	pthread_mutex_init(&loop->lock, NULL);
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	check(loop->wake_fd >= 0);
	/* By the edge: each write is told once, and the count, which nobody needs, is never read. */
	loop->wake_event = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, loop);
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
	while (atomic_load_explicit(&loop->wakers, memory_order_acquire) > 0)
		sched_yield();	/* its mail was read before it woke us for it */
	event_free(loop->wake_event);
	close(loop->wake_fd);
	loop_timers_fini(&loop->timers);
	event_base_free(loop->base);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* Take the first hook off a list; NULL where it is empty. */
static struct loop_hook *
hooks_take(struct loop_hooks *hooks)
{
	struct loop_hook *hook = hooks->first;

	if (hook == NULL)
		return NULL;
	hooks->first = hook->next;
	if (hooks->first == NULL)
		hooks->tail = &hooks->first;
	hook->queued = false;
	return hook;
}

/*
 * Run the hooks of the turn. READS: then what this thread has written to the loop, and so on with what comes of that: a request that waits
 * for the limiter's word on its own thread has it without another look at the descriptors. Then what others have written: of two threads'
 * mails that follow from each other the first is read first. What is done last comes behind all of it.
 */
static void
loop_end_turn(struct loop *loop, bool reads)
{
	struct loop_hook *hook;
	unsigned rounds = 0;

	for (;;) {
		if ((hook = hooks_take(&loop->hooks)) != NULL)
			hook->fn(hook->arg);
		else if (reads && loop->own != NULL && rounds++ < LOOP_MAIL_ROUNDS)
			mails_read(mails_take(&loop->own, &loop->own_tail));
		else if (loop->woken && loop->own == NULL) {
			loop->woken = false;
			loop_read_others(loop);
		} else if ((hook = hooks_take(&loop->last)) != NULL)
			hook->fn(hook->arg);
		else
			break;
	}
}

/* Run what waits for a pause, where this turn was told nothing, or it has waited long enough. */
static void
loop_pause(struct loop *loop, bool told)
{
	struct loop_hook *hook;

	if (loop->pause.first == NULL)
		return;
	if (told && !loop->stop && mono_since(clock_now_mono(), loop->pause_wanted) < LOOP_PAUSE_US)
		return;
	while ((hook = hooks_take(&loop->pause)) != NULL)
		hook->fn(hook->arg);
}

/* Ask the kernel, and wait for what it has to tell unless there is more to do; false where nothing comes of it. */
static bool
loop_look(struct loop *loop)
{
	bool waits = loop->own == NULL && loop->pause.first == NULL && !loop->woken;

	loop->waits = waits;
	loop->turn_began = clock_now_mono();
	loop_timers_tell(&loop->timers);
	check(event_base_loop(loop->base, EVLOOP_ONCE | (waits ? 0 : EVLOOP_NONBLOCK)) >= 0);
	loop_waits_no_more(loop);
	loop_timers_run(&loop->timers);
	return loop->own != NULL || loop->woken || loop->hooks.first != NULL || loop->last.first != NULL;
}

void
loop_run(struct loop *loop)
{
	struct loop *before = loop_of_thread;

	loop->stop = false;
	loop->turn_began = (struct mono_time){ 0 };
	loop_of_thread = loop;
	loop_read_others(loop);	/* what this thread wrote before comes before what it writes from now on */
	loop_end_turn(loop, false);	/* what was made ready before the loop ran */
	while (!loop->stop) {
		/* One look before it is read: who has sent a request and gone in one breath is not asked for. */
		bool mail = loop->own != NULL, told = loop_look(loop);

		loop_end_turn(loop, mail);
		loop_pause(loop, told);
	}
	loop_of_thread = before;
}

void
loop_stop(struct loop *loop)
{
	loop->stop = true;
}

bool
loop_turn_is_since(const struct loop *loop, struct mono_time since)
{
	return loop == loop_of_thread && mono_since(loop->turn_began, since) >= 0;
}

int64_t
loop_waited_us(const struct loop *loop)
{
	return loop->waited_us;
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

struct loop_timers *
loop_timers_of(struct loop *loop)
{
	return &loop->timers;
}

/* Put HOOK behind the others of its list. */
static void
hooks_add(struct loop_hooks *hooks, struct loop_hook *hook)
{
	if (hook->queued)
		return;
	hook->queued = true;
	hook->next = NULL;
	*hooks->tail = hook;
	hooks->tail = &hook->next;
}

bool
loop_write_now(struct bufferevent *bev)
{
	struct evbuffer *output = bufferevent_get_output(bev);

	evbuffer_unfreeze(output, 1);	/* a socket bufferevent freezes the front of its output between writes */
	evbuffer_write(output, bufferevent_getfd(bev));	/* a fault is met once more, and told, by libevent */
	evbuffer_freeze(output, 1);
	return evbuffer_get_length(output) == 0;
}

void
loop_at_turn_end(struct loop *loop, struct loop_hook *hook)
{
	hooks_add(&loop->hooks, hook);
}

void
loop_at_turn_last(struct loop *loop, struct loop_hook *hook)
{
	hooks_add(&loop->last, hook);
}

void
loop_at_pause(struct loop *loop, struct loop_hook *hook)
{
	if (loop->pause.first == NULL)
		loop->pause_wanted = loop->turn_began;
	hooks_add(&loop->pause, hook);
}

/* Take HOOK out of a list; false where it is not in it. */
static bool
hooks_remove(struct loop_hooks *hooks, struct loop_hook *hook)
{
	struct loop_hook **p;

	for (p = &hooks->first; *p != hook; p = &(*p)->next)
		if (*p == NULL)
			return false;
	*p = hook->next;
	if (*p == NULL)
		hooks->tail = p;
	hook->queued = false;
	return true;
}

void
loop_unhook(struct loop *loop, struct loop_hook *hook)
{
	if (hook->queued)
		check(hooks_remove(&loop->hooks, hook) || hooks_remove(&loop->last, hook) || hooks_remove(&loop->pause, hook));
}

void
loop_post_all(struct loop *loop, struct mail *first, struct mail *last)
{
	uint64_t one = 1;
	bool wake;

	last->next = NULL;
	if (loop == loop_of_thread) {
		*loop->own_tail = first;
		loop->own_tail = &last->next;
		return;
	}
	pthread_mutex_lock(&loop->lock);
	wake = loop->mails == NULL;
	*loop->mails_tail = first;
	loop->mails_tail = &last->next;
	if (wake)
		atomic_fetch_add_explicit(&loop->wakers, 1, memory_order_relaxed);
	pthread_mutex_unlock(&loop->lock);
	if (!wake)
		return;
	/* Without the lock: who is woken would wait for it. */
	check(write(loop->wake_fd, &one, sizeof(one)) == sizeof(one));
	atomic_fetch_sub_explicit(&loop->wakers, 1, memory_order_release);
}

void
loop_post(struct loop *loop, struct mail *mail)
{
	loop_post_all(loop, mail, mail);
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
