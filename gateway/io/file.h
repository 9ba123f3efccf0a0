/*
 * Files as they are asked for at start, at a reload and by `jobgate check`: read whole, looked at, never written.
 *
 * Blocks, so it is for the main thread and the helper, not for a loop that serves.
 */
#ifndef JOBGATE_IO_FILE_H
#define JOBGATE_IO_FILE_H

#include "base/buf.h"

/*
 * Append all of PATH to OUT. False where it cannot be read or has more than BOUND bytes, with a sentence in ERROR
 * ("PATH: No such file or directory"; no newline); OUT is then as it was.
 */
bool file_read(const char *path, size_t bound, struct buf *out, struct buf *error);

/* Whether others than its owner may read PATH; *MODE its permission bits. False where there is no such file. */
bool file_is_open_to_others(const char *path, unsigned *mode);

/* What tells that a file is another, or was written, since the last look; all zero where there is none. Links are followed. */
struct file_stamp {
	uint64_t device, inode, size;
	int64_t modified_ns, changed_ns;	/* content, and content or owner and mode */
};
void file_stamp(const char *path, struct file_stamp *out);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

/*
 * Whether files can be made in directory PATH by this process, or PATH itself where only it is missing. Nothing is
 * made. False with a sentence in ERROR.
 */
bool file_directory_is_usable(const char *path, struct buf *error);

#endif
