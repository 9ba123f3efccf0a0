/* io/file: reading whole files and looking at them. */
#include "io/file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int
setup(void **state)
{
	(void)state;
	strcpy(folder, "test_file.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

/* A path in the test's folder, valid until the next call. */
static const char *
path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void
write_file(const char *name, const void *bytes, size_t n)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static int
teardown(void **state)
{
	static const char *const names[] = { "some", "empty", "open", "stamped", "next", "link" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	return rmdir(folder);
}

static void
test_reads_whole_files_up_to_the_bound(void **state)
{
	struct buf out = BUF_EMPTY, error = BUF_EMPTY;
	char bytes[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	write_file("some", bytes, sizeof(bytes));
	buf_add_z(&out, "before");
	assert_true(file_read(path_of("some"), sizeof(bytes), &out, &error));
	assert_int_equal(out.n, 6 + sizeof(bytes));
	assert_memory_equal(out.p + 6, bytes, sizeof(bytes));
	out.n = 6;
	assert_false(file_read(path_of("some"), sizeof(bytes) - 1, &out, &error));
	assert_int_equal(out.n, 6);
	assert_true(str_find(buf_str(&error), STR("some: is larger than 999 bytes")) < error.n);
	write_file("empty", "", 0);
	assert_true(file_read(path_of("empty"), 10, &out, &error));
	assert_int_equal(out.n, 6);
	buf_fini(&out);
	buf_fini(&error);
}

static void
test_says_why_a_file_cannot_be_read(void **state)
{
	static const struct { const char *path, *why; } rows[] = {
		{ "no/such/file", "no/such/file: No such file or directory" },
		{ ".", ".: Is a directory" },
		{ "/dev/zero", "/dev/zero: is larger than 100 bytes" },
		{ "", ": No such file or directory" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_EMPTY, error = BUF_EMPTY;

		assert_false(file_read(rows[i].path, 100, &out, &error));
		assert_int_equal(out.n, 0);
		assert_true(str_eq(buf_str(&error), str_from(rows[i].why)));
		buf_fini(&out);
		buf_fini(&error);
	}
}

static void
test_sees_permissions(void **state)
{
	unsigned mode = 0;

	(void)state;
	write_file("open", "x", 1);
	assert_false(file_is_open_to_others(path_of("open"), &mode));
	assert_int_equal(mode, 0600);
	assert_int_equal(chmod(path_of("open"), 0644), 0);
	assert_true(file_is_open_to_others(path_of("open"), &mode));
	assert_int_equal(mode, 0644);
	assert_int_equal(chmod(path_of("open"), 0640), 0);
	assert_true(file_is_open_to_others(path_of("open"), &mode));
	assert_int_equal(mode, 0640);
	assert_int_equal(chmod(path_of("open"), 0600), 0);
	assert_false(file_is_open_to_others(path_of("open"), &mode));
	assert_false(file_is_open_to_others(path_of("missing"), &mode));
}

static void
test_knows_whether_a_directory_can_be_used(void **state)
{
	struct buf error = BUF_EMPTY;

	(void)state;
	assert_true(file_directory_is_usable(folder, &error));
	assert_true(file_directory_is_usable(path_of("new"), &error));
	assert_true(file_directory_is_usable(path_of("new//"), &error));
	assert_true(file_directory_is_usable("new-in-the-working-directory", &error));
	assert_int_equal(error.n, 0);
	assert_false(file_directory_is_usable(path_of("no/parent"), &error));
	assert_true(str_find(buf_str(&error), STR("cannot be made")) < error.n);
	buf_clear(&error);
	write_file("some", "x", 1);
	assert_false(file_directory_is_usable(path_of("some"), &error));
	assert_true(str_find(buf_str(&error), STR("Not a directory")) < error.n);
	buf_clear(&error);
	if (geteuid() != 0) {	/* root may write everywhere */
		assert_false(file_directory_is_usable("/", &error));
		assert_true(str_find(buf_str(&error), STR("Permission denied")) < error.n);
	}
	assert_int_not_equal(access(path_of("new"), F_OK), 0);	/* looked at, not made */
	buf_fini(&error);
}

/* Another stamp after each way in which a file becomes another; the same while nothing happens. */
static void
test_stamps(void **state)
{
	struct file_stamp before, after;
	char from[128];

	(void)state;
	file_stamp(path_of("stamped"), &before);
	write_file("stamped", "one", 3);
	file_stamp(path_of("stamped"), &after);
	assert_false(file_stamp_equal(&before, &after));
	file_stamp(path_of("stamped"), &before);
	assert_true(file_stamp_equal(&before, &after));
	write_file("next", "two", 3);
	strcpy(from, path_of("next"));
	assert_int_equal(rename(from, path_of("stamped")), 0);
	file_stamp(path_of("stamped"), &after);
	assert_false(file_stamp_equal(&before, &after));
	assert_int_equal(symlink("stamped", path_of("link")), 0);
	file_stamp(path_of("link"), &before);
	assert_true(file_stamp_equal(&before, &after));
	unlink(path_of("stamped"));
	file_stamp(path_of("link"), &after);
	assert_false(file_stamp_equal(&before, &after));
	assert_true(file_stamp_equal(&after, &(struct file_stamp){ 0 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_whole_files_up_to_the_bound),
		cmocka_unit_test(test_says_why_a_file_cannot_be_read),
		cmocka_unit_test(test_sees_permissions),
		cmocka_unit_test(test_stamps),
		cmocka_unit_test(test_knows_whether_a_directory_can_be_used),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
