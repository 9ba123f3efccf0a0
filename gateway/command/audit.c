/* `jobgate audit`: verifies journals, live ones too, and hands on to search and digest. */
#include "command/command.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command/audit_accept.h"
#include "command/audit_digest.h"
#include "command/audit_search.h"
#include "io/journal.h"

#define AUDIT_USAGE \
	"usage: jobgate audit verify DIR...\n" \
	"       jobgate audit search [OPTION]... DIR...   (jobgate audit search --help)\n" \
	"       jobgate audit accept DIR --record FILE:LINE --reason TEXT   (jobgate audit accept --help)\n" \
	"       jobgate audit digest [--config FILE] < BODY\n\n" \
	"verify checks every record of the audit journals in the directories: form, sequence, hash chain,\n" \
	"one outcome per intent. They are only read; a gateway may be writing them.\n" \
	"Exit code 0: all are good; 1: one is not; 2: usage; 3: good but for damage that a record accepts.\n"

/* Good but for damage that a record accepts: neither 0, which would forget it, nor 1, which would hide another one. */
#define AUDIT_ACCEPTED 3

static bool progress_shown;

/* Show on the terminal how far it is. */
static void
audit_progress(const char *file, uint64_t records)
{
	fprintf(stderr, "\r\033[K%s: %" PRIu64 " records", file, records);
	fflush(stderr);
	progress_shown = true;
}

/* Clear the line that audit_progress wrote. */
static void
audit_progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

/* Print what a good journal has that its reader should know. */
static void
audit_print_notes(const char *directory, const struct journal_verdict *v)
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
}

/* Check one directory and print the verdict; the exit code. */
static int
audit_verify(const char *directory)
{
	struct journal_verdict v;

	journal_verify(str_from(directory), isatty(STDERR_FILENO) ? audit_progress : NULL, &v);
	audit_progress_end();
	if (!v.ok) {
		printf("%s: FAILED at %s: %s (%" PRIu64 " records in %" PRIu64 " files read)\n", directory, v.where,
		    v.what, v.records, v.files);
		return 1;
	}
	printf("%s: ok, %" PRIu64 " records in %" PRIu64 " files, seq %" PRIu64 " to %" PRIu64 "\n", directory,
	    v.records, v.files, v.first_seq, v.last_seq);
	audit_print_notes(directory, &v);
	return v.accepted ? AUDIT_ACCEPTED : 0;
}

int
command_audit(int argc, char **argv)
{
	int code = 0;

	if (argc >= 2 && strcmp(argv[1], "search") == 0)
		return audit_search(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "accept") == 0)
		return audit_accept(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "digest") == 0)
		return audit_digest(argc - 1, argv + 1);
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || (argc >= 3 && strcmp(argv[2], "--help") == 0))) {
		fputs(AUDIT_USAGE, stdout);
		return 0;
	}
	if (argc < 3 || strcmp(argv[1], "verify") != 0 || argv[2][0] == '-') {
		fputs(AUDIT_USAGE, stderr);
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		int one = audit_verify(argv[i]);

		code = code == 1 || one == 0 ? code : one;	/* what nobody has accepted outweighs what somebody has */
	}
	return fflush(stdout) == 0 ? code : 1;
}
