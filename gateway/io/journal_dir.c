/* The journal's directory: made, locked, named, and its checkpoint. */
#include "io/journal_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tls.h"

#define DIR_MODE 0750
#define FILE_MODE 0640
#define LOCK_NAME "lock"
#define ID_NAME "journal.id"
#define CHECKPOINT_NAME "journal.checkpoint"
#define SMALL_FILE_BYTES 512	/* all three are shorter */

/* The part of DIRECTORY that names the one it is in; empty where that is the working directory. */
static struct str
dir_parent(struct str directory)
{
	size_t slash = directory.n;

	while (slash > 0 && directory.p[slash - 1] == '/')
		slash--;
	while (slash > 0 && directory.p[slash - 1] != '/')
		slash--;
	return str_sub(directory, 0, slash);
}

/* Say that making the directory failed, naming the parent where that is what is missing. */
static void
dir_error(struct buf *error, struct str directory, const char *doing)
{
	int why = errno;
	struct str parent = dir_parent(directory);

	if (why == ENOENT && parent.n > 0)
		buf_printf(error, "audit directory %.*s: its parent %.*s does not exist", STR_ARG(directory),
		    STR_ARG(parent));
	else
		buf_printf(error, "audit directory %.*s: cannot %s: %s", STR_ARG(directory), doing, strerror(why));
}

/* Make the entry of a new directory durable in the one it is in: all that is synced in it would go with the power. */
static bool
dir_sync_parent(struct str directory)
{
	struct str parent = dir_parent(directory);
	struct buf path = BUF_EMPTY;
	bool ok;
	int fd, error;

	buf_add(&path, parent.n > 0 ? parent : STR("."));
	buf_add_char(&path, '\0');
	fd = open(path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok = fd >= 0 && fsync(fd) == 0;
	error = errno;
	if (fd >= 0)
		close(fd);
	buf_fini(&path);
	errno = error;
	return ok;
}

/* Make the directory with exactly our mode, whatever the umask. */
static bool
dir_make(const char *path)
{
	if (mkdir(path, DIR_MODE) != 0) {
		if (errno != EEXIST)
			return false;
		dir_sync_parent(str_from(path));	/* who made it may have died before; or is root, and we may not */
		return true;
	}
	return chmod(path, DIR_MODE) == 0 && dir_sync_parent(str_from(path));
}

int
journal_dir_open(struct str directory, struct buf *error)
{
	struct buf path = BUF_EMPTY;
	int fd = -1;

	buf_printf(&path, "%.*s", STR_ARG(directory));
	buf_add_char(&path, '\0');
	if (!dir_make(path.p))
		dir_error(error, directory, "make it");
	else if ((fd = open(path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		dir_error(error, directory, "open it");
	buf_fini(&path);
	return fd;
}

/* Read a small file into OUT, NUL behind it; its length or -1. */
static ssize_t
small_read(int dirfd, const char *name, char out[SMALL_FILE_BYTES])
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;
	int error;

	if (fd < 0)
		return -1;
	n = read(fd, out, SMALL_FILE_BYTES - 1);
	error = errno;
	close(fd);
	errno = error;
	if (n >= 0)
		out[n] = '\0';
	return n;
}

bool
journal_small_write(int dirfd, const char *name, struct str bytes)
{
	char temporary[NAME_MAX + 1];
	bool ok;
	int fd, error;

	if (snprintf(temporary, sizeof(temporary), "%s.new", name) >= (int)sizeof(temporary)) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0)
		return false;
	ok = fchmod(fd, FILE_MODE) == 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n && fsync(fd) == 0 &&
	    renameat(dirfd, temporary, dirfd, name) == 0 && fsync(dirfd) == 0;
	error = errno;
	close(fd);
	if (!ok)
		unlinkat(dirfd, temporary, 0);
	errno = error;
	return ok;
}

/* Say who holds the lock. */
static void
lock_error(struct buf *error, int dirfd, struct str directory)
{
	char pid[SMALL_FILE_BYTES];
	ssize_t n = small_read(dirfd, LOCK_NAME, pid);
	uint64_t holder;

	if (n > 0 && str_to_u64(str_trim((struct str){ pid, (size_t)n - (pid[n - 1] == '\n') }), &holder))
		buf_printf(error, "audit directory %.*s is locked by process %" PRIu64, STR_ARG(directory), holder);
	else
		buf_printf(error, "audit directory %.*s is locked by another process", STR_ARG(directory));
}

int
journal_dir_lock(int dirfd, struct str directory, struct buf *error)
{
	int fd = openat(dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	char pid[32];
	int n;

	if (fd < 0) {
		buf_printf(error, "audit directory %.*s: cannot open its lock: %s", STR_ARG(directory),
		    strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			lock_error(error, dirfd, directory);
		else
			buf_printf(error, "audit directory %.*s: cannot lock it: %s", STR_ARG(directory),
			    strerror(errno));
		close(fd);
		return -1;
	}
	n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
		buf_printf(error, "audit directory %.*s is not writable: %s", STR_ARG(directory), strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

void
journal_uuid_make(char uuid[JOURNAL_UUID_BYTES + 1])
{
	uint8_t b[16];
	size_t at = 0;

	random_bytes(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);	/* version 4, variant 1 (RFC 9562 5.4) */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			uuid[at++] = '-';
		str_hex_encode(b + i, 1, uuid + at);
		at += 2;
	}
	uuid[at] = '\0';
}

enum journal_found
journal_id_read(int dirfd, char uuid[JOURNAL_UUID_BYTES + 1])
{
	char text[SMALL_FILE_BYTES];
	ssize_t n = small_read(dirfd, ID_NAME, text);

	uuid[0] = '\0';
	if (n < 0)
		return errno == ENOENT ? JOURNAL_MISSING : JOURNAL_DAMAGED;
	errno = 0;
	if (n != JOURNAL_UUID_BYTES + 1 || text[n - 1] != '\n' ||
	    !journal_uuid_valid((struct str){ text, (size_t)n - 1 }))
		return JOURNAL_DAMAGED;
	memcpy(uuid, text, JOURNAL_UUID_BYTES);
	uuid[JOURNAL_UUID_BYTES] = '\0';
	return JOURNAL_FOUND;
}

bool
journal_id_write(int dirfd, const char *uuid)
{
	char text[JOURNAL_UUID_BYTES + 2];
	int n = snprintf(text, sizeof(text), "%s\n", uuid);

	return journal_small_write(dirfd, ID_NAME, (struct str){ text, (size_t)n });
}

/* Build the one form that a checkpoint has: UUID, segment, head, and the hash of these. */
static void
checkpoint_format(struct buf *out, struct str uuid, const struct journal_checkpoint *c)
{
	uint8_t digest[32];
	char hex[64];

	buf_printf(out, "{\"v\":1,\"journal\":\"%.*s\",\"segment\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"head\":\"%.*s\"",
	    STR_ARG(uuid), c->segment, c->head.seq, JOURNAL_HASH_HEX, c->head.hash);
	digest_sha256(buf_str(out), digest);
	str_hex_encode(digest, sizeof(digest), hex);
	buf_printf(out, ",\"hash\":\"%.64s\"}\n", hex);
}

/* Read the digits behind KEY. */
static bool
checkpoint_number(struct str text, struct str key, uint64_t *value)
{
	struct str rest = str_sub(text, str_find(text, key) + key.n, text.n);

	return str_to_u64(str_sub(rest, 0, str_find_char(rest, ',')), value);
}

enum journal_found
journal_checkpoint_read(int dirfd, struct str uuid, struct journal_checkpoint *c)
{
	char bytes[SMALL_FILE_BYTES];
	ssize_t n = small_read(dirfd, CHECKPOINT_NAME, bytes);
	struct str text = { bytes, n > 0 ? (size_t)n : 0 }, head, key = STR("\"head\":\"");
	struct buf same = BUF_EMPTY;
	bool ok;

	if (n < 0)
		return errno == ENOENT ? JOURNAL_MISSING : JOURNAL_DAMAGED;
	head = str_sub(text, str_find(text, key) + key.n, text.n);
	if (head.n < JOURNAL_HASH_HEX || !checkpoint_number(text, STR("\"segment\":"), &c->segment) ||
	    !checkpoint_number(text, STR("\"seq\":"), &c->head.seq))
		return JOURNAL_DAMAGED;
	memcpy(c->head.hash, head.p, JOURNAL_HASH_HEX);
	if (uuid.n == 0) {
		key = STR("\"journal\":\"");
		uuid = str_sub(text, key.n + str_find(text, key), key.n + str_find(text, key) + JOURNAL_UUID_BYTES);
	}
	checkpoint_format(&same, uuid, c);	/* exactly what we would have written, or it is not ours */
	ok = str_eq(buf_str(&same), text);
	buf_fini(&same);
	return ok ? JOURNAL_FOUND : JOURNAL_DAMAGED;
}

bool
journal_checkpoint_write(int dirfd, struct str uuid, const struct journal_checkpoint *c)
{
	struct buf text = BUF_EMPTY;
	bool ok;

	checkpoint_format(&text, uuid, c);
	ok = journal_small_write(dirfd, CHECKPOINT_NAME, buf_str(&text));
	buf_fini(&text);
	return ok;
}
