/* The log: lines through a bounded ring to one writer thread. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/jsonw.h"

/* A second of a busy instance's lines. */
#define LOG_BYTES_MAX (4u << 20)
/* Memory that a crowd has needed is given back above this. */
#define LOG_KEEP_BYTES (256u << 10)
#define LOG_VALUE_BYTES_MAX 1024
/* A request's line has about so many bytes: memory is taken once. */
#define LOG_LINE_BYTES 768
/* Lines gather so long before they go out in one write: nobody reads faster, and waking the writer for each costs more than the line. */
#define LOG_GATHER_NS (10 * 1000 * 1000)

enum log_writer_state { LOG_WRITING, LOG_ASLEEP, LOG_GATHERING };

struct log_ring {
	pthread_mutex_t lock;		/* held for a few instructions and the copy of a line, never while writing */
	pthread_cond_t changed;
	struct buf lines;		/* that wait, one after another */
	enum log_writer_state state;
	bool stop;
};

static struct log_ring ring = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
static pthread_t writer;
static atomic_bool running;
static atomic_int wanted_level = LOG_INFO;
static atomic_uint_fast64_t dropped;

static const struct str level_names[] = { STR_INIT("error"), STR_INIT("warn"), STR_INIT("info"), STR_INIT("debug") };

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

/* Sleep until there is a line, then until some have gathered; the lock is held. */
static void
log_ring_wait(void)
{
	struct timespec until;

	ring.state = LOG_ASLEEP;
	while (ring.lines.n == 0 && !ring.stop)
		pthread_cond_wait(&ring.changed, &ring.lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOG_GATHER_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	ring.state = LOG_GATHERING;
	while (ring.state == LOG_GATHERING && !ring.stop &&
	    pthread_cond_clockwait(&ring.changed, &ring.lock, CLOCK_MONOTONIC, &until) == 0)
		continue;
	ring.state = LOG_WRITING;
}

/* Exchange what has gathered for LINES, which is empty; false when stopped and empty. */
static bool
log_ring_take(struct buf *lines)
{
	struct buf taken;

	pthread_mutex_lock(&ring.lock);
	log_ring_wait();
	taken = ring.lines;
	ring.lines = *lines;
	pthread_mutex_unlock(&ring.lock);
	*lines = taken;
	return taken.n > 0;
}

/* Whether the writer must be told of a line that was just put; the lock is held. */
static bool
log_ring_wakes(void)
{
	if (ring.state == LOG_WRITING || (ring.state == LOG_GATHERING && ring.lines.n < LOG_BYTES_MAX / 2))
		return false;
	ring.state = LOG_WRITING;	/* told once is enough */
	return true;
}

/* Put a line into the ring; false when it is full. */
static bool
log_ring_put(struct str line)
{
	bool room, wake = false;

	pthread_mutex_lock(&ring.lock);
	room = line.n <= LOG_BYTES_MAX - ring.lines.n;
	if (room) {
		buf_add(&ring.lines, line);
		wake = log_ring_wakes();
	}
	pthread_mutex_unlock(&ring.lock);
	if (wake)
		pthread_cond_signal(&ring.changed);
	return room;
}

/* The writer thread: writes together what has gathered meanwhile; says how many were dropped in between. */
static void *
log_writer(void *arg)
{
	struct buf lines = BUF_EMPTY;
	uint64_t told = 0;

	(void)arg;
	while (log_ring_take(&lines)) {
		uint64_t now_dropped = atomic_load(&dropped);

		log_write_fd(buf_str(&lines));
		buf_clear(&lines);
		if (lines.size > LOG_KEEP_BYTES)
			buf_fini(&lines);
		if (now_dropped != told) {
			int64_t lost = (int64_t)(now_dropped - told);

			told = now_dropped;
			log_line(LOG_WARN, "log lines dropped", log_i("count", lost));
		}
	}
	buf_fini(&lines);
	return NULL;
}

/* A bug ends the process: what still gathers, which led to it, is written first, unless somebody is just adding to it. */
static void
log_on_failure(const char *file, int line, const char *what)
{
	(void)file;
	(void)line;
	(void)what;
	if (pthread_mutex_trylock(&ring.lock) == 0)	/* held to the end: nobody writes it again */
		log_write_fd(buf_str(&ring.lines));
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
	jsonw_string(&w, "time", (struct str){ time, CLOCK_RFC3339_BYTES - 1 });
	jsonw_string(&w, "level", level_names[level]);
	jsonw_string(&w, "event", str_from(event));
	for (; f->key.p; f++) {
		if (f->type == LOG_TYPE_INT)
			jsonw_put_int(&w, f->key, f->i);
		else if (f->type == LOG_TYPE_BOOL)
			jsonw_put_raw(&w, f->key, f->i ? STR("true") : STR("false"));
		else
			jsonw_put_string(&w, f->key, utf8_cut(f->s, LOG_VALUE_BYTES_MAX));
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
	if (!atomic_load(&running))
		log_write_fd(buf_str(&line));
	else if (!log_ring_put(buf_str(&line)))
		atomic_fetch_add(&dropped, 1);
	buf_fini(&line);
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
		if (str_eq(word, level_names[i])) {
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
	check_on_failure = log_on_failure;
	atomic_store(&running, true);
}

void
log_close(void)
{
	if (!atomic_exchange(&running, false))
		return;
	check_on_failure = NULL;
	pthread_mutex_lock(&ring.lock);
	ring.stop = true;
	pthread_cond_signal(&ring.changed);
	pthread_mutex_unlock(&ring.lock);
	pthread_join(writer, NULL);
	buf_fini(&ring.lines);
}

uint64_t
log_dropped(void)
{
	return atomic_load(&dropped);
}
