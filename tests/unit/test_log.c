/* The log: lines of several threads come whole and in each one's order, none is waited for, and what is lost is counted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

#define SPEAKERS 4
#define LINES 5000
/* More than the ring holds, with what fits into a pipe. */
#define FLOOD_LINES 20000
#define PIPE_WAIT_MS 10000

/* Standard error, turned into a pipe that the test reads. */
struct pipe_end {
	int fd, saved;
};

static int
setup(void **state)
{
	static struct pipe_end end;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	end.saved = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	end.fd = fds[0];
	*state = &end;
	return 0;
}

static int
teardown(void **state)
{
	struct pipe_end *end = *state;

	dup2(end->saved, STDERR_FILENO);
	close(end->saved);
	close(end->fd);
	return 0;
}

/* Say LINES lines that bear the speaker's number and their own. */
static void *
speak(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_line(LOG_INFO, "spoken", log_i("speaker", *(int *)arg), log_i("line", i));
	return NULL;
}

struct reader {
	struct buf got;
	int fd;
};

/* Read all that comes until nobody writes any more. */
static void *
read_all(void *arg)
{
	struct reader *reader = arg;
	struct pollfd p = { .fd = reader->fd, .events = POLLIN };
	char bytes[65536];
	ssize_t n;

	while (poll(&p, 1, PIPE_WAIT_MS) > 0 && (n = read(p.fd, bytes, sizeof(bytes))) > 0)
		buf_add(&reader->got, (struct str){ bytes, (size_t)n });
	return NULL;
}

/* The number behind `"KEY":` in a line; -1 where there is none. */
static long
number_of(struct str line, const char *key)
{
	const char *at = memmem(line.p, line.n, key, strlen(key));

	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* Nothing more will be written: let the reader come to the end. */
static void
finish_reading(struct pipe_end *end, pthread_t reader)
{
	dup2(end->saved, STDERR_FILENO);
	pthread_join(reader, NULL);
}

static void
test_whole_and_in_order(void **state)
{
	struct pipe_end *end = *state;
	struct reader reader = { BUF_EMPTY, end->fd };
	int numbers[SPEAKERS], count = 0;
	long next[SPEAKERS] = { 0 };
	pthread_t speakers[SPEAKERS], thread;
	struct str rest, line;

	pthread_create(&thread, NULL, read_all, &reader);
	log_open();
	for (int i = 0; i < SPEAKERS; i++) {
		numbers[i] = i;
		pthread_create(&speakers[i], NULL, speak, &numbers[i]);
	}
	for (int i = 0; i < SPEAKERS; i++)
		pthread_join(speakers[i], NULL);
	log_close();
	finish_reading(end, thread);
	rest = buf_str(&reader.got);
	while (str_next(&rest, '\n', &line) && line.n > 0) {
		long speaker = number_of(line, "\"speaker\":");

		assert_true(str_starts(line, STR("{\"time\":\"")) && line.p[line.n - 1] == '}');
		assert_in_range(speaker, 0, SPEAKERS - 1);
		assert_int_equal(number_of(line, "\"line\":"), next[speaker]++);
		count++;
	}
	assert_int_equal(count, SPEAKERS * LINES);
	buf_fini(&reader.got);
}

/* A line needs nobody to ask for it. */
static void
test_comes_by_itself(void **state)
{
	struct pipe_end *end = *state;
	struct pollfd p = { .fd = end->fd, .events = POLLIN };
	char bytes[4096];

	log_open();
	for (int i = 0; i < 3; i++) {
		ssize_t n;

		log_line(LOG_INFO, "alone");
		assert_int_equal(poll(&p, 1, PIPE_WAIT_MS), 1);
		n = read(end->fd, bytes, sizeof(bytes));
		assert_true(n > 0 && bytes[n - 1] == '\n');
	}
	log_close();
}

/* Nobody reads: no line is waited for, and what found no room is counted, then told. */
static void
test_full(void **state)
{
	struct pipe_end *end = *state;
	struct reader reader = { BUF_EMPTY, end->fd };
	uint64_t before = log_dropped(), lost;
	struct str rest, line;
	long told = 0, lines = 0;
	char long_value[1024];
	pthread_t thread;

	memset(long_value, 'x', sizeof(long_value));
	log_open();
	for (int i = 0; i < FLOOD_LINES; i++)
		log_line(LOG_INFO, "flood", log_s("value", ((struct str){ long_value, sizeof(long_value) })));
	lost = log_dropped() - before;
	assert_in_range(lost, 1, FLOOD_LINES - 1);
	pthread_create(&thread, NULL, read_all, &reader);
	log_close();
	finish_reading(end, thread);
	rest = buf_str(&reader.got);
	while (str_next(&rest, '\n', &line) && line.n > 0) {
		bool dropped = memmem(line.p, line.n, "log lines dropped", 17) != NULL;

		told += dropped ? number_of(line, "\"count\":") : 0;
		lines += !dropped;
	}
	assert_int_equal(lines, FLOOD_LINES - (long)lost);
	assert_int_equal(told, lost);
	buf_fini(&reader.got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole_and_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_comes_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
