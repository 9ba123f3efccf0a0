/* How far a reading of journals is. */
#include "io/journal_progress.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/journal_segment.h"

#define PROGRESS_BYTES (16u << 20)	/* a few times a second */

void
journal_progress_add(struct journal_progress *progress, const char *name, size_t bytes)
{
	uint64_t percent;

	if (progress == NULL)
		return;
	progress->records++;
	progress->bytes += bytes;
	if (progress->bytes - progress->shown_bytes < PROGRESS_BYTES)
		return;
	progress->shown_bytes = progress->bytes;
	percent = progress->total ? progress->bytes * 100 / progress->total : 0;
	progress->show(name, progress->records, percent < 100 ? (unsigned)percent : 100);
}

void
journal_progress_measure(struct journal_progress *progress, struct str directory, uint64_t times)
{
	struct journal_names names = { NULL, 0 };
	struct buf path = BUF_EMPTY, stray = BUF_EMPTY;
	struct stat st;
	int fd;

	buf_add(&path, directory);
	buf_add_char(&path, '\0');
	fd = open(path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && journal_names_read(&names, fd, &stray))
		for (size_t i = 0; i < names.count; i++)
			if (fstatat(fd, names.names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
				progress->total += (uint64_t)st.st_size * times;
	if (fd >= 0)
		close(fd);
	journal_names_fini(&names);
	buf_fini(&path);
	buf_fini(&stray);
}
