/* The file that says how far a journal is in the database. */
#include "collect/taken.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/check.h"
#include "io/journal_dir.h"

/* The folder of PATH. */
static int
taken_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder;
	int fd;

	if (slash == NULL)
		folder = strdup(".");
	else
		folder = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	check(folder != NULL);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(folder);
	return fd;
}

bool
taken_write(const char *path, int dirfd, const char *uuid, uint64_t seq)
{
	const char *slash = path ? strrchr(path, '/') : NULL, *name = slash ? slash + 1 : path ? path : TAKEN_NAME;
	int folder = path ? taken_folder(path) : dirfd, error;
	char text[128];
	int n = snprintf(text, sizeof(text), "{\"journal\":\"%s\",\"seq\":%" PRIu64 "}", uuid, seq);
	bool ok;

	if (folder < 0)
		return false;
	/* Another collector of the same journal writes the same file by the same way. */
	ok = flock(folder, LOCK_EX) == 0 && journal_small_write(folder, name, (struct str){ text, (size_t)n });
	error = errno;
	flock(folder, LOCK_UN);
	if (path)
		close(folder);
	errno = error;
	return ok;
}
