/* Files read whole and looked at. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One read of the usual configuration. */
#define FILE_CHUNK_BYTES 65536

/* "PATH: reason" from errno. */
static bool
file_fail(const char *path, struct buf *error)
{
	buf_printf(error, "%s: %s", path, strerror(errno));
	return false;
}

/* Append what FD gives until its end or more than BOUND bytes; false with errno set. */
static bool
file_read_all(int fd, size_t bound, struct buf *out)
{
	size_t start = out->n;
	ssize_t n;

	do {
		n = read(fd, buf_room(out, FILE_CHUNK_BYTES), FILE_CHUNK_BYTES);
		if (n > 0)
			out->n += (size_t)n;
	} while ((n > 0 && out->n - start <= bound) || (n < 0 && errno == EINTR));
	return n >= 0;
}

bool
file_read(const char *path, size_t bound, struct buf *out, struct buf *error)
{
	size_t start = out->n;
	bool ok;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return file_fail(path, error);
	ok = file_read_all(fd, bound, out);
	if (!ok)
		file_fail(path, error);
	close(fd);
	if (ok && out->n - start > bound) {
		buf_printf(error, "%s: is larger than %zu bytes", path, bound);
		ok = false;
	}
	if (!ok && out->n > start) {	/* half a secret is one too */
		explicit_bzero(out->p + start, out->n - start);
		out->n = start;
	}
	return ok;
}

bool
file_is_open_to_others(const char *path, unsigned *mode)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return false;
	*mode = st.st_mode & 07777;
	return (st.st_mode & (S_IRGRP | S_IROTH)) != 0;
}

/* A time in nanoseconds. */
static int64_t
file_ns(struct timespec t)
{
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void
file_stamp(const char *path, struct file_stamp *out)
{
	struct stat st;

	*out = (struct file_stamp){ 0 };
	if (stat(path, &st) != 0)
		return;
	*out = (struct file_stamp){ st.st_dev, st.st_ino, (uint64_t)st.st_size, file_ns(st.st_mtim), file_ns(st.st_ctim) };
}

bool
file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified_ns == b->modified_ns
	    && a->changed_ns == b->changed_ns;
}

/* Whether directory PATH exists and files can be made in it; errno says why not. */
static bool
directory_is_writable(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return false;
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return false;
	}
	return faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

/* The folder that PATH would be made in, as a copy to free. */
static char *
directory_parent(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n ? strndup(path, n) : strdup(".");
}

bool
file_directory_is_usable(const char *path, struct buf *error)
{
	char *parent;
	bool ok;

	if (directory_is_writable(path))
		return true;
	if (errno != ENOENT)
		return file_fail(path, error);
	parent = directory_parent(path);
	ok = parent && directory_is_writable(parent);
	if (!ok)
		buf_printf(error, "%s: cannot be made: %s: %s", path, parent ? parent : path, strerror(errno));
	free(parent);
	return ok;
}
