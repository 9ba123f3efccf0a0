/* A journal's lines from its first file to its last. */
#include "io/journal_trail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

bool
journal_trail_open(struct journal_trail *trail, const char *directory, int first_date, struct buf *error)
{
	struct buf stray = BUF_EMPTY;

	*trail = (struct journal_trail){ .dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .reader = { .fd = -1 } };
	if (trail->dirfd < 0) {
		buf_printf(error, "%s: %s", directory, strerror(errno));
		return false;
	}
	if (journal_names_read(&trail->names, trail->dirfd, &stray)) {
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

/* Look for files that have come; true where there is one behind the present. */
static bool
trail_find_next(struct journal_trail *trail)
{
	char present[JOURNAL_NAME_BYTES] = "";
	struct journal_names names = { NULL, 0 };
	struct buf stray = BUF_EMPTY;
	size_t at = 0;

	if (trail->at < trail->names.count)
		memcpy(present, trail->names.names[trail->at], sizeof(present));
	if (trail->at + 1 >= trail->names.count && journal_names_read(&names, trail->dirfd, &stray)) {
		journal_names_fini(&trail->names);
		trail->names = names;
		while (at < names.count && strcmp(names.names[at], present) < 0)	/* it may be gone */
			at++;
		trail->at = at;
		if (at < names.count && strcmp(names.names[at], present) != 0) {
			trail->offset = 0;
			trail->line = 0;
		}
	}
	buf_fini(&stray);
	return trail->at + 1 < trail->names.count;
}

/* Go to the next file. */
static void
trail_advance(struct journal_trail *trail)
{
	trail->at++;
	trail->offset = 0;
	trail->line = 0;
}

enum journal_read
journal_trail_next(struct journal_trail *trail, struct str *text)
{
	for (;;) {
		enum journal_read got;

		if (trail->at >= trail->names.count && !trail_find_next(trail) && trail->at >= trail->names.count)
			return JOURNAL_READ_END;
		if (trail->reader.fd < 0 && !trail_open_file(trail))
			return JOURNAL_READ_ERROR;
		got = journal_reader_next(&trail->reader, text);
		if (got == JOURNAL_READ_LINE || got == JOURNAL_READ_LONG) {
			trail->offset = trail->reader.offset;
			trail->line = trail->reader.line;
			snprintf(trail->name, sizeof(trail->name), "%s", trail->names.names[trail->at]);
			return got;
		}
		if (got == JOURNAL_READ_ERROR)
			return got;
		journal_reader_close(&trail->reader);	/* at its end, or before a line that is being written */
		if (!trail_find_next(trail))
			return JOURNAL_READ_END;
		trail_advance(trail);
	}
}
