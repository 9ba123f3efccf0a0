/* Sockets of which a turn takes a few: all of a crowd are heard, in turns of a bounded size, whoever goes on talking. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/loop.h"
#include "io/loop_sockets.h"

#define CROWD 300
#define TURN_MAX 64

struct crowd;

struct talker {
	struct crowd *crowd;
	int fds[2];			/* the watched end, and the other one */
	unsigned watched, told, what;
};

/* Everybody has said a byte, which nobody reads. */
struct crowd {
	struct loop *loop;
	struct loop_sockets *sockets;
	struct loop_hook turn;
	struct talker talkers[CROWD];
	size_t heard, heard_in_turn, most_in_turn, turns, stop_after;
};

static void
on_turn_end(void *arg)
{
	struct crowd *crowd = arg;

	crowd->most_in_turn = crowd->heard_in_turn > crowd->most_in_turn ? crowd->heard_in_turn : crowd->most_in_turn;
	crowd->heard_in_turn = 0;
	crowd->turns++;
	if (crowd->heard >= crowd->stop_after)
		loop_stop(crowd->loop);
}

static void
on_ready(void *socket, unsigned what)
{
	struct talker *talker = socket;
	struct crowd *crowd = talker->crowd;

	talker->told++;
	talker->what = what;
	crowd->heard++;
	crowd->heard_in_turn++;
	loop_at_turn_end(crowd->loop, &crowd->turn);
}

/* Watch TALKER for WHAT. */
static void
watch(struct talker *talker, unsigned what)
{
	loop_sockets_watch(talker->crowd->sockets, talker->fds[0], talker->watched, what, talker);
	talker->watched = what;
}

static struct crowd *
crowd_new(void)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));

	assert_non_null(crowd);
	crowd->loop = loop_new();
	crowd->sockets = loop_sockets_new(crowd->loop, on_ready);
	crowd->turn = (struct loop_hook){ .fn = on_turn_end, .arg = crowd };
	for (size_t i = 0; i < CROWD; i++) {
		struct talker *talker = &crowd->talkers[i];

		talker->crowd = crowd;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, talker->fds), 0);
		assert_int_equal(write(talker->fds[1], "x", 1), 1);
		watch(talker, LOOP_SOCKET_READ);
	}
	return crowd;
}

static void
crowd_free(struct crowd *crowd)
{
	for (size_t i = 0; i < CROWD; i++) {
		watch(&crowd->talkers[i], 0);
		close(crowd->talkers[i].fds[0]);
		close(crowd->talkers[i].fds[1]);
	}
	loop_sockets_free(&crowd->sockets);
	loop_free(&crowd->loop);
	free(crowd);
}

/* Run until N were told of in all. */
static void
run(struct crowd *crowd, size_t n)
{
	crowd->stop_after = n;
	loop_run(crowd->loop);
}

/* Who has been heard stands behind all others: nobody is heard twice before everybody was. */
static void
test_a_crowd_takes_turns(void **state)
{
	struct crowd *crowd = crowd_new();

	(void)state;
	run(crowd, CROWD);
	assert_int_equal(crowd->most_in_turn, TURN_MAX);
	assert_int_equal(crowd->turns, (CROWD + TURN_MAX - 1) / TURN_MAX);
	for (size_t i = 0; i < CROWD; i++)
		assert_in_range(crowd->talkers[i].told, 1, 2);
	assert_true(loop_sockets_had_many(crowd->sockets));
	assert_false(loop_sockets_had_many(crowd->sockets));
	crowd_free(crowd);
}

/* What is watched for changes; an end is told as whatever was waited for, and of what is not watched nothing is told. */
static void
test_what_is_watched(void **state)
{
	struct crowd *crowd = crowd_new();

	(void)state;
	for (size_t i = 1; i < CROWD; i++)
		watch(&crowd->talkers[i], 0);
	run(crowd, 1);
	assert_int_equal(crowd->talkers[0].what, LOOP_SOCKET_READ);
	watch(&crowd->talkers[0], LOOP_SOCKET_WRITE);
	run(crowd, 2);
	assert_int_equal(crowd->talkers[0].what, LOOP_SOCKET_WRITE);
	watch(&crowd->talkers[0], 0);
	watch(&crowd->talkers[1], LOOP_SOCKET_READ);
	shutdown(crowd->talkers[1].fds[1], SHUT_RDWR);
	run(crowd, 3);
	assert_true(crowd->talkers[1].what & LOOP_SOCKET_READ);
	assert_int_equal(crowd->talkers[0].told, 2);
	assert_false(loop_sockets_had_many(crowd->sockets));
	crowd_free(crowd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_crowd_takes_turns),
		cmocka_unit_test(test_what_is_watched),
	};

	return cmocka_run_group_tests_name("loop_sockets", tests, NULL, NULL);
}
