/* A file of the journal: made, appended to, synced, cut. */
#include "io/journal_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define SEGMENT_MODE 0640
#define SEGMENT_SUFFIX ".jsonl"

struct journal_disk journal_disk = { write, fdatasync, ftruncate };

int
journal_date(struct wall_time t)
{
	struct civil_time c = clock_civil(t);

	return c.year * 10000 + c.month * 100 + c.day;
}

/* Open the file NAME anew, or an empty one that a failed start left. */
static int
segment_create_fd(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, SEGMENT_MODE);
	struct stat st;

	if (fd >= 0 || errno != EEXIST)
		return fd;
	fd = openat(dirfd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != 0)) {
		close(fd);
		errno = EEXIST;
		return -1;
	}
	return fd;
}

bool
journal_segment_create(struct journal_segment *s, int dirfd, uint64_t first_seq, int date)
{
	*s = (struct journal_segment){ .fd = -1, .first_seq = first_seq, .date = date };
	snprintf(s->name, sizeof(s->name), "%020" PRIu64 "-%08u" SEGMENT_SUFFIX, first_seq, (unsigned)date % 100000000);
	s->fd = segment_create_fd(dirfd, s->name);
	if (s->fd < 0)
		return false;
	if (fchmod(s->fd, SEGMENT_MODE) != 0 || fsync(dirfd) != 0) {
		int error = errno;

		journal_segment_close(s);
		errno = error;
		return false;
	}
	return true;
}

bool
journal_segment_open(struct journal_segment *s, int dirfd, const char *name, int64_t bytes)
{
	*s = (struct journal_segment){ .fd = -1, .bytes = bytes, .synced = bytes };
	check(journal_name_parse(name, &s->first_seq, &s->date));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->fd = openat(dirfd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	return s->fd >= 0;
}

void
journal_segment_close(struct journal_segment *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool
journal_segment_append(struct journal_segment *s, struct str bytes, bool *cut)
{
	struct str rest = bytes;

	*cut = true;
	while (rest.n > 0) {
		ssize_t n = journal_disk.write(s->fd, rest.p, rest.n);
		int error = n == 0 ? EIO : errno;

		if (n < 0 && error == EINTR)
			continue;
		if (n <= 0) {
			*cut = journal_disk.truncate(s->fd, (off_t)s->bytes) == 0;
			errno = error;
			return false;
		}
		rest = str_sub(rest, (size_t)n, rest.n);
	}
	s->bytes += (int64_t)bytes.n;
	return true;
}

bool
journal_segment_sync(struct journal_segment *s)
{
	if (journal_disk.sync(s->fd) != 0)
		return false;
	s->synced = s->bytes;
	return true;
}

bool
journal_segment_roll_back(struct journal_segment *s, int dirfd)
{
	if (s->synced == 0) {
		if (unlinkat(dirfd, s->name, 0) != 0 && errno != ENOENT)
			return false;
		return fsync(dirfd) == 0;
	}
	/*
	 * Cutting drops the pages in doubt and dirties the one that the good bytes end in, so this sync speaks of
	 * what it writes, not of pages that an earlier failure marked clean.
	 */
	return journal_disk.truncate(s->fd, (off_t)s->synced) == 0 && journal_disk.sync(s->fd) == 0;
}

bool
journal_segment_is_ours(const struct journal_segment *s)
{
	struct stat st;

	if (fstat(s->fd, &st) != 0)
		return false;
	if (st.st_nlink > 0 && (int64_t)st.st_size == s->bytes)
		return true;
	errno = ESTALE;
	return false;
}

/* Whether the N bytes at P are decimal digits; their value. */
static bool
name_number(const char *p, size_t n, uint64_t *value)
{
	return str_to_u64((struct str){ p, n }, value);
}

bool
journal_name_parse(const char *name, uint64_t *first_seq, int *date)
{
	uint64_t day;

	if (strlen(name) != JOURNAL_NAME_BYTES - 1 || name[20] != '-' || strcmp(name + 29, SEGMENT_SUFFIX) != 0)
		return false;
	if (!name_number(name, 20, first_seq) || !name_number(name + 21, 8, &day))
		return false;
	*date = (int)day;
	return *first_seq > 0;
}

/* For qsort: names sort as bytes. */
static int
name_compare(const void *a, const void *b)
{
	return memcmp(a, b, JOURNAL_NAME_BYTES);
}

/* Add NAME where it is one of ours; false and STRAY where it only bears our suffix. */
static bool
names_add(struct journal_names *names, const char *name, struct buf *stray)
{
	size_t n = strlen(name), suffix = sizeof(SEGMENT_SUFFIX) - 1;
	uint64_t seq;
	int date;

	if (n < suffix || strcmp(name + n - suffix, SEGMENT_SUFFIX) != 0)
		return true;
	if (!journal_name_parse(name, &seq, &date)) {
		buf_add_z(stray, name);
		return false;
	}
	names->names = realloc(names->names, (names->count + 1) * sizeof(names->names[0]));
	check(names->names != NULL);
	memcpy(names->names[names->count++], name, JOURNAL_NAME_BYTES);
	return true;
}

bool
journal_names_read(struct journal_names *names, int dirfd, struct buf *stray)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	bool ok = true;

	*names = (struct journal_names){ NULL, 0 };
	if (dir == NULL)
		return false;
	for (errno = 0; ok && (e = readdir(dir)) != NULL; errno = 0)
		ok = names_add(names, e->d_name, stray);
	if (errno != 0)
		ok = false;
	if (names->count > 0)
		qsort(names->names, names->count, sizeof(names->names[0]), name_compare);
	fd = errno;
	closedir(dir);
	errno = fd;
	return ok;
}

void
journal_names_fini(struct journal_names *names)
{
	free(names->names);
	*names = (struct journal_names){ NULL, 0 };
}
