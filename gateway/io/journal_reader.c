/* A file of the journal, read line by line. */
#include "io/journal_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define READER_BYTES (256 * 1024)	/* a read call per some hundred records */
#define READER_LINE_MAX 65536		/* four times the longest record that is ever made */

bool
journal_reader_open(struct journal_reader *r, int dirfd, const char *name)
{
	*r = (struct journal_reader){ .fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) };
	return r->fd >= 0;
}

void
journal_reader_close(struct journal_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	buf_fini(&r->buf);
}

/* Read more of the file; false on an error. */
static bool
reader_fill(struct journal_reader *r)
{
	ssize_t n;

	buf_drop(&r->buf, r->at);
	r->at = 0;
	do
		n = read(r->fd, buf_room(&r->buf, READER_BYTES), READER_BYTES);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		r->buf.n += (size_t)n;
	r->ended = n == 0;
	return n >= 0;
}

/* Give out N bytes and pass SKIP more. */
static void
reader_give(struct journal_reader *r, size_t n, size_t skip, struct str *text)
{
	*text = str_sub(buf_str(&r->buf), r->at, r->at + n);
	r->start = r->offset;
	r->at += n + skip;
	r->offset += (int64_t)(n + skip);
	r->line++;
}

enum journal_read
journal_reader_next(struct journal_reader *r, struct str *text)
{
	for (size_t seen = 0;;) {
		struct str rest = str_sub(buf_str(&r->buf), r->at, r->buf.n);
		const char *end = rest.n > seen ? memchr(rest.p + seen, '\n', rest.n - seen) : NULL;

		if (end && (size_t)(end - rest.p) <= READER_LINE_MAX) {
			reader_give(r, (size_t)(end - rest.p), 1, text);
			return JOURNAL_READ_LINE;
		}
		if (end || rest.n > READER_LINE_MAX) {
			reader_give(r, READER_LINE_MAX, 0, text);
			return JOURNAL_READ_LONG;
		}
		if (r->ended && rest.n == 0)
			return JOURNAL_READ_END;
		if (r->ended) {
			reader_give(r, rest.n, 0, text);
			return JOURNAL_READ_TAIL;
		}
		seen = rest.n;
		if (!reader_fill(r))
			return JOURNAL_READ_ERROR;
	}
}

bool
journal_reader_seek(struct journal_reader *r, int64_t offset, uint64_t line)
{
	if (lseek(r->fd, (off_t)offset, SEEK_SET) != (off_t)offset)
		return false;
	buf_clear(&r->buf);
	r->at = 0;
	r->ended = false;
	r->offset = r->start = offset;
	r->line = line;
	return true;
}
