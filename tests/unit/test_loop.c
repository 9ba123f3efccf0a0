/* The loop: mail from several threads arrives whole and in each sender's order, hooks run at the end of the turn, timers in time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/loop.h"

#define SENDERS 4
#define MAILS 20000

struct numbered_mail {
	struct mail mail;
	struct receiver *receiver;
	unsigned sender, number;
};

struct receiver {
	struct loop *loop;
	unsigned next[SENDERS];		/* the number that each sender's next mail must have */
	unsigned received, out_of_order;
};

struct sender {
	struct receiver *receiver;
	unsigned number;
};

/* Runs on the receiver's thread. */
static void
on_mail(struct mail *mail)
{
	struct numbered_mail *m = (struct numbered_mail *)mail;
	struct receiver *r = m->receiver;

	if (m->number != r->next[m->sender]++)
		r->out_of_order++;
	if (++r->received == SENDERS * MAILS)
		loop_stop(r->loop);
	free(m);
}

static void *
send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < MAILS; i++) {
		struct numbered_mail *m = calloc(1, sizeof(*m));

		m->mail.run = on_mail;
		m->receiver = s->receiver;
		m->sender = s->number;
		m->number = i;
		loop_post(s->receiver->loop, &m->mail);
	}
	return NULL;
}

static void
test_mail_from_many_threads(void **state)
{
	struct receiver receiver = { .loop = loop_new() };
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];

	(void)state;
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ &receiver, i };
		assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
	}
	loop_run(receiver.loop);
	for (unsigned i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(receiver.received, SENDERS * MAILS);
	assert_int_equal(receiver.out_of_order, 0);
	loop_free(&receiver.loop);
}

/* Mail that nobody reads before the loop ends is run by loop_free: its owner frees it there, so nothing is lost. */
static void
test_mail_left_over(void **state)
{
	struct receiver receiver = { .loop = loop_new() };
	struct sender sender = { &receiver, 0 };

	(void)state;
	send_all(&sender);
	loop_free(&receiver.loop);
	assert_int_equal(receiver.received, MAILS);
}

struct journey {
	struct loop *loop;
	struct loop_hook first, second;
	struct loop_timer timer;
	char trail[16];
	size_t n;
};

static void
on_first(void *arg)
{
	struct journey *j = arg;

	j->trail[j->n++] = 'a';
	loop_at_turn_end(j->loop, &j->second);	/* a hook may queue another: the same turn's end runs it */
	loop_at_turn_end(j->loop, &j->second);	/* queued twice, run once */
}

static void
on_second(void *arg)
{
	struct journey *j = arg;

	j->trail[j->n++] = 'b';
	loop_stop(j->loop);
}

static void
on_timer(void *arg)
{
	struct journey *j = arg;

	j->trail[j->n++] = 't';
	loop_at_turn_end(j->loop, &j->first);
	j->trail[j->n++] = 'u';		/* the hook has not run inside */
}

static void
test_hooks_run_at_the_end_of_the_turn(void **state)
{
	struct journey j = { .loop = loop_new() };

	(void)state;
	j.first = (struct loop_hook){ .fn = on_first, .arg = &j };
	j.second = (struct loop_hook){ .fn = on_second, .arg = &j };
	loop_timer_init(&j.timer, j.loop, on_timer, &j);
	loop_timer_at(&j.timer, loop_now(j.loop));
	loop_run(j.loop);
	assert_string_equal(j.trail, "tuab");
	loop_timer_fini(&j.timer);
	loop_free(&j.loop);
}

static void
test_unhooked_hooks_do_not_run(void **state)
{
	struct journey j = { .loop = loop_new() };

	(void)state;
	j.first = (struct loop_hook){ .fn = on_first, .arg = &j };
	j.second = (struct loop_hook){ .fn = on_second, .arg = &j };
	loop_at_turn_end(j.loop, &j.first);
	loop_at_turn_end(j.loop, &j.second);
	loop_unhook(j.loop, &j.first);
	loop_unhook(j.loop, &j.first);	/* not queued: nothing */
	loop_run(j.loop);
	assert_string_equal(j.trail, "b");
	loop_free(&j.loop);
}

static void
on_last(void *arg)
{
	struct journey *j = arg;

	j->trail[j->n++] = 'z';
	if (j->n < 4)
		loop_at_turn_end(j->loop, &j->first);
}

/* What is done once for a whole turn comes behind all hooks of it, and behind those that it causes itself. */
static void
test_last_hooks_run_behind_all_others(void **state)
{
	struct journey j = { .loop = loop_new() };
	struct loop_hook last = { .fn = on_last, .arg = &j }, unwanted = { .fn = on_last, .arg = &j };

	(void)state;
	j.first = (struct loop_hook){ .fn = on_first, .arg = &j };
	j.second = (struct loop_hook){ .fn = on_second, .arg = &j };
	loop_at_turn_last(j.loop, &last);
	loop_at_turn_last(j.loop, &last);
	loop_at_turn_last(j.loop, &unwanted);
	loop_at_turn_end(j.loop, &j.first);
	loop_unhook(j.loop, &unwanted);
	loop_run(j.loop);
	assert_string_equal(j.trail, "abzab");
	loop_free(&j.loop);
}

struct letter {
	struct mail mail;
	struct journey *journey;
	char name;
	struct letter *answer;
};

static void
on_letter(struct mail *mail)
{
	struct letter *letter = (struct letter *)mail;
	struct journey *j = letter->journey;

	j->trail[j->n++] = letter->name;
	if (letter->answer)
		loop_post(j->loop, &letter->answer->mail);
	else
		loop_stop(j->loop);
}

/* A loop may write to itself, from outside, from a hook and from mail that it reads; a chain comes in its order. */
static void
test_mail_to_itself(void **state)
{
	struct journey j = { .loop = loop_new() };
	struct letter third = { { NULL, on_letter }, &j, '3', NULL }, second = { { NULL, on_letter }, &j, '2', &third };
	struct letter first = { { &second.mail, on_letter }, &j, '1', NULL };

	(void)state;
	loop_post_all(j.loop, &first.mail, &second.mail);
	loop_run(j.loop);	/* the first stops it; what is posted by the second waits for the next run */
	assert_string_equal(j.trail, "12");
	loop_run(j.loop);
	assert_string_equal(j.trail, "123");
	loop_free(&j.loop);
}

struct correspondence { struct loop_timer timer; struct letter own, other; };

/* Another thread writes to the loop. */
static void *
write_other(void *arg)
{
	struct correspondence *c = arg;

	loop_post(c->own.journey->loop, &c->other.mail);
	return NULL;
}

/* The loop's thread writes to itself, and then has another write. */
static void
on_write_both(void *arg)
{
	struct correspondence *c = arg;
	pthread_t thread;

	loop_post(c->own.journey->loop, &c->own.mail);
	assert_int_equal(pthread_create(&thread, NULL, write_other, c), 0);
	pthread_join(thread, NULL);
}

/* What a loop has written to itself is read before what another thread has written after that. */
static void
test_mail_that_follows_from_other_mail(void **state)
{
	struct journey j = { .loop = loop_new() };
	struct correspondence c = { .own = { { NULL, on_letter }, &j, '1', NULL }, .other = { { NULL, on_letter }, &j, '2', NULL } };

	(void)state;
	loop_timer_init(&c.timer, j.loop, on_write_both, &c);
	loop_timer_at(&c.timer, loop_now(j.loop));
	loop_run(j.loop);
	loop_timer_fini(&c.timer);
	loop_free(&j.loop);		/* reads what is left */
	assert_string_equal(j.trail, "12");
}

struct aging {
	struct loop *loop;
	struct loop_hook hook;
	int turns;
	bool young, old;
};

/* A timer first, then the end of its turn, whose work takes a while. */
static void
on_aging(void *arg)
{
	struct aging *a = arg;

	if (a->turns++ == 0) {
		loop_at_turn_end(a->loop, &a->hook);
		return;
	}
	a->young = loop_turn_is_since(a->loop, mono_add(loop_now(a->loop), -CLOCK_SECOND));
	usleep(3000);
	a->old = !loop_turn_is_since(a->loop, mono_add(loop_now(a->loop), -2 * CLOCK_MS));
	loop_stop(a->loop);
}

/* A turn's age tells how old the loop's knowledge is; outside of turns it has none. */
static void
test_a_turn_ages(void **state)
{
	struct aging a = { .loop = loop_new() };
	struct loop_timer timer;

	(void)state;
	a.hook = (struct loop_hook){ .fn = on_aging, .arg = &a };
	assert_false(loop_turn_is_since(a.loop, (struct mono_time){ 0 }));
	loop_timer_init(&timer, a.loop, on_aging, &a);
	loop_timer_at(&timer, loop_now(a.loop));
	loop_run(a.loop);
	assert_true(a.young && a.old);
	assert_false(loop_turn_is_since(a.loop, (struct mono_time){ 0 }));
	loop_timer_fini(&timer);
	loop_free(&a.loop);
}

struct echo {
	struct mail mail;
	struct loop *loop;
	struct loop_hook last;
	unsigned count, lasts;
};

static void
on_echo(struct mail *mail)
{
	struct echo *echo = (struct echo *)mail;

	if (echo->loop == NULL)		/* what loop_free has read */
		return;
	echo->count++;
	loop_at_turn_last(echo->loop, &echo->last);
	loop_post(echo->loop, &echo->mail);
}

static void
on_echo_last(void *arg)
{
	struct echo *echo = arg;

	echo->lasts++;
}

static void
on_enough(void *arg)
{
	loop_stop(arg);
}

struct pausing {
	struct mail mail;		/* that it writes to itself, while BUSY */
	struct loop *loop;
	struct loop_hook last, pause;
	bool busy;
	unsigned turns, pauses;
	struct mono_time wanted;
	int64_t waited_us;		/* the longest */
};

static void
on_busy(struct mail *mail)
{
	struct pausing *p = (struct pausing *)mail;

	if (p->pauses < 20)
		loop_at_turn_last(p->loop, &p->last);
}

static void
on_busy_turn(void *arg)
{
	struct pausing *p = arg;

	p->turns++;
	if (p->wanted.us == 0)
		p->wanted = loop_now(p->loop);
	loop_at_pause(p->loop, &p->pause);
	if (p->busy)
		loop_post(p->loop, &p->mail);
}

static void
on_pause(void *arg)
{
	struct pausing *p = arg;
	int64_t us = mono_since(loop_now(p->loop), p->wanted);

	p->waited_us = us > p->waited_us ? us : p->waited_us;
	p->wanted = (struct mono_time){ 0 };
	if (++p->pauses == 20 || !p->busy)
		loop_stop(p->loop);
}

/* What waits for a pause comes at once where there is one, for many turns together where there is none, and when the loop stops. */
static void
test_a_pause_comes(void **state)
{
	struct pausing p = { .mail = { NULL, on_busy }, .loop = loop_new() };

	(void)state;
	p.last = (struct loop_hook){ .fn = on_busy_turn, .arg = &p };
	p.pause = (struct loop_hook){ .fn = on_pause, .arg = &p };
	loop_at_turn_last(p.loop, &p.last);
	loop_run(p.loop);		/* there is no timer: it would wait for ever */
	assert_int_equal(p.pauses, 1);
	p.busy = true;
	loop_at_turn_last(p.loop, &p.last);
	loop_run(p.loop);
	assert_int_equal(p.pauses, 20);
	assert_true(p.turns > 2 * p.pauses);
	assert_true(p.waited_us >= 200 && p.waited_us < CLOCK_SECOND);
	loop_at_pause(p.loop, &p.pause);
	loop_unhook(p.loop, &p.pause);
	loop_free(&p.loop);
}

/* Who writes to itself without end keeps the loop neither from its timers nor from what is done once a turn. */
static void
test_mail_to_itself_without_end(void **state)
{
	struct echo echo = { .mail = { NULL, on_echo }, .loop = loop_new() };
	struct loop_timer timer;

	(void)state;
	echo.last = (struct loop_hook){ .fn = on_echo_last, .arg = &echo };
	loop_timer_init(&timer, echo.loop, on_enough, echo.loop);
	loop_timer_at(&timer, mono_add(loop_now(echo.loop), 10 * CLOCK_MS));
	loop_post(echo.loop, &echo.mail);
	loop_run(echo.loop);
	assert_true(echo.count > 100);
	assert_true(echo.lasts > 10);
	assert_true(echo.lasts < echo.count);
	loop_timer_fini(&timer);
	loop_free(&echo.loop);
}

static void
on_due(void *arg)
{
	loop_stop(arg);
}

/* A timer never fires early, and setting it again replaces the earlier time. */
static void
test_timers(void **state)
{
	struct loop *loop = loop_new();
	struct mono_time due = mono_add(loop_now(loop), 30 * CLOCK_MS);
	struct loop_timer timer;

	(void)state;
	loop_timer_init(&timer, loop, on_due, loop);
	loop_timer_at(&timer, mono_add(due, -20 * CLOCK_MS));
	loop_timer_at(&timer, due);
	assert_true(timer.pending);
	loop_run(loop);
	assert_false(timer.pending);
	assert_true(mono_since(loop_now(loop), due) >= 0);
	loop_timer_fini(&timer);
	loop_free(&loop);
}

/* Timers that note in which order they fire; the last ends the loop. */
struct note {
	struct loop_timer timer;
	struct notes *notes;
	char name;
};

struct notes {
	struct loop *loop;
	char fired[32];
	size_t count, most;
	struct note *again;	/* set for now by the first that fires */
};

static void
on_note(void *arg)
{
	struct note *note = arg;
	struct notes *notes = note->notes;

	notes->fired[notes->count++] = note->name;
	if (notes->again) {
		loop_timer_at(&notes->again->timer, loop_now(notes->loop));
		notes->again = NULL;
	}
	if (notes->count == notes->most)
		loop_stop(notes->loop);
}

/* Timers fire in the order of their times, whatever they were set to before; who is cleared or finished does not. */
static void
test_timers_keep_their_order(void **state)
{
	static const struct { int first_ms, then_ms; } times[] = { { 5, 30 }, { 40, 10 }, { 20, 20 }, { 5, -1 }, { 15, -2 }, { 10, 25 } };
	struct notes notes = { loop_new(), "", 0, 4, NULL };
	struct mono_time begin = loop_now(notes.loop);
	struct note note[6];

	(void)state;
	for (int i = 0; i < 6; i++) {
		note[i] = (struct note){ .notes = &notes, .name = (char)('a' + i) };
		loop_timer_init(&note[i].timer, notes.loop, on_note, &note[i]);
		loop_timer_at(&note[i].timer, mono_add(begin, times[i].first_ms * CLOCK_MS));
	}
	for (int i = 0; i < 6; i++) {
		if (times[i].then_ms == -1)
			loop_timer_clear(&note[i].timer);
		else if (times[i].then_ms == -2)
			loop_timer_fini(&note[i].timer);
		else
			loop_timer_at(&note[i].timer, mono_add(begin, times[i].then_ms * CLOCK_MS));
	}
	loop_run(notes.loop);
	assert_string_equal(notes.fired, "bcfa");
	assert_true(mono_since(loop_now(notes.loop), begin) >= 30 * CLOCK_MS);
	loop_free(&notes.loop);
	for (int i = 0; i < 6; i++)
		loop_timer_fini(&note[i].timer);	/* behind the loop's end too */
}

/* Set for now by a timer, another one fires a turn later: behind what was due with the first. */
static void
test_a_timer_set_by_a_timer_takes_a_turn(void **state)
{
	struct notes notes = { loop_new(), "", 0, 4, NULL };
	struct note note[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		note[i] = (struct note){ .notes = &notes, .name = (char)('a' + i) };
		loop_timer_init(&note[i].timer, notes.loop, on_note, &note[i]);
		loop_timer_at(&note[i].timer, mono_add(loop_now(notes.loop), -(3 - i)));
	}
	notes.again = &note[0];
	loop_run(notes.loop);
	assert_string_equal(notes.fired, "abca");
	for (int i = 0; i < 3; i++)
		loop_timer_fini(&note[i].timer);
	loop_free(&notes.loop);
}

/* Wait a little, and work longer than that. */
static void
on_hard_work(void *arg)
{
	struct mono_time began = clock_now_mono();

	while (mono_since(clock_now_mono(), began) < 60 * CLOCK_MS)
		continue;
	loop_stop(arg);
}

/* What a turn does at its end is no waiting, what it waits before is. */
static void
test_waiting_is_counted(void **state)
{
	struct loop *loop = loop_new();
	struct loop_timer timer;
	struct mono_time began = loop_now(loop);
	int64_t took_us;

	(void)state;
	loop_timer_init(&timer, loop, on_hard_work, loop);
	loop_timer_at(&timer, mono_add(began, 130 * CLOCK_MS));	/* a busy machine may take some of it before the loop waits */
	loop_run(loop);
	took_us = mono_since(loop_now(loop), began);
	assert_in_range(loop_waited_us(loop), 25 * CLOCK_MS, took_us - 55 * CLOCK_MS);
	loop_timer_fini(&timer);
	loop_free(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mail_from_many_threads),
		cmocka_unit_test(test_mail_left_over),
		cmocka_unit_test(test_hooks_run_at_the_end_of_the_turn),
		cmocka_unit_test(test_unhooked_hooks_do_not_run),
		cmocka_unit_test(test_last_hooks_run_behind_all_others),
		cmocka_unit_test(test_mail_that_follows_from_other_mail), cmocka_unit_test(test_mail_to_itself),
		cmocka_unit_test(test_a_turn_ages),
		cmocka_unit_test(test_a_pause_comes),
		cmocka_unit_test(test_mail_to_itself_without_end),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_timers_keep_their_order),
		cmocka_unit_test(test_a_timer_set_by_a_timer_takes_a_turn),
		cmocka_unit_test(test_waiting_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
