/* The log: lines through a bounded ring to one writer thread. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/jsonw.h"

/* Two seconds of a busy instance's lines; about 1 MB when every line is long. */
#define LOG_RING_LINES 4096
#define LOG_VALUE_BYTES_MAX 1024
/* A request's line has about so many bytes: memory is taken once. */
#define LOG_LINE_BYTES 768
/* Lines that go out in one write at most: a reader of the pipe sees them whole all the same. */
#define LOG_TOGETHER 64

struct log_ring {
	pthread_mutex_t lock;		/* held for a few instructions, never while writing */
	pthread_cond_t filled;
	struct buf lines[LOG_RING_LINES];
	size_t head, count;
	bool waiting;			/* the writer sleeps until it is told */
	bool stop;
};

static struct log_ring ring = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER };
static pthread_t writer;
static atomic_bool running;
static atomic_int wanted_level = LOG_INFO;
static atomic_uint_fast64_t dropped;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

/* Write a line whole, or give up: there is nobody to tell. */
static void
log_write_fd(struct str line)
{
	while (line.n > 0) {
		ssize_t n = write(STDERR_FILENO, line.p, line.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line = str_sub(line, (size_t)n, line.n);
	}
}

/* Take what lines there are out of the ring, LINES of them at most, and return how many; 0 when stopped and empty. */
static size_t
log_ring_take(struct buf *lines, size_t most)
{
	size_t got = 0;

	pthread_mutex_lock(&ring.lock);
	ring.waiting = true;
	while (ring.count == 0 && !ring.stop)
		pthread_cond_wait(&ring.filled, &ring.lock);
	ring.waiting = false;
	while (got < most && ring.count > 0) {
		lines[got++] = buf_take(&ring.lines[ring.head]);
		ring.head = (ring.head + 1) % LOG_RING_LINES;
		ring.count--;
	}
	pthread_mutex_unlock(&ring.lock);
	return got;
}

/* Put a line into the ring; false when it is full. */
static bool
log_ring_put(struct buf *line)
{
	bool room, wake = false;

	pthread_mutex_lock(&ring.lock);
	room = ring.count < LOG_RING_LINES;
	if (room) {
		ring.lines[(ring.head + ring.count) % LOG_RING_LINES] = *line;
		ring.count++;
		wake = ring.waiting;
		ring.waiting = false;
	}
	pthread_mutex_unlock(&ring.lock);
	if (wake)
		pthread_cond_signal(&ring.filled);
	return room;
}

/* Write COUNT lines in one call, and free them. */
static void
log_write_lines(struct buf *lines, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		buf_add(&lines[0], buf_str(&lines[i]));
		buf_fini(&lines[i]);
	}
	log_write_fd(buf_str(&lines[0]));
	buf_fini(&lines[0]);
}

/* The writer thread: writes together what has gathered meanwhile; says how many were dropped in between. */
static void *
log_writer(void *arg)
{
	uint64_t told = 0;
	struct buf lines[LOG_TOGETHER];
	size_t count;

	(void)arg;
	while ((count = log_ring_take(lines, LOG_TOGETHER)) > 0) {
		uint64_t now_dropped = atomic_load(&dropped);

		log_write_lines(lines, count);
		if (now_dropped != told) {
			int64_t lost = (int64_t)(now_dropped - told);

			told = now_dropped;
			log_line(LOG_WARN, "log lines dropped", log_i("count", lost));
		}
	}
	return NULL;
}

/* Build one line. */
static struct buf
log_format(enum log_level level, const char *event, const struct log_field *f)
{
	char time[CLOCK_RFC3339_BYTES];
	struct buf line = BUF_EMPTY;
	struct jsonw w = { &line, false };

	clock_format_rfc3339(clock_now_wall(), time);
	buf_room(&line, LOG_LINE_BYTES);
	jsonw_object(&w, NULL);
	jsonw_string(&w, "time", str_from(time));
	jsonw_string(&w, "level", str_from(level_names[level]));
	jsonw_string(&w, "event", str_from(event));
	for (; f->key; f++) {
		if (f->type == LOG_TYPE_INT)
			jsonw_int(&w, f->key, f->i);
		else if (f->type == LOG_TYPE_BOOL)
			jsonw_bool(&w, f->key, f->i != 0);
		else
			jsonw_string_max(&w, f->key, f->s, LOG_VALUE_BYTES_MAX);
	}
	jsonw_end_object(&w);
	buf_add_char(&line, '\n');
	return line;
}

void
log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	struct buf line;

	if (!log_wants(level))
		return;
	line = log_format(level, event, fields);
	if (!atomic_load(&running)) {
		log_write_fd(buf_str(&line));
		buf_fini(&line);
	} else if (!log_ring_put(&line)) {
		atomic_fetch_add(&dropped, 1);
		buf_fini(&line);
	}
}

void
log_set_level(enum log_level level)
{
	atomic_store(&wanted_level, (int)level);
}

bool
log_wants(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&wanted_level, memory_order_relaxed);
}

bool
log_level_from(struct str word, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (str_eq(word, str_from(level_names[i]))) {
			*level = (enum log_level)i;
			return true;
		}
	return false;
}

void
log_open(void)
{
	check(!atomic_load(&running));
	ring.stop = false;
	check(pthread_create(&writer, NULL, log_writer, NULL) == 0);
	pthread_setname_np(writer, "log");
	atomic_store(&running, true);
}

void
log_close(void)
{
	if (!atomic_exchange(&running, false))
		return;
	pthread_mutex_lock(&ring.lock);
	ring.stop = true;
	pthread_cond_signal(&ring.filled);
	pthread_mutex_unlock(&ring.lock);
	pthread_join(writer, NULL);
}

uint64_t
log_dropped(void)
{
	return atomic_load(&dropped);
}
