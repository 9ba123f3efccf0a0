/*
 * Event loop: one per worker thread and one for main; a libevent base that no other thread touches.
 *
 * Timers are monotonic and absolute. Other threads reach a loop only by loop_post. Work that a
 * callback makes ready is done at the end of the turn (loop_at_turn_end), where dead things are freed too.
 */
#ifndef JOBGATE_IO_LOOP_H
#define JOBGATE_IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

struct loop;

/* A loop without a thread; loop_run makes the calling thread its thread. Never NULL. */
struct loop *loop_new(void);
void loop_free(struct loop **loop);

/* Run until loop_stop; returns at the end of the turn in which it was called. */
void loop_run(struct loop *loop);
/* From the loop's own thread (another thread posts a mail that calls it). */
void loop_stop(struct loop *loop);

/*
 * Whether the present turn began to ask the kernel at SINCE or later: what had come by then has been told by the turn's end. False where the
 * calling thread is not inside loop_run.
 */
bool loop_turn_is_since(const struct loop *loop, struct mono_time since);

/* How long its thread has waited in all, with nothing to do; own thread only. What woke it may be counted with it. */
int64_t loop_waited_us(const struct loop *loop);

/* Monotonic time, read from the clock at each call. */
struct mono_time loop_now(const struct loop *loop);

/* --- timers: the storage is the caller's; finished before it goes. To put one off, or to clear it, costs next to nothing. --- */
struct loop_timer {
	struct loop *loop;
	void (*on_due)(void *arg);
	void *arg;
	struct mono_time due;
	bool pending;		/* to fire when DUE */
	size_t place;		/* private: in the loop's heap, counted from 1; 0: none */
};

void loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*on_due)(void *arg), void *arg);
/* Fire once at DUE, replacing an earlier setting. A time that has passed fires in the next turn. */
void loop_timer_at(struct loop_timer *timer, struct mono_time due);
void loop_timer_clear(struct loop_timer *timer);
void loop_timer_fini(struct loop_timer *timer);

/* --- mail: how threads speak --- */

/* Embedded in a message that owns its bytes. RUN is called on the receiving loop's thread and owns the mail. */
struct mail {
	struct mail *next;	/* private; for loop_post_all */
	void (*run)(struct mail *mail);
};

/*
 * Any thread. Mails of one sender arrive in order. The receiver is woken once for all that is queued; what it writes to itself it reads
 * after another look at the descriptors, and in the same turn what is written in answer to that.
 */
void loop_post(struct loop *loop, struct mail *mail);
/* The same for a chain of mails, from FIRST by NEXT to LAST. */
void loop_post_all(struct loop *loop, struct mail *first, struct mail *last);
/* The loop's thread, once it runs no more: read what has come until now. */
void loop_read_mail(struct loop *loop);

/* --- turn end: FN(ARG) runs once at the end of the present turn (again if scheduled again); own thread only --- */
struct loop_hook {
	struct loop_hook *next;	/* private */
	void (*fn)(void *arg);
	void *arg;
	bool queued;		/* private */
};
void loop_at_turn_end(struct loop *loop, struct loop_hook *hook);
/* Behind all others, and those that they schedule: for what is done once for a whole turn. */
void loop_at_turn_last(struct loop *loop, struct loop_hook *hook);
/*
 * Once the kernel has nothing more to tell, or half a millisecond later: for what is the dearer the oftener it is done, such as waking
 * another thread. A loop that has little to do comes to it at the end of the turn, after one more look.
 */
void loop_at_pause(struct loop *loop, struct loop_hook *hook);
/* Take HOOK back, queued or not: before its storage goes. */
void loop_unhook(struct loop *loop, struct loop_hook *hook);

/* Watch a descriptor that is not a connection (signalfd, eventfd): FN(ARG) whenever it is readable, until closed. */
struct loop_watch;
struct loop_watch *loop_watch_new(struct loop *loop, int fd, void (*on_readable)(void *arg), void *arg);
void loop_watch_free(struct loop_watch **watch);

#endif
