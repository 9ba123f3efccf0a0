/*
 * What a journal does to its directory, taken down call by call: the C library's functions are defined here, so that the
 * program's own are the ones that the journal calls. For one test program only.
 */
#ifndef JOBGATE_TEST_DISK_RECORDER_H
#define JOBGATE_TEST_DISK_RECORDER_H

#include "journal_fixture.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#define OPS_MAX 20000
#define FILES_MAX 2000

enum op_kind { OP_CREATE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_RENAME, OP_UNLINK, OP_SYNC_DIRECTORY };

struct op {
	enum op_kind kind;
	int file;
	int64_t at;		/* offset of a write, size of a cut */
	struct buf bytes;
	char name[64], to[64];
};

/* What was recorded. */
static pthread_mutex_t recording = PTHREAD_MUTEX_INITIALIZER;
static bool on, parent_synced;
static struct stat home, parent;	/* the directory, and the one it is in */
static struct op ops[OPS_MAX];
static size_t op_count;
static ino_t inodes[FILES_MAX];		/* of each file, 0 where another has taken the number over */
static int file_count;
static int64_t clock_ahead;		/* seconds that the wall clock is shown ahead */

/* The file that FD is open on; -1 where it is none of ours. */
static int
file_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_dev != home.st_dev)
		return -1;
	for (int i = file_count; i-- > 0;)
		if (inodes[i] == st.st_ino)
			return i;
	return -1;
}

/* Take an op down. */
static struct op *
record(enum op_kind kind, int file)
{
	struct op *op = &ops[op_count++];

	assert_true(op_count < OPS_MAX);
	*op = (struct op){ .kind = kind, .file = file };
	return op;
}

/* A file has been made under NAME. */
static void
record_create(int fd, const char *name)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	for (int i = 0; i < file_count; i++)
		if (inodes[i] == st.st_ino)
			inodes[i] = 0;
	assert_true(file_count < FILES_MAX);
	inodes[file_count] = st.st_ino;
	snprintf(record(OP_CREATE, file_count++)->name, sizeof(ops[0].name), "%s", name);
}

/* Whether DIRFD is the directory that is recorded. */
static bool
is_home(int dirfd)
{
	struct stat st;

	return on && fstat(dirfd, &st) == 0 && st.st_ino == home.st_ino && st.st_dev == home.st_dev;
}

/* --- the C library's functions, seen by the journal instead of the library's --- */

int
openat(int dirfd, const char *name, int flags, ...)
{
	va_list more;
	bool ours = (flags & O_CREAT) && is_home(dirfd), there;
	mode_t mode = 0;
	int fd, file;

	if (flags & O_CREAT) {
		va_start(more, flags);
		mode = va_arg(more, mode_t);
		va_end(more);
	}
	if (!ours)
		return (int)syscall(SYS_openat, dirfd, name, flags, mode);
	pthread_mutex_lock(&recording);
	there = faccessat(dirfd, name, F_OK, 0) == 0;
	fd = (int)syscall(SYS_openat, dirfd, name, flags, mode);
	if (fd >= 0 && !there)
		record_create(fd, name);
	else if (fd >= 0 && (flags & O_TRUNC) && (file = file_of(fd)) >= 0)
		record(OP_TRUNCATE, file);
	pthread_mutex_unlock(&recording);
	return fd;
}

ssize_t
write(int fd, const void *bytes, size_t n)
{
	ssize_t wrote;
	int file = -1;
	off_t end = 0;

	if (!on)
		return syscall(SYS_write, fd, bytes, n);
	pthread_mutex_lock(&recording);
	file = file_of(fd);
	if (file >= 0)
		end = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
	wrote = syscall(SYS_write, fd, bytes, n);
	if (file >= 0 && wrote > 0) {
		struct op *op = record(OP_WRITE, file);

		op->at = end;
		buf_add(&op->bytes, (struct str){ bytes, (size_t)wrote });
	}
	pthread_mutex_unlock(&recording);
	return wrote;
}

/* Sync by NUMBER, and take it down once it is done: what was written meanwhile is not covered. */
static int
sync_by(long number, int fd)
{
	struct stat st;
	int result, file;

	if (!on)
		return (int)syscall(number, fd);
	pthread_mutex_lock(&recording);
	result = (int)syscall(number, fd);
	if (result == 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (st.st_ino == home.st_ino)
			record(OP_SYNC_DIRECTORY, -1);
	} else if (result == 0 && (file = file_of(fd)) >= 0) {
		record(OP_SYNC, file);
	}
	pthread_mutex_unlock(&recording);
	return result;
}

int
fdatasync(int fd)
{
	return sync_by(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && parent.st_ino != 0 && st.st_ino == parent.st_ino && st.st_dev == parent.st_dev)
		parent_synced = true;
	return sync_by(SYS_fsync, fd);
}

int
ftruncate(int fd, off_t size)
{
	int file, result;

	pthread_mutex_lock(&recording);
	result = (int)syscall(SYS_ftruncate, fd, size);
	if (on && result == 0 && (file = file_of(fd)) >= 0)
		record(OP_TRUNCATE, file)->at = size;
	pthread_mutex_unlock(&recording);
	return result;
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	int result;

	pthread_mutex_lock(&recording);
	result = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
	if (result == 0 && is_home(from_fd)) {
		struct op *op = record(OP_RENAME, -1);

		snprintf(op->name, sizeof(op->name), "%s", from);
		snprintf(op->to, sizeof(op->to), "%s", to);
	}
	pthread_mutex_unlock(&recording);
	return result;
}

int
unlinkat(int dirfd, const char *name, int flags)
{
	int result;

	pthread_mutex_lock(&recording);
	result = (int)syscall(SYS_unlinkat, dirfd, name, flags);
	if (result == 0 && is_home(dirfd))
		snprintf(record(OP_UNLINK, -1)->name, sizeof(ops[0].name), "%s", name);
	pthread_mutex_unlock(&recording);
	return result;
}

/* The names that a large-file build calls (libevent's flags make ours one). */
int openat64(int dirfd, const char *name, int flags, ...) __attribute__((alias("openat")));
int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int result = (int)syscall(SYS_clock_gettime, clock, ts);

	if (clock == CLOCK_REALTIME)
		ts->tv_sec += clock_ahead;
	return result;
}

#endif
