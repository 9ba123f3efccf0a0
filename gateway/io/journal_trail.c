/* A journal's lines from its first file to its last. */
#include "io/journal_trail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Drop the files of days before FIRST_DATE. */
static void
trail_skip(struct journal_trail *trail, int first_date)
{
	uint64_t seq;
	int date;

	while (trail->at < trail->names.count && journal_name_parse(trail->names.names[trail->at], &seq, &date) && date < first_date)
		trail->at++;
}

/*
 * The files' names, in order and with none missing between them. A listing that runs while files are made may have a
 * later one without an earlier one, but all of a first listing's stand in a second, and so do all that were made before
 * them.
 */
static bool
trail_list(struct journal_names *names, int dirfd, struct buf *stray)
{
	struct journal_names first;
	bool ok = journal_names_read(&first, dirfd, stray) && journal_names_read(names, dirfd, stray);

	while (ok && names->count > 0 &&
	    (first.count == 0 || strcmp(names->names[names->count - 1], first.names[first.count - 1]) > 0))
		names->count--;
	journal_names_fini(&first);
	return ok;
}

bool
journal_trail_open(struct journal_trail *trail, const char *directory, int first_date, struct buf *error)
{
	struct buf stray = BUF_EMPTY;

	*trail = (struct journal_trail){ .dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .reader = { .fd = -1 } };
	if (trail->dirfd < 0) {
		buf_printf(error, "%s: %s", directory, strerror(errno));
		return false;
	}
	if (trail_list(&trail->names, trail->dirfd, &stray)) {
		trail_skip(trail, first_date);
		return true;
	}
	if (stray.n > 0)
		buf_printf(error, "%s: %.*s is no journal file", directory, STR_ARG(buf_str(&stray)));
	else
		buf_printf(error, "%s: %s", directory, strerror(errno));
	buf_fini(&stray);
	journal_trail_close(trail);
	return false;
}

void
journal_trail_close(struct journal_trail *trail)
{
	journal_reader_close(&trail->reader);
	journal_names_fini(&trail->names);
	if (trail->dirfd >= 0)
		close(trail->dirfd);
	trail->dirfd = -1;
}

/* Open the present file where its reading stopped; what was cut off meanwhile is not read. */
static bool
trail_open_file(struct journal_trail *trail)
{
	off_t size;

	if (!journal_reader_open(&trail->reader, trail->dirfd, trail->names.names[trail->at]))
		return false;
	size = lseek(trail->reader.fd, 0, SEEK_END);
	if (size < trail->offset)
		trail->offset = size;
	trail->reader.offset = trail->offset;
	trail->reader.line = trail->line;
	return lseek(trail->reader.fd, trail->offset, SEEK_SET) == trail->offset;
}

/* Go to the first of the files that is not before the one that was read; from its beginning where that one is gone. */
static void
trail_find_present(struct journal_trail *trail)
{
	trail->at = 0;
	while (trail->at < trail->names.count && strcmp(trail->names.names[trail->at], trail->present) < 0)
		trail->at++;
	if (trail->at < trail->names.count && strcmp(trail->names.names[trail->at], trail->present) == 0)
		return;
	journal_reader_close(&trail->reader);
	trail->offset = 0;
	trail->line = 0;
}

enum trail_look { TRAIL_NEW, TRAIL_SAME, TRAIL_ERROR };

/* Look which files there are by now. NEW: one behind the present, or in its place where that is gone. */
static enum trail_look
trail_look(struct journal_trail *trail)
{
	struct journal_names names = { NULL, 0 };
	struct buf stray = BUF_EMPTY;
	bool ok = trail_list(&names, trail->dirfd, &stray);

	buf_fini(&stray);
	if (!ok) {
		journal_names_fini(&names);
		errno = errno ? errno : EINVAL;		/* a stray file: journal_trail_open names it */
		return TRAIL_ERROR;
	}
	if (trail->at < trail->names.count)
		memcpy(trail->present, trail->names.names[trail->at], sizeof(trail->present));
	journal_names_fini(&trail->names);
	trail->names = names;
	trail_find_present(trail);
	if (trail->at >= names.count)
		return TRAIL_SAME;
	if (trail->at + 1 < names.count || strcmp(names.names[trail->at], trail->present) != 0)
		return TRAIL_NEW;
	return TRAIL_SAME;
}

/* Go to the next file. */
static void
trail_advance(struct journal_trail *trail)
{
	trail->at++;
	trail->offset = 0;
	trail->line = 0;
}

/* What a look says of having come to the end: false: go on reading; else GOT is the answer. */
static bool
trail_ends(struct journal_trail *trail, enum journal_read *got)
{
	enum trail_look look = trail_look(trail);

	*got = look == TRAIL_ERROR ? JOURNAL_READ_ERROR : JOURNAL_READ_END;
	return look != TRAIL_NEW;
}

/* Have the present file open; false where GOT is the answer: there is none, or it cannot be read. */
static bool
trail_ready(struct journal_trail *trail, enum journal_read *got)
{
	while (trail->reader.fd < 0) {
		if (trail->at >= trail->names.count && trail_ends(trail, got))
			return false;
		if (trail_open_file(trail))
			return true;
		*got = JOURNAL_READ_ERROR;
		if (errno != ENOENT || (trail_look(trail) == TRAIL_ERROR))
			return false;
		if (trail->at >= trail->names.count) {	/* it was deleted, and there is no later one */
			*got = JOURNAL_READ_END;
			return false;
		}
	}
	return true;
}

/* Note where LINE stands, which is given out. */
static void
trail_note(struct journal_trail *trail)
{
	trail->offset = trail->reader.offset;
	trail->line = trail->reader.line;
	snprintf(trail->name, sizeof(trail->name), "%s", trail->names.names[trail->at]);
}

enum journal_read
journal_trail_next(struct journal_trail *trail, struct str *text)
{
	enum journal_read got;

	while (trail_ready(trail, &got)) {
		/*
		 * Asked before the file is read to its end: nothing comes to a file once there is a later one, but
		 * something may have come between the last read and the look that finds it.
		 */
		bool later = trail->at + 1 < trail->names.count;

		got = journal_reader_next(&trail->reader, text);
		if (got == JOURNAL_READ_LINE || got == JOURNAL_READ_LONG)
			trail_note(trail);
		if (got != JOURNAL_READ_END && got != JOURNAL_READ_TAIL)
			return got;
		journal_reader_close(&trail->reader);	/* at its end, or before a line that is being written */
		if (later)
			trail_advance(trail);
		else if (trail_ends(trail, &got))
			return got;
	}
	return got;
}

void
journal_trail_seek(struct journal_trail *trail, uint64_t seq)
{
	uint64_t first;
	int date;

	journal_reader_close(&trail->reader);
	trail->at = 0;
	trail->offset = 0;
	trail->line = 0;
	while (trail->at + 1 < trail->names.count &&
	    journal_name_parse(trail->names.names[trail->at + 1], &first, &date) && first <= seq)
		trail->at++;
}

/* fdatasync FD, where its file system has such a thing, and see that the file did not become shorter than SIZE. */
static bool
trail_sync_fd(int fd, int64_t size)
{
	struct stat st;

	if (fdatasync(fd) != 0 && errno != EINVAL && errno != EROFS)
		return false;
	if (fstat(fd, &st) != 0)
		return false;
	errno = ESTALE;
	return st.st_size >= size;
}

bool
journal_trail_sync(const struct journal_trail *trail)
{
	int fd = openat(trail->dirfd, trail->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), error;
	bool present, ok;

	if (fd < 0)
		return errno == ENOENT;		/* an older file by now: it was synced before the later one was made */
	present = trail->at < trail->names.count && strcmp(trail->names.names[trail->at], trail->name) == 0;
	ok = trail_sync_fd(fd, present ? trail->offset : 0);
	error = errno;
	close(fd);
	errno = error;
	return ok;
}

bool
journal_trail_is_at(const struct journal_trail *trail, const char *directory)
{
	struct stat open_one, named;

	return fstat(trail->dirfd, &open_one) == 0 && stat(directory, &named) == 0 && open_one.st_dev == named.st_dev &&
	    open_one.st_ino == named.st_ino;
}
