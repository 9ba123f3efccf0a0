/* Old files are deleted: which, when, what the chain says of it, and what nothing may take away. */
#include "journal_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "io/journal_retention.h"
#include "io/journal_segment.h"
#include "io/journal_state.h"

#define HOUR_US (3600 * (int64_t)CLOCK_SECOND)

/* So many hours ago. */
static struct wall_time
hours_ago(int hours)
{
	return (struct wall_time){ clock_now_wall().us - hours * HOUR_US };
}

/* An intent and its outcome of so many hours ago. */
static void
old_pair(struct fixture *f, const char *id, int hours)
{
	assert_true(fixture_put_at(f, JOURNAL_INTENT, id, hours_ago(hours)));
	fixture_wait(f);
	assert_true(fixture_put_at(f, JOURNAL_OUTCOME, id, hours_ago(hours)));
	fixture_wait(f);
}

/* A journal of N pairs, of so many hours ago, in small files. */
static struct fixture *
old_journal(int n, int hours)
{
	struct fixture *f = fixture_new();
	char id[32];

	f->settings.segment_bytes = 1000;
	fixture_open(f);
	for (int i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "p%d", i);
		old_pair(f, id, hours);
	}
	return f;
}

/* Say what may be deleted. */
static void
retain(struct fixture *f, int64_t age_us, int64_t bytes, const char *collected)
{
	journal_set_retention(f->journal, &(struct journal_retention){ age_us, bytes, str_from(collected) });
}

/* How many files there are. */
static size_t
files(struct fixture *f)
{
	return fixture_files(f, ".jsonl", NULL, NULL);
}

/* For fixture_files: keep the path of the first file. */
static void
first_path(const char *path, void *arg)
{
	if (*(char *)arg == '\0')
		snprintf(arg, FIXTURE_PATH_BYTES, "%s", path);
}

/* The first seq of the oldest file, by its name. */
static uint64_t
oldest(struct fixture *f)
{
	char path[FIXTURE_PATH_BYTES] = "";
	uint64_t seq;
	int date;

	fixture_files(f, ".jsonl", first_path, path);
	assert_true(journal_name_parse(strrchr(path, '/') + 1, &seq, &date));
	return seq;
}

/* Wait until no record up to SEQ is there. */
static void
wait_gone(struct fixture *f, uint64_t seq)
{
	struct mono_time end = mono_add(clock_now_mono(), FIXTURE_PATIENCE_US);

	while (oldest(f) <= seq) {
		assert_true(mono_since(end, clock_now_mono()) > 0);
		usleep(1000);
	}
}

/* Wait until the retention is ill, or not. */
static void
wait_ill(struct fixture *f, bool ill)
{
	struct mono_time end = mono_add(clock_now_mono(), FIXTURE_PATIENCE_US);

	while (journal_retention_is_ill(f->journal) != ill) {
		assert_true(mono_since(end, clock_now_mono()) > 0);
		usleep(1000);
	}
}

/* Wait until the writer has done what it found to do before. */
static void
wait_look(struct fixture *f)
{
	char nowhere[FIXTURE_PATH_BYTES];

	/* A collector's file that is not there makes a look visible; taking it back the next. */
	snprintf(nowhere, sizeof(nowhere), "%s/nowhere", f->directory);
	retain(f, HOUR_US, 0, nowhere);
	wait_ill(f, true);
	retain(f, 0, 0, "");
	wait_ill(f, false);
}

/*
 * By age: all closed files go but for the one that a young record follows at once, each with its record; the chain is
 * good, and a start takes it. (p0 has seq 1 and 2, and so on.)
 */
static void
test_age(void **state)
{
	struct fixture *f = old_journal(10, 48);
	struct journal_verdict v;

	(void)state;
	assert_true(files(f) > 4);
	retain(f, 24 * HOUR_US, 0, "");
	wait_gone(f, 16);
	wait_look(f);
	v = fixture_good(f);
	assert_true(v.first_seq > 16);
	assert_int_equal(v.open_intents, 0);
	assert_true(fixture_count(f, "\"kind\":\"retention\",\"file\":\"0000000000000") > 0);
	journal_close(&f->journal);
	fixture_open(f);
	fixture_pair(f, "z");
	fixture_good(f);
	fixture_free(f);
}

/* By size: the oldest go until the rest has no more. */
static void
test_size(void **state)
{
	struct fixture *f = old_journal(20, 3);
	struct journal_verdict v;

	(void)state;
	assert_true(files(f) > 8);
	retain(f, 0, 9000, "");
	wait_gone(f, 2);
	wait_look(f);
	v = fixture_good(f);
	assert_true(v.first_seq > 2);
	assert_int_equal(fixture_count(f, "\"request_id\":\"p0\""), 0);
	assert_int_equal(fixture_count(f, "\"request_id\":\"p19\""), 2);
	fixture_free(f);
}

/* Nothing goes that is younger than two hours, whatever the size. */
static void
test_young(void **state)
{
	struct fixture *f = old_journal(10, 1);
	size_t before = files(f);

	(void)state;
	retain(f, 0, 1, "");
	usleep(1500 * 1000);	/* the writer looks once a second */
	assert_int_equal(files(f), before);
	assert_false(journal_retention_is_ill(f->journal));
	fixture_free(f);
}

/* Nothing goes from the file of the oldest open intent on; all before it does, and the rest when it is closed. */
static void
test_open_intent(void **state)
{
	struct fixture *f = old_journal(4, 48);

	(void)state;
	assert_true(fixture_put_at(f, JOURNAL_INTENT, "open", hours_ago(48)));
	fixture_wait(f);
	for (int i = 0; i < 6; i++)
		old_pair(f, "later", 47);
	retain(f, 24 * HOUR_US, 0, "");
	wait_gone(f, 6);
	wait_look(f);
	assert_int_equal(fixture_count(f, "\"request_id\":\"open\""), 1);
	assert_int_equal(fixture_good(f).open_intents, 1);
	assert_true(fixture_count(f, "\"request_id\":\"later\"") >= 12);
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "open"));
	fixture_wait(f);
	retain(f, 24 * HOUR_US, 0, "");
	wait_gone(f, 14);
	wait_look(f);
	assert_int_equal(fixture_good(f).open_intents, 0);
	fixture_free(f);
}

/* What the collector's file may hold, and whether that keeps everything and is said. */
static void
test_collected_bad(void **state)
{
	static const char *const bad[] = { "", "{}", "{\"seq\":9}", "{\"journal\":\"%s\"}", "[1]",
		"{\"journal\":\"%s\",\"seq\":-1}", "{\"journal\":\"%s\",\"seq\":99}x", "{\"journal\":\"00000000-0000-4000-8000-000000000000\",\"seq\":99}",
		"{\"journal\":\"%s\",\"seq\":1e9}", "{\"journal\":\"%s\",\"seq\":99}",	/* the last: 12 are there */
		"{\"journal\":\"%s\",\"seq\":99" };
	struct fixture *f = old_journal(6, 48);
	char path[FIXTURE_PATH_BYTES], uuid[64];
	size_t before = files(f);

	(void)state;
	snprintf(path, sizeof(path), "%s/collected.json", f->directory);
	snprintf(uuid, sizeof(uuid), "%.*s", STR_ARG(journal_uuid(f->journal)));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), bad[i], uuid);
#pragma GCC diagnostic pop
		fixture_write(path, str_from(text));
		retain(f, 24 * HOUR_US, 0, path);
		wait_ill(f, true);
		assert_int_equal(files(f), before);
		retain(f, 0, 0, "");
		wait_ill(f, false);
	}
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);	/* opening it would wait for ever */
	retain(f, 24 * HOUR_US, 0, path);
	wait_ill(f, true);
	assert_int_equal(files(f), before);
	fixture_record(f, JOURNAL_INTENT, "x");
	fixture_record(f, JOURNAL_OUTCOME, "x");
	fixture_free(f);
}

/* Nothing above the collector's seq goes. */
static void
test_collected(void **state)
{
	struct fixture *f = old_journal(10, 48);
	char path[FIXTURE_PATH_BYTES], text[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/collected.json", f->directory);
	snprintf(text, sizeof(text), "{\"journal\":\"%.*s\",\"seq\":7,\"more\":[{\"seq\":1}]}", STR_ARG(journal_uuid(f->journal)));
	fixture_write(path, str_from(text));
	retain(f, 24 * HOUR_US, 0, path);
	wait_gone(f, 2);
	wait_look(f);
	assert_true(fixture_good(f).first_seq <= 8);
	assert_true(fixture_good(f).first_seq > 1);
	fixture_free(f);
}

/* For fixture_files: keep a second name of each file. */
static void
link_file(const char *path, void *arg)
{
	char second[FIXTURE_PATH_BYTES + 8];

	(void)arg;
	snprintf(second, sizeof(second), "%s.kept", path);
	assert_int_equal(link(path, second), 0);
}

/* For fixture_files: put the second name back as the first, where that is gone. */
static void
unlink_back(const char *path, void *arg)
{
	char first[FIXTURE_PATH_BYTES];

	(void)arg;
	snprintf(first, sizeof(first), "%.*s", (int)(strlen(path) - strlen(".kept")), path);
	if (access(first, F_OK) != 0)
		assert_int_equal(link(path, first), 0);
	unlink(path);
}

/* Killed between the record and the removal, or the removal lost with the power: files older than the record are there. */
static void
test_removal_lost(void **state)
{
	struct fixture *f = old_journal(10, 48);
	size_t before = files(f);

	(void)state;
	fixture_files(f, ".jsonl", link_file, NULL);
	retain(f, 24 * HOUR_US, 0, "");
	wait_gone(f, 16);
	journal_close(&f->journal);
	fixture_files(f, ".kept", unlink_back, NULL);
	assert_true(files(f) >= before);
	assert_int_equal(fixture_good(f).first_seq, 1);
	fixture_open(f);
	fixture_pair(f, "z");
	retain(f, 24 * HOUR_US, 0, "");
	wait_gone(f, 16);
	wait_look(f);
	assert_true(fixture_good(f).first_seq > 16);
	fixture_free(f);
}

/* Whoever takes away one file more than the records say is named. */
static void
test_more_taken_away(void **state)
{
	struct fixture *f = old_journal(20, 3);
	char path[FIXTURE_PATH_BYTES] = "";
	struct journal_verdict v;

	(void)state;
	retain(f, 0, 9000, "");
	wait_gone(f, 2);
	journal_close(&f->journal);
	fixture_good(f);
	fixture_files(f, ".jsonl", first_path, path);
	unlink(path);
	v = fixture_verify(f);
	assert_false(v.ok);
	assert_non_null(strstr(v.what, "no retention record"));
	fixture_free(f);
}

/* How many of the next syncs fail; -1: all. */
static atomic_int sync_fails;

static int
fault_sync(int fd)
{
	if (atomic_load(&sync_fails) == 0)
		return fdatasync(fd);
	errno = EIO;
	return -1;
}

/* Where the record cannot be made durable nothing is deleted; it is when the disk is well again. */
static void
test_record_fails(void **state)
{
	struct fixture *f;
	size_t before;

	(void)state;
	f = old_journal(10, 48);
	before = files(f);
	atomic_store(&sync_fails, -1);
	retain(f, 24 * HOUR_US, 0, "");
	while (journal_is_up(f->journal))
		usleep(1000);
	assert_true(files(f) >= before);
	assert_int_equal(fixture_count(f, "\"request_id\":\"p0\""), 2);
	atomic_store(&sync_fails, 0);
	retain(f, 24 * HOUR_US, 0, "");
	wait_gone(f, 16);
	wait_look(f);
	fixture_good(f);
	fixture_free(f);
}

/* In a child: make records and delete old files until it is killed. */
static void
delete_until_killed(struct fixture *f)
{
	char id[32];

	fixture_open(f);
	retain(f, 0, 3000, "");
	for (int i = 0;; i++) {
		snprintf(id, sizeof(id), "k%d-%d", (int)getpid(), i);
		old_pair(f, id, 3);
	}
}

/* Killed at any moment: the next start takes the journal, and it is good. */
static void
test_killed(void **state)
{
	struct fixture *f = fixture_new();
	unsigned seed = 4711;

	(void)state;
	f->settings.segment_bytes = 1000;
	for (int i = 0; i < 12; i++) {
		pid_t pid = fixture_fork(f);
		int status;

		if (pid == 0)
			delete_until_killed(f);
		usleep((useconds_t)(20000 + rand_r(&seed) % 1200000));	/* any moment will do */
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		fixture_open(f);
		assert_int_equal(fixture_good(f).open_intents, 0);
		journal_close(&f->journal);
	}
	assert_true(fixture_good(f).first_seq > 1);
	fixture_free(f);
}

/* A start that reads no trigger takes the first record's time for that of the triggers before it. */
static void
test_last_trigger(void **state)
{
	struct fixture *f = fixture_new();
	struct wall_time last;

	(void)state;
	fixture_open(f);
	fixture_pair(f, "a");
	journal_close(&f->journal);
	f->settings.segment_bytes = 1;		/* what follows goes into a file of its own */
	fixture_open(f);
	fixture_record(f, JOURNAL_EVENT, "config");
	journal_close(&f->journal);
	fixture_open(f);
	last = journal_last_trigger(f->journal);
	assert_true(last.us > 0 && clock_now_wall().us - last.us < FIXTURE_PATIENCE_US);
	fixture_free(f);
}

/*
 * A wall clock that was set to another year makes all records old at once; that it was set shows by the clock that
 * nobody sets.
 */
static void
test_clock_set(void **state)
{
	struct fixture *f = old_journal(6, 48);
	size_t before = files(f);

	(void)state;
	pthread_mutex_lock(&f->journal->lock);
	f->journal->retention.opened_wall.us -= HOUR_US + CLOCK_SECOND;
	pthread_mutex_unlock(&f->journal->lock);
	retain(f, 24 * HOUR_US, 0, "");
	wait_ill(f, true);
	assert_int_equal(files(f), before);
	pthread_mutex_lock(&f->journal->lock);
	f->journal->retention.opened_wall.us += HOUR_US + CLOCK_SECOND;
	pthread_mutex_unlock(&f->journal->lock);
	retain(f, 24 * HOUR_US, 0, "");		/* it was set back */
	wait_ill(f, false);
	wait_gone(f, 2);
	fixture_free(f);
}

/* Steps of both directions are told from time that passed. */
static void
test_clock_step(void **state)
{
	struct wall_time wall = { 1000 * HOUR_US };
	struct mono_time mono = { 5 * HOUR_US };

	(void)state;
	assert_int_equal(journal_retention_set_us(wall, mono, (struct wall_time){ 1002 * HOUR_US },
	    mono_add(mono, 2 * HOUR_US)), 0);
	assert_int_equal(journal_retention_set_us(wall, mono, (struct wall_time){ 1003 * HOUR_US }, mono), 3 * HOUR_US);
	assert_int_equal(journal_retention_set_us(wall, mono, (struct wall_time){ 999 * HOUR_US },
	    mono_add(mono, HOUR_US)), -2 * HOUR_US);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_young),
		cmocka_unit_test(test_open_intent),
		cmocka_unit_test(test_collected_bad),
		cmocka_unit_test(test_collected),
		cmocka_unit_test(test_removal_lost),
		cmocka_unit_test(test_more_taken_away),
		cmocka_unit_test(test_record_fails),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_last_trigger),
		cmocka_unit_test(test_clock_set),
		cmocka_unit_test(test_clock_step),
	};

	journal_disk.sync = fault_sync;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
