/* The disk fails in all its ways: what is acknowledged, what is kept, what the files say afterwards. */
#include "journal_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "io/journal_segment.h"

/* How many of the next calls fail; -1: all. */
static atomic_int write_fails, sync_fails, truncate_fails;
static atomic_int write_short;		/* bytes that a failing write leaves behind; its first call succeeds so far */
static atomic_int fault_errno;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;	/* held by a test that wants the disk to stand still */

static bool
takes_fault(atomic_int *left)
{
	int n = atomic_load(left);

	if (n == 0)
		return false;
	if (n > 0)
		atomic_fetch_sub(left, 1);
	errno = atomic_load(&fault_errno);
	return true;
}

static ssize_t
fault_write(int fd, const void *bytes, size_t n)
{
	int some = atomic_load(&write_short);

	if (atomic_load(&write_fails) != 0 && some > 0 && (size_t)some < n) {
		atomic_store(&write_short, 0);
		return write(fd, bytes, (size_t)some);
	}
	return takes_fault(&write_fails) ? -1 : write(fd, bytes, n);
}

static int
fault_sync(int fd)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return takes_fault(&sync_fails) ? -1 : fdatasync(fd);
}

static int
fault_truncate(int fd, off_t size)
{
	return takes_fault(&truncate_fails) ? -1 : ftruncate(fd, size);
}

/* A journal on a disk that works as yet. */
static struct fixture *
fault_new(void)
{
	struct fixture *f = fixture_new();

	journal_disk = (struct journal_disk){ fault_write, fault_sync, fault_truncate };
	atomic_store(&fault_errno, EIO);
	fixture_open(f);
	return f;
}

/* Wait until the journal is up, or down. */
static void
wait_up(struct fixture *f, bool up)
{
	struct mono_time end = mono_add(clock_now_mono(), FIXTURE_PATIENCE_US);

	while (journal_is_up(f->journal) != up) {
		assert_true(mono_since(end, clock_now_mono()) > 0);
		usleep(1000);
	}
}

/* Put an intent that must be taken, and come back refused. */
static void
refused_intent(struct fixture *f, const char *id)
{
	size_t refused = f->refused;

	assert_true(fixture_put(f, JOURNAL_INTENT, id));
	fixture_wait(f);
	assert_int_equal(f->refused, refused + 1);
}

/* The disk fails for the intent `b` while `a` is open; the outcome of `a` is kept; then the disk works again. */
static void
fail_and_recover(struct fixture *f, atomic_int *fault, size_t files)
{
	struct journal_verdict v;
	size_t refused;

	fixture_record(f, JOURNAL_INTENT, "a");
	atomic_store(fault, -1);
	refused_intent(f, "b");
	assert_false(journal_is_up(f->journal));
	assert_false(fixture_put(f, JOURNAL_INTENT, "c"));
	assert_false(fixture_put(f, JOURNAL_ANCHOR, "c"));
	refused = f->refused;
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "a"));	/* the answer goes out: ok=false comes at once */
	assert_true(fixture_put(f, JOURNAL_REFUSAL, "r"));
	fixture_wait(f);
	assert_int_equal(f->refused, refused + 2);
	atomic_store(fault, 0);
	wait_up(f, true);
	fixture_pair(f, "d");
	v = fixture_good(f);
	assert_int_equal(v.open_intents, 0);
	assert_int_equal(v.files, files);
	assert_int_equal(v.records, 6);		/* a, its outcome, the refusal, resume, d, its outcome */
	assert_int_equal(fixture_count(f, "\"request_id\":\"a\""), 2);
	assert_int_equal(fixture_count(f, "\"request_id\":\"b\""), 0);
	assert_int_equal(fixture_count(f, "\"kind\":\"resume\",\"failing_since\":\""), 1);
	assert_int_equal(journal_counts(f->journal).records[JOURNAL_INTENT], 2);
	assert_int_equal(journal_counts(f->journal).records[JOURNAL_OUTCOME], 2);
	fixture_free(f);
}

static void
test_write_fails(void **state)
{
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EFBIG, EROFS };

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct fixture *f = fault_new();

		atomic_store(&fault_errno, errors[i]);
		fail_and_recover(f, &write_fails, 1);
	}
}

/* A short write leaves half a record, which is cut off at once. */
static void
test_write_short(void **state)
{
	struct fixture *f = fault_new();

	(void)state;
	atomic_store(&fault_errno, ENOSPC);
	atomic_store(&write_short, 100);
	fail_and_recover(f, &write_fails, 1);
}

/* A failed fdatasync is final for its file: cut back, left, and the chain goes on in the next. */
static void
test_sync_fails(void **state)
{
	(void)state;
	fail_and_recover(fault_new(), &sync_fails, 2);
}

/* The very first sync fails: nothing of the file is good, it goes away. */
static void
test_first_sync_fails(void **state)
{
	struct fixture *f = fault_new();
	struct journal_verdict v;

	(void)state;
	atomic_store(&sync_fails, 1);
	refused_intent(f, "a");
	wait_up(f, true);
	fixture_pair(f, "b");
	v = fixture_good(f);
	assert_int_equal(v.files, 1);
	assert_int_equal(v.first_seq, 1);
	assert_int_equal(fixture_count(f, "\"request_id\":\"a\""), 0);
	fixture_free(f);
}

/* The write fails and what it left cannot be cut either: nothing is written until it can. */
static void
test_truncate_fails(void **state)
{
	struct fixture *f = fault_new();
	struct journal_verdict v;

	(void)state;
	fixture_pair(f, "a");
	atomic_store(&fault_errno, ENOSPC);
	atomic_store(&write_short, 100);
	atomic_store(&truncate_fails, -1);
	atomic_store(&write_fails, 1);
	refused_intent(f, "b");
	v = fixture_good(f);
	assert_true(v.torn_tail);
	assert_int_equal(v.records, 2);
	atomic_store(&truncate_fails, 0);
	wait_up(f, true);
	fixture_pair(f, "c");
	v = fixture_good(f);
	assert_int_equal(v.files, 2);
	assert_int_equal(v.open_intents, 0);
	fixture_free(f);
}

/* Outcomes that were acknowledged after write(2) are written again when a later sync of their file fails. */
static void
test_acknowledged_outcome_survives_failed_sync(void **state)
{
	struct fixture *f = fault_new();

	(void)state;
	fixture_record(f, JOURNAL_INTENT, "a");
	fixture_record(f, JOURNAL_OUTCOME, "a");	/* written, not synced */
	atomic_store(&sync_fails, 1);
	refused_intent(f, "b");
	wait_up(f, true);
	assert_int_equal(fixture_count(f, "\"kind\":\"outcome\",\"request_id\":\"a\""), 1);
	assert_int_equal(fixture_good(f).open_intents, 0);
	assert_int_equal(journal_counts(f->journal).records[JOURNAL_OUTCOME], 1);
	fixture_free(f);
}

/* Restart after each kind of failure that was not over: the files are good, refused intents are in none. */
static void
test_close_while_failing(void **state)
{
	static atomic_int *const faults[] = { &write_fails, &sync_fails };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture *f = fault_new();

		fixture_record(f, JOURNAL_INTENT, "a");
		atomic_store(faults[i], -1);
		refused_intent(f, "b");
		assert_true(fixture_put(f, JOURNAL_OUTCOME, "a"));
		journal_close(&f->journal);	/* tries for a second, then says what is lost */
		fixture_wait(f);
		atomic_store(faults[i], 0);
		fixture_open(f);
		assert_int_equal(journal_counts(f->journal).recovered_unknown, 1);
		fixture_pair(f, "c");
		assert_int_equal(fixture_good(f).open_intents, 0);
		assert_int_equal(fixture_count(f, "\"request_id\":\"b\""), 0);
		fixture_free(f);
	}
}

/* What is kept when the journal closes is written if the disk works again within the second. */
static void *
heal_when_stopping(void *arg)
{
	usleep(300 * 1000);	/* how long the disk is ill; any time before the last try will do */
	atomic_store((atomic_int *)arg, 0);
	return NULL;
}

static void
test_close_writes_what_is_kept(void **state)
{
	struct fixture *f = fault_new();
	pthread_t thread;

	(void)state;
	fixture_record(f, JOURNAL_INTENT, "a");
	atomic_store(&write_fails, -1);
	refused_intent(f, "b");
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "a"));
	pthread_create(&thread, NULL, heal_when_stopping, &write_fails);
	journal_close(&f->journal);
	pthread_join(thread, NULL);
	fixture_wait(f);
	assert_int_equal(fixture_good(f).open_intents, 0);
	fixture_free(f);
}

/* The real thing: the kernel refuses to let the file grow, in the middle of a record. */
static void
test_file_size_limit(void **state)
{
	struct fixture *f = fixture_new();
	struct rlimit limit, before;
	char path[FIXTURE_PATH_BYTES] = "";
	struct stat st;

	(void)state;
	journal_disk = (struct journal_disk){ write, fdatasync, ftruncate };
	signal(SIGXFSZ, SIG_IGN);
	fixture_open(f);
	fixture_record(f, JOURNAL_INTENT, "a");
	fixture_files(f, ".jsonl", fixture_last_path, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)st.st_size + 100;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	refused_intent(f, "b");
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "a"));
	fixture_wait(f);
	assert_false(fixture_good(f).torn_tail);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	wait_up(f, true);
	fixture_pair(f, "c");
	assert_int_equal(fixture_good(f).records, 5);
	fixture_free(f);
}

/* Write to a file until there is no room left. */
static void
fill(const char *path)
{
	char zeros[4096] = { 0 };
	int fd = open(path, O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	close(fd);
}

/* A full file system: intents are refused while there is still room for the outcomes of those that were taken. */
static void
test_full_disk(void **state)
{
	struct fixture *f = fixture_new();
	char id[32], ballast[FIXTURE_PATH_BYTES];
	int taken = 0;

	(void)state;
	journal_disk = (struct journal_disk){ write, fdatasync, ftruncate };
	/* In a mount namespace of our own: it goes with the process, whatever happens to the test. */
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", f->directory, "tmpfs", 0, "size=1m") != 0) {
		fixture_free(f);
		skip();
	}
	fixture_open(f);
	snprintf(ballast, sizeof(ballast), "%s/ballast", f->directory);
	fixture_write(ballast, (struct str){ (char[500000]){ 0 }, 500000 });
	for (; taken < 5000; taken++) {
		snprintf(id, sizeof(id), "n%d", taken);
		if (!fixture_put(f, JOURNAL_INTENT, id))
			break;
		fixture_wait(f);
		if (f->refused > 0)
			break;
	}
	assert_true(taken > 50 && taken < 1000);
	for (int i = 0; i < taken; i++) {
		snprintf(id, sizeof(id), "n%d", i);
		assert_true(fixture_put(f, JOURNAL_OUTCOME, id));
	}
	fixture_wait(f);
	wait_up(f, true);	/* the outcomes were shorter than the room kept for them */
	assert_int_equal(fixture_good(f).open_intents, 0);
	fill(ballast);
	refused_intent(f, "x");
	assert_false(fixture_put(f, JOURNAL_INTENT, "x"));
	assert_true(fixture_put(f, JOURNAL_REFUSAL, "r"));
	fixture_wait(f);
	assert_false(fixture_good(f).torn_tail);
	unlink(ballast);
	wait_up(f, true);
	fixture_pair(f, "y");
	fixture_good(f);
	journal_close(&f->journal);
	assert_int_equal(umount(f->directory), 0);
	fixture_free(f);
}

/*
 * A full file system, and callers who are refused all the time: their records took the room that was kept for the
 * outcomes of what was taken before, which were lost at the end.
 */
static void
test_refusals_leave_room_for_outcomes(void **state)
{
	struct fixture *f = fixture_new();
	struct mono_time end = mono_add(clock_now_mono(), FIXTURE_PATIENCE_US);
	char id[32], ballast[FIXTURE_PATH_BYTES];
	int taken = 0;

	(void)state;
	journal_disk = (struct journal_disk){ write, fdatasync, ftruncate };
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", f->directory, "tmpfs", 0, "size=256k") != 0) {
		fixture_free(f);
		skip();
	}
	fixture_open(f);
	snprintf(ballast, sizeof(ballast), "%s/ballast", f->directory);
	fixture_write(ballast, (struct str){ (char[150000]){ 0 }, 150000 });
	for (; taken < 8; taken++) {
		snprintf(id, sizeof(id), "n%d", taken);
		fixture_record(f, JOURNAL_INTENT, id);
	}
	for (int i = 0; i < 2000; i++)		/* half a megabyte */
		assert_true(fixture_put(f, JOURNAL_REFUSAL, "r"));
	fixture_wait(f);
	assert_false(journal_is_up(f->journal));
	for (int i = 0; i < taken; i++) {
		snprintf(id, sizeof(id), "n%d", i);
		assert_true(fixture_put(f, JOURNAL_OUTCOME, id));
	}
	fixture_wait(f);
	while (fixture_count(f, "\"kind\":\"outcome\"") < (size_t)taken) {
		assert_true(mono_since(end, clock_now_mono()) > 0);
		usleep(1000);
	}
	assert_false(journal_is_up(f->journal));	/* it is as full as before */
	journal_close(&f->journal);
	assert_int_equal(fixture_good(f).open_intents, 0);
	assert_int_equal(umount(f->directory), 0);
	fixture_free(f);
}

/* Somebody removes the file or writes into it: intents are refused; what is on the disk is never taken for ours. */
static void
test_file_removed(void **state)
{
	(void)state;
	for (int grow = 0; grow < 2; grow++) {
		struct fixture *f = fault_new();
		char path[FIXTURE_PATH_BYTES] = "";

		fixture_pair(f, "a");
		fixture_files(f, ".jsonl", fixture_last_path, path);
		assert_int_equal(grow ? truncate(path, 100000) : unlink(path), 0);
		refused_intent(f, "b");
		assert_false(journal_is_up(f->journal));
		assert_false(fixture_put(f, JOURNAL_INTENT, "c"));
		fixture_free(f);
	}
}

/* The disk stands still: the ring fills, intents and refusals find no room, outcomes are always taken. */
static void
test_ring_full(void **state)
{
	struct fixture *f = fixture_new();
	char id[2] = "a";
	size_t taken = 0;

	(void)state;
	journal_disk = (struct journal_disk){ fault_write, fault_sync, fault_truncate };
	f->settings.ring_records = 8;
	fixture_open(f);
	fixture_record(f, JOURNAL_INTENT, "0");
	fixture_record(f, JOURNAL_INTENT, "1");
	pthread_mutex_lock(&gate);
	for (; taken < 10 && fixture_put(f, JOURNAL_INTENT, id); taken++)
		id[0]++;
	/* Two places are reserved; each intent wants two; one written already occupies only its outcome's place. */
	assert_true(taken == 3 || taken == 4);
	for (int i = 0; i < 4; i++)
		assert_true(fixture_put(f, JOURNAL_REFUSAL, "r"));
	assert_true(journal_counts(f->journal).dropped_refusals >= 2);
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "0"));
	assert_true(fixture_put(f, JOURNAL_OUTCOME, "1"));
	assert_true(fixture_put(f, JOURNAL_EVENT, "e"));
	assert_true(journal_is_up(f->journal));
	pthread_mutex_unlock(&gate);
	fixture_wait(f);
	assert_int_equal(f->refused, journal_counts(f->journal).dropped_refusals);
	assert_int_equal(fixture_good(f).open_intents, taken);
	fixture_free(f);
}

/*
 * Failures at random, a restart now and then: the journal is good at every moment, and every outcome is there in the
 * end.
 */
static void
test_random_faults(void **state)
{
	struct fixture *f = fault_new();
	unsigned pairs = 0, refused = 0;
	char id[32];

	(void)state;
	f->settings.segment_bytes = 3000;
	srand(2);
	for (int i = 0; i < 48; i++) {
		size_t before = f->refused;

		snprintf(id, sizeof(id), "n%d", i);
		atomic_store(&write_short, rand() % 200);
		if (i % 3 == 0)
			atomic_store(&write_fails, rand() % 2);
		if (i % 4 == 0)
			atomic_store(&sync_fails, rand() % 2);
		if (i % 5 == 0)
			atomic_store(&truncate_fails, rand() % 2);
		wait_up(f, true);
		if (fixture_put(f, JOURNAL_INTENT, id)) {
			fixture_wait(f);
			if (f->refused == before) {
				pairs++;
				assert_true(fixture_put(f, JOURNAL_OUTCOME, id));
				fixture_wait(f);
			} else {
				refused++;
			}
		}
		if (i % 16 == 15) {
			atomic_store(&write_fails, 0);
			atomic_store(&sync_fails, 0);
			atomic_store(&truncate_fails, 0);
			journal_close(&f->journal);
			assert_int_equal(fixture_good(f).open_intents, 0);
			fixture_open(f);
			assert_int_equal(journal_counts(f->journal).recovered_unknown, 0);
		}
	}
	journal_close(&f->journal);
	assert_int_equal(fixture_good(f).open_intents, 0);
	assert_int_equal(fixture_count(f, "\"kind\":\"intent\""), pairs);
	assert_int_equal(fixture_count(f, "\"kind\":\"outcome\""), pairs);
	assert_true(pairs > 15 && refused > 5);
	fixture_free(f);
}

/*
 * A disk that takes no write for longer than the ring has places: what is tried again each time took a place of the
 * ring and never gave it back, so that no intent was taken any more, ever.
 */
static void
test_long_failure_leaves_the_ring(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	journal_disk = (struct journal_disk){ fault_write, fault_sync, fault_truncate };
	atomic_store(&fault_errno, EIO);
	f->settings.ring_records = 4;
	fixture_open(f);
	atomic_store(&write_fails, 8);	/* the intent's write, and seven tries of the record that it goes on */
	refused_intent(f, "a");
	wait_up(f, true);
	fixture_pair(f, "b");
	fixture_good(f);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_fails),
		cmocka_unit_test(test_write_short),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_first_sync_fails),
		cmocka_unit_test(test_truncate_fails),
		cmocka_unit_test(test_acknowledged_outcome_survives_failed_sync),
		cmocka_unit_test(test_close_while_failing),
		cmocka_unit_test(test_close_writes_what_is_kept),
		cmocka_unit_test(test_file_size_limit),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_refusals_leave_room_for_outcomes),
		cmocka_unit_test(test_file_removed),
		cmocka_unit_test(test_ring_full),
		cmocka_unit_test(test_random_faults),
		cmocka_unit_test(test_long_failure_leaves_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
