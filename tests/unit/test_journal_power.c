/*
 * The power goes: what the journal did to its directory is recorded call by call, then played back up to a cut, with
 * everything that no sync covers in any state that a disk may leave it in. Each time the next start must take the
 * journal, with every intent that was acknowledged and every record that was synced.
 *
 * What is not synced: each 4 KB page of a file has any of the contents that it had since its file's last sync, or zeros
 * where it had none before; a file ends at any page between, or where it ended; of the directory's changes since its
 * last sync none, all, the first few or any are there.
 *
 * JOBGATE_CUTS says how many cuts are tried (200), JOBGATE_SEED with which random choices.
 */
#include "disk_recorder.h"

#include "io/journal_segment.h"

#define PAGE 4096
#define DONE_MAX 4000

/* Intents that were acknowledged, and after how many ops. */
static struct { char id[32]; size_t op; } done[DONE_MAX];
static size_t done_count;

/* --- what is recorded --- */

/* Put a record with members of any length. */
static void
put(struct fixture *f, enum journal_kind kind, const char *id, size_t more)
{
	struct fixture_entry *e = calloc(1, sizeof(*e));
	struct buf *members = &e->entry.members;

	e->fixture = f;
	e->first = id[0];
	e->entry = (struct journal_entry){ .kind = kind, .loop = f->loop, .on_done = fixture_on_done, .arg = e,
		.time = clock_now_wall() };
	buf_printf(members, "\"kind\":\"%s\",\"request_id\":\"%s\",\"more\":\"",
	    kind == JOURNAL_INTENT ? "intent" : kind == JOURNAL_OUTCOME ? "outcome" : "refusal", id);
	for (size_t i = 0; i < more; i++)
		buf_add_char(members, 'm');
	buf_add_char(members, '"');
	f->awaited++;
	assert_true(journal_put(f->journal, &e->entry));
}

/* A few intents at once, a refusal among them, then the outcomes of most. */
static void
put_some(struct fixture *f, int round)
{
	char id[32];
	int n = 1 + rand() % 6;

	for (int i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "i%d-%d", round, i);
		put(f, JOURNAL_INTENT, id, (size_t)rand() % (rand() % 4 ? 400 : 9000));
	}
	put(f, JOURNAL_REFUSAL, "r", (size_t)rand() % 300);
	fixture_wait(f);
	pthread_mutex_lock(&recording);
	for (int i = 0; i < n; i++) {
		snprintf(done[done_count].id, sizeof(done[0].id), "\"i%d-%d\"", round, i);
		done[done_count++].op = op_count;
	}
	pthread_mutex_unlock(&recording);
	for (int i = 0; i < n; i++)
		if (rand() % 8) {
			snprintf(id, sizeof(id), "i%d-%d", round, i);
			put(f, JOURNAL_OUTCOME, id, (size_t)rand() % 500);
		}
	if (rand() % 2)
		fixture_wait(f);
}

/* Wait until N files have been deleted. */
static void
wait_deleted(size_t n)
{
	struct mono_time end = mono_add(clock_now_mono(), FIXTURE_PATIENCE_US);

	for (size_t found = 0; found < n; usleep(1000)) {
		assert_true(mono_since(end, clock_now_mono()) > 0);
		found = 0;
		pthread_mutex_lock(&recording);
		for (size_t i = 0; i < op_count; i++)
			found += ops[i].kind == OP_UNLINK && strstr(ops[i].name, ".jsonl") != NULL;
		pthread_mutex_unlock(&recording);
	}
}

/* Record a journal's life from its first file on: files that are full, starts, an end by kill, files that are deleted. */
static void
live(struct fixture *f)
{
	assert_int_equal(stat(f->directory, &home), 0);
	on = true;
	for (int life = 0; life < 6; life++) {
		clock_ahead = life * 3 * 3600;		/* what an earlier life has left is old enough to be deleted */
		f->settings.segment_bytes = life % 2 ? 6000 : 30000;
		fixture_open(f);
		if (life >= 3)
			journal_set_retention(f->journal, &(struct journal_retention){ .bytes = 60000 });
		for (int round = 0; round < 25; round++)
			put_some(f, life * 1000 + round);
		fixture_wait(f);
		if (life >= 3)
			wait_deleted((size_t)(life - 2) * 3);
		journal_close(&f->journal);
	}
	on = false;
}

/* --- the disk --- */

struct file {
	struct buf now, synced;
	struct buf *versions;		/* contents since the last sync, the synced one first */
	size_t version_count;
	bool wiped;			/* its deletion was asked for */
};
static struct file files[FILES_MAX];
static struct { char name[64]; int file; } entries[256];
static size_t entry_count;

static void
entry_remove(const char *name)
{
	for (size_t i = 0; i < entry_count; i++)
		if (strcmp(entries[i].name, name) == 0)
			entries[i--] = entries[--entry_count];
}

static void
entry_add(const char *name, int file)
{
	entry_remove(name);
	assert_true(entry_count < 256);
	snprintf(entries[entry_count].name, sizeof(entries[0].name), "%s", name);
	entries[entry_count++].file = file;
}

static int
entry_find(const char *name)
{
	for (size_t i = 0; i < entry_count; i++)
		if (strcmp(entries[i].name, name) == 0)
			return entries[i].file;
	return -1;
}

/* Remember what FILE has now as a content that pages may be left with. */
static void
file_version(struct file *file)
{
	file->versions = realloc(file->versions, (file->version_count + 1) * sizeof(*file->versions));
	assert_non_null(file->versions);
	file->versions[file->version_count] = (struct buf){ 0 };
	buf_add(&file->versions[file->version_count++], buf_str(&file->now));
}

/* Forget the contents before the last sync. */
static void
file_settle(struct file *file)
{
	for (size_t i = 0; i < file->version_count; i++)
		buf_fini(&file->versions[i]);
	file->version_count = 0;
	buf_clear(&file->synced);
	buf_add(&file->synced, buf_str(&file->now));
	file_version(file);
}

/* Play an op that changes a file's content. */
static void
play_content(const struct op *op)
{
	struct file *file = &files[op->file];

	if (op->kind == OP_SYNC) {
		file_settle(file);
		return;
	}
	if (op->kind == OP_TRUNCATE) {
		assert_true((size_t)op->at <= file->now.n);
		file->now.n = (size_t)op->at;
	} else {
		assert_int_equal(op->at, file->now.n);	/* all that is recorded is appended */
		buf_add(&file->now, buf_str(&op->bytes));
	}
	file_version(file);
}

/* Play an op that changes the directory. */
static void
play_entry(const struct op *op)
{
	int file;

	if (op->kind == OP_CREATE)
		entry_add(op->name, op->file);
	else if (op->kind == OP_UNLINK)
		entry_remove(op->name);
	else if ((file = entry_find(op->name)) >= 0) {
		entry_remove(op->name);
		entry_add(op->to, file);
	}
}

static bool
is_content(const struct op *op)
{
	return op->kind == OP_WRITE || op->kind == OP_TRUNCATE || op->kind == OP_SYNC;
}

/* Play the directory's ops before CUT: those that are synced, and of the others what the disk happened to take. */
static void
play_directory(size_t cut)
{
	size_t synced = 0, last = cut;
	int state = rand() % 4;

	entry_count = 0;
	for (size_t i = 0; i < cut; i++)
		if (ops[i].kind == OP_SYNC_DIRECTORY)
			synced = i;
	if (state == 0)
		last = synced;
	else if (state == 1 && cut > synced)
		last = synced + (size_t)rand() % (cut - synced + 1);
	for (size_t i = 0; i < last; i++)
		if (!is_content(&ops[i]) && ops[i].kind != OP_SYNC_DIRECTORY && (i < synced || state != 2 || rand() % 2))
			play_entry(&ops[i]);
}

/* Play the contents before CUT. */
static void
play_contents(size_t cut)
{
	for (int i = 0; i < file_count; i++) {
		file_settle(&files[i]);
		buf_clear(&files[i].now);
		file_settle(&files[i]);
		files[i].wiped = false;
	}
	for (size_t i = 0; i < cut; i++)
		if (is_content(&ops[i]))
			play_content(&ops[i]);
}

/* What the disk is left with of a file, into OUT. */
static void
left_of(const struct file *file, struct buf *out)
{
	size_t longest = 0, shortest = SIZE_MAX, size;

	for (size_t i = 0; i < file->version_count; i++) {
		longest = file->versions[i].n > longest ? file->versions[i].n : longest;
		shortest = file->versions[i].n < shortest ? file->versions[i].n : shortest;
	}
	size = rand() % 2 ? file->now.n : shortest + (longest > shortest ? (size_t)rand() % (longest - shortest + 1) : 0);
	if (rand() % 3 == 0 && size > shortest)		/* a size that only grows by pages */
		size = size / PAGE * PAGE < shortest ? shortest : size / PAGE * PAGE;
	memset(buf_room(out, size + 1), 0, size + 1);
	out->n = size;
	for (size_t at = 0; at < size; at += PAGE) {
		const struct buf *v = &file->versions[rand() % 3 ? file->version_count - 1 : (size_t)rand() % file->version_count];

		if (v->n > at)
			memcpy(out->p + at, v->p + at, (v->n < size ? v->n : size) - at < PAGE ? (v->n < size ? v->n : size) - at : PAGE);
	}
}

/* Leave the directory of F as the cut left it. */
static void
leave(struct fixture *f)
{
	char path[FIXTURE_PATH_BYTES];

	for (size_t i = 0; i < entry_count; i++) {
		struct buf left = BUF_EMPTY;

		left_of(&files[entries[i].file], &left);
		snprintf(path, sizeof(path), "%s/%.63s", f->directory, entries[i].name);
		fixture_write(path, buf_str(&left));
		buf_fini(&left);
	}
}

/* Note which files were deleted before CUT: what they had need not be there. */
static void
note_deleted(size_t cut)
{
	entry_count = 0;
	for (size_t i = 0; i < cut; i++) {
		int file = ops[i].kind == OP_UNLINK ? entry_find(ops[i].name) : -1;

		if (file >= 0)
			files[file].wiped = true;
		if (!is_content(&ops[i]) && ops[i].kind != OP_SYNC_DIRECTORY)
			play_entry(&ops[i]);
	}
}

/* Whether FILE, as it was synced, has ID. */
static bool
file_has(const struct buf *bytes, const char *id)
{
	return str_find(buf_str(bytes), str_from(id)) < bytes->n;
}

/* Whether a deleted file had ID. */
static bool
was_deleted(const char *id)
{
	for (int i = 0; i < file_count; i++)
		if (files[i].wiped && file_has(&files[i].synced, id))
			return true;
	return false;
}

/* All of the journal's lines. */
static struct buf
all_lines(struct fixture *f)
{
	struct buf all = BUF_EMPTY;

	fixture_files(f, ".jsonl", fixture_add_file, &all);
	return all;
}

/* Every record that was synced before the cut, in files that were not deleted, is in ALL byte by byte. */
static void
check_synced(const struct buf *all)
{
	for (size_t i = 0; i < entry_count; i++) {
		const struct file *file = &files[entries[i].file];
		struct str rest = buf_str(&file->synced), line;

		if (strstr(entries[i].name, ".jsonl") == NULL || strstr(entries[i].name, ".torn") || file->wiped)
			continue;
		while (str_next(&rest, '\n', &line))
			if (line.n > 0 && str_find(buf_str(all), line) >= all->n)
				fail_msg("a synced record is lost: %.*s", STR_ARG(line));
	}
}

/* Cut the power after CUT ops, start, and look at what is there. */
static void
cut_at(size_t cut)
{
	struct fixture *f = fixture_new();
	struct buf all;

	play_contents(cut);
	note_deleted(cut);
	play_directory(cut);
	leave(f);
	f->settings.segment_bytes = 30000;
	fixture_open(f);
	assert_int_equal(fixture_good(f).open_intents, 0);
	all = all_lines(f);
	for (size_t i = 0; i < done_count; i++)
		if (done[i].op <= cut && !was_deleted(done[i].id) && !file_has(&all, done[i].id))
			fail_msg("the acknowledged intent %s is lost by a cut after %zu of %zu calls", done[i].id, cut, op_count);
	check_synced(&all);
	buf_fini(&all);
	fixture_pair(f, "after");
	journal_close(&f->journal);
	fixture_good(f);
	fixture_free(f);
}

/* A number of the environment, else the default. */
static unsigned
number_of(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void
test_power_cuts(void **state)
{
	unsigned cuts = number_of("JOBGATE_CUTS", 200), seed = number_of("JOBGATE_SEED", 1);
	size_t kinds[OP_SYNC_DIRECTORY + 1] = { 0 };
	struct fixture *f = fixture_new();

	(void)state;
	srand(seed);
	live(f);
	for (size_t i = 0; i < op_count; i++)
		kinds[ops[i].kind]++;
	printf("%zu calls recorded: %zu files made, %zu writes, %zu cuts, %zu syncs, %zu renames, %zu removals, %zu syncs of "
	    "the directory; %zu intents acknowledged; seed %u, %u cuts of the power\n", op_count, kinds[OP_CREATE],
	    kinds[OP_WRITE], kinds[OP_TRUNCATE], kinds[OP_SYNC], kinds[OP_RENAME], kinds[OP_UNLINK], kinds[OP_SYNC_DIRECTORY],
	    done_count, seed, cuts);
	assert_true(kinds[OP_CREATE] > 20 && kinds[OP_UNLINK] > 5 && kinds[OP_SYNC] > 100 && done_count > 300);
	for (unsigned i = 0; i < cuts; i++)
		cut_at(cuts >= op_count ? i % (op_count + 1) : (size_t)rand() % (op_count + 1));
	fixture_free(f);
}

/* The directory itself is made durable in the one that it is made in. */
static void
test_directory_is_durable(void **state)
{
	struct fixture *f = fixture_new();
	char path[FIXTURE_PATH_BYTES];

	(void)state;
	assert_int_equal(stat(f->directory, &parent), 0);
	snprintf(path, sizeof(path), "%s/audit", f->directory);
	f->settings.directory = str_from(path);
	parent_synced = false;
	fixture_open(f);
	assert_true(parent_synced);
	parent.st_ino = 0;
	journal_close(&f->journal);
	snprintf(f->directory + strlen(f->directory), sizeof(f->directory) - strlen(f->directory), "/audit");
	fixture_files(f, "", fixture_unlink, NULL);
	assert_int_equal(rmdir(f->directory), 0);
	*strrchr(f->directory, '/') = '\0';
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_cuts),
		cmocka_unit_test(test_directory_is_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
