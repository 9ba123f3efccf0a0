/* `jobgate audit verify`: verifies journals, live ones too, by themselves and against each other. */
#include "command/audit_verify.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "command/audit_query.h"
#include "io/journal.h"

struct verify_arguments {
	struct str *directories;	/* owned */
	size_t count;
	struct wall_time as_of;
};

/* Good but for damage that a record accepts: neither 0, which would forget it, nor 1, which would hide another one. */
#define VERIFY_ACCEPTED 3

static bool progress_shown;

/* Show on the terminal how far it is. */
static void
verify_progress(const char *file, uint64_t records, unsigned percent)
{
	fprintf(stderr, "\r\033[K%u %% %s: %" PRIu64 " records", percent, file, records);
	fflush(stderr);
	progress_shown = true;
}

/* Clear the line that verify_progress wrote. */
static void
verify_progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

/* Print what anchors say of a good journal. */
static void
verify_print_anchors(const char *directory, const struct journal_verdict *v)
{
	if (v->held)
		printf("%s: note: %" PRIu64 " anchors of other journals have it right\n", directory, v->held);
	if (v->deleted)
		printf("%s: note: %" PRIu64 " anchors are of records that were deleted, or lost in accepted damage\n", directory, v->deleted);
	if (v->late)
		printf("%s: note: %" PRIu64 " anchors behind its end were written after --as-of\n", directory, v->late);
	if (v->disputed)
		printf("%s: note: %" PRIu64 " directories say otherwise and are not believed, since they are bad themselves\n",
		    directory, v->disputed);
}

/* Print what a good journal has that its reader should know. */
static void
verify_print_notes(const char *directory, const struct journal_verdict *v)
{
	if (v->accepted)
		printf("%s: ACCEPTED DAMAGE at %s, by the record with seq %" PRIu64 "; %" PRIu64 " such places\n", directory,
		    v->accepted_where, v->accepted_by, v->accepted);
	if (v->first_seq > 1)
		printf("%s: note: begins at seq %" PRIu64 "; older files are not there\n", directory, v->first_seq);
	if (v->torn_tail)
		printf("%s: note: the last line is incomplete: a gateway is writing it, or its next start cuts it\n",
		    directory);
	if (v->open_intents)
		printf("%s: note: %" PRIu64 " intents have no outcome yet\n", directory, v->open_intents);
	verify_print_anchors(directory, v);
}

/* Print the verdict on one directory; the exit code. */
static int
verify_print(const char *directory, const struct journal_verdict *v)
{
	if (!v->ok) {
		printf("%s: FAILED at %s: %s (%" PRIu64 " records in %" PRIu64 " files read)\n", directory, v->where,
		    v->what, v->records, v->files);
		return 1;
	}
	printf("%s: ok, %" PRIu64 " records in %" PRIu64 " files, seq %" PRIu64 " to %" PRIu64 "\n", directory,
	    v->records, v->files, v->first_seq, v->last_seq);
	verify_print_notes(directory, v);
	return v->accepted ? VERIFY_ACCEPTED : 0;
}

/* Check the directories and print the verdicts; the exit code. */
static int
verify_run(const struct verify_arguments *arguments)
{
	struct journal_verdict *verdicts = calloc(arguments->count, sizeof(*verdicts));
	struct journal_progress progress = { .show = verify_progress };
	struct journal_strangers strangers;
	int code = 0;

	check(verdicts != NULL);
	journal_verify_all(arguments->directories, arguments->count, arguments->as_of,
	    isatty(STDERR_FILENO) ? &progress : NULL, verdicts, &strangers);
	verify_progress_end();
	for (size_t i = 0; i < arguments->count; i++) {
		int one = verify_print(arguments->directories[i].p, &verdicts[i]);

		code = code == 1 || one == 0 ? code : one;	/* what nobody has accepted outweighs what somebody has */
	}
	for (size_t i = 0; i < strangers.count; i++)
		printf("note: %" PRIu64 " anchors, up to seq %" PRIu64 ", are of journal %s, which was not given\n",
		    strangers.list[i].anchors, strangers.list[i].last_seq, strangers.list[i].journal);
	free(strangers.list);
	free(verdicts);
	return fflush(stdout) == 0 ? code : 1;
}

/* Read the arguments; false where they are wrong. */
static bool
verify_arguments(int argc, char **argv, struct verify_arguments *arguments)
{
	static const char as_of[] = "--as-of=";

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--as-of") == 0 && i + 1 < argc) {
			if (!audit_query_time(str_from(argv[++i]), &arguments->as_of))
				return false;
		} else if (strncmp(argv[i], as_of, sizeof(as_of) - 1) == 0) {
			if (!audit_query_time(str_from(argv[i] + sizeof(as_of) - 1), &arguments->as_of))
				return false;
		} else if (argv[i][0] == '-') {
			return false;
		} else {
			arguments->directories[arguments->count++] = str_from(argv[i]);
		}
	}
	return arguments->count > 0;
}

int
audit_verify(int argc, char **argv)
{
	struct verify_arguments arguments = { .directories = calloc((size_t)argc, sizeof(struct str)), .as_of = { INT64_MAX } };
	int code = 2;

	check(arguments.directories != NULL);
	if (verify_arguments(argc, argv, &arguments))
		code = verify_run(&arguments);
	else
		fputs("usage: jobgate audit verify [--as-of TIME] DIR...   (jobgate audit --help)\n", stderr);
	free(arguments.directories);
	return code;
}
