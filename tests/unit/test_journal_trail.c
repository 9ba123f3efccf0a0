/* io/journal_trail: a journal read from its first file to its last while somebody writes, rotates and deletes. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/journal_trail.h"

#define FILES_WRITTEN 2000
#define LINES_A_FILE 3

static char directory[256];
static struct journal_trail trail;

/* The path of the file that begins with seq FIRST. */
static const char *
path_of(unsigned first, char path[320])
{
	snprintf(path, 320, "%s/%020u-20261101.jsonl", directory, first);
	return path;
}

/* Append TEXT to that file. */
static void
append(unsigned first, const char *text)
{
	char path[320];
	int fd = open(path_of(first, path), O_WRONLY | O_CREAT | O_APPEND, 0640);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int
setup(void **state)
{
	const char *parent = getenv("TMPDIR");

	(void)state;
	snprintf(directory, sizeof(directory), "%s/jobgate-trail-XXXXXX", parent ? parent : P_tmpdir);
	assert_non_null(mkdtemp(directory));
	return 0;
}

static int
teardown(void **state)
{
	struct journal_names names;
	struct buf stray = BUF_EMPTY;
	int dirfd = open(directory, O_RDONLY | O_DIRECTORY);

	(void)state;
	journal_trail_close(&trail);
	journal_names_read(&names, dirfd, &stray);
	for (size_t i = 0; i < names.count; i++)
		unlinkat(dirfd, names.names[i], 0);
	journal_names_fini(&names);
	buf_fini(&stray);
	close(dirfd);
	return rmdir(directory);
}

static void
open_trail(void)
{
	struct buf error = BUF_EMPTY;

	assert_true(journal_trail_open(&trail, directory, 0, &error));
	buf_fini(&error);
}

/* The next line must be TEXT, the LINEth of its file. */
static void
expect(const char *text, uint64_t line)
{
	struct str got;

	assert_int_equal(journal_trail_next(&trail, &got), JOURNAL_READ_LINE);
	assert_int_equal(got.n, strlen(text));
	assert_memory_equal(got.p, text, got.n);
	assert_int_equal(trail.line, line);
}

/* There must be nothing more at present. */
static void
expect_end(void)
{
	struct str got;

	assert_int_equal(journal_trail_next(&trail, &got), JOURNAL_READ_END);
}

static void
test_a_line_is_read_when_it_is_whole(void **state)
{
	(void)state;
	open_trail();
	expect_end();
	append(1, "a\nb");
	expect("a", 1);
	expect_end();
	append(1, "b\nc\n");
	expect("bb", 2);
	append(4, "d\n");
	expect("c", 3);
	expect("d", 1);
	expect_end();
	assert_true(journal_trail_sync(&trail));
}

/* A gateway takes back what it could not write whole, or not sync: that was never acknowledged. */
static void
test_what_was_cut_since_is_not_synced(void **state)
{
	char path[320];

	(void)state;
	append(1, "a\nb\nc\n");
	open_trail();
	expect("a", 1);
	assert_int_equal(truncate(path_of(1, path), 2), 0);
	assert_true(journal_trail_sync(&trail));
	expect("b", 2);		/* it was read ahead */
	assert_false(journal_trail_sync(&trail));
	assert_int_equal(errno, ESTALE);
}

static void
test_deleted_files_are_passed_over(void **state)
{
	char path[320];

	(void)state;
	append(1, "a\n");
	append(2, "b\n");
	append(3, "c\n");
	open_trail();
	expect("a", 1);
	unlink(path_of(2, path));
	expect("c", 1);
	expect_end();
	assert_int_equal(unlink(path_of(3, path)), 0);
	expect_end();
	assert_true(journal_trail_sync(&trail));
	append(9, "d\n");
	expect("d", 1);
}

static void
test_all_files_deleted_before_the_first_read(void **state)
{
	char path[320];

	(void)state;
	append(1, "a\n");
	open_trail();
	unlink(path_of(1, path));
	expect_end();
}

static void
test_seek_goes_to_the_file_that_has_the_record(void **state)
{
	static const struct { uint64_t seq; const char *line; } cases[] = { { 0, "a" }, { 1, "a" }, { 2, "a" }, { 3, "c" }, { 4, "c" },
		{ 5, "e" }, { 99, "e" } };

	(void)state;
	append(1, "a\nb\n");
	append(3, "c\nd\n");
	append(5, "e\n");
	open_trail();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		journal_trail_seek(&trail, cases[i].seq);
		expect(cases[i].line, 1);
	}
}

static void
test_a_stray_file_is_told(void **state)
{
	char path[320];
	struct str got;

	(void)state;
	append(1, "a\n");
	open_trail();
	expect("a", 1);
	snprintf(path, sizeof(path), "%s/stray.jsonl", directory);
	close(open(path, O_WRONLY | O_CREAT, 0640));
	assert_int_equal(journal_trail_next(&trail, &got), JOURNAL_READ_ERROR);
	unlink(path);
	expect_end();
}

static void
test_a_directory_in_its_place_is_noticed(void **state)
{
	char old[300];

	(void)state;
	open_trail();
	assert_true(journal_trail_is_at(&trail, directory));
	snprintf(old, sizeof(old), "%s.old", directory);
	assert_int_equal(rename(directory, old), 0);
	assert_false(journal_trail_is_at(&trail, directory));
	assert_int_equal(mkdir(directory, 0750), 0);
	assert_false(journal_trail_is_at(&trail, directory));
	assert_int_equal(rmdir(old), 0);
}

static atomic_bool written;

/* Write files as a gateway does: nothing more to one once the next is there. */
static void *
write_files(void *arg)
{
	char line[32];

	(void)arg;
	for (unsigned seq = 1; seq <= FILES_WRITTEN * LINES_A_FILE; seq++) {
		snprintf(line, sizeof(line), "%u\n", seq);
		append(seq - (seq - 1) % LINES_A_FILE, line);
	}
	atomic_store(&written, true);
	return NULL;
}

/* The last lines of a file were lost where they came between the reader's end and its look for a later file. */
static void
test_nothing_is_lost_at_the_end_of_a_file(void **state)
{
	unsigned next = 1;
	pthread_t writer;
	struct str got;

	(void)state;
	open_trail();
	assert_int_equal(pthread_create(&writer, NULL, write_files, NULL), 0);
	while (next <= FILES_WRITTEN * LINES_A_FILE) {
		bool all = atomic_load(&written);
		uint64_t seq;

		if (journal_trail_next(&trail, &got) == JOURNAL_READ_LINE) {
			assert_true(str_to_u64(got, &seq));
			assert_int_equal(seq, next++);
		} else {
			assert_false(all);
		}
	}
	pthread_join(writer, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_line_is_read_when_it_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_was_cut_since_is_not_synced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleted_files_are_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_files_deleted_before_the_first_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seek_goes_to_the_file_that_has_the_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_stray_file_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_directory_in_its_place_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_lost_at_the_end_of_a_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
