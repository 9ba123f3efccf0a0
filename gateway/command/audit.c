/* `jobgate audit`: hands on to verify, search and digest. */
#include "command/command.h"

#include <stdio.h>
#include <string.h>

#include "command/audit_accept.h"
#include "command/audit_digest.h"
#include "command/audit_search.h"
#include "command/audit_verify.h"

#define AUDIT_USAGE \
	"usage: jobgate audit verify [--as-of TIME] DIR...\n" \
	"       jobgate audit search [OPTION]... DIR...   (jobgate audit search --help)\n" \
	"       jobgate audit accept DIR --record FILE:LINE --reason TEXT   (jobgate audit accept --help)\n" \
	"       jobgate audit digest [--config FILE] < BODY\n\n" \
	"verify checks every record of the audit journals in the directories: form, sequence, hash chain,\n" \
	"one outcome per intent; and that each journal still has what the anchors of the others have seen of\n" \
	"it. They are only read; gateways may be writing them. Copies that were taken one after another while\n" \
	"gateways wrote: with --as-of, the time when the copying began (2026-11-01T08:00:00Z, or so long ago:\n" \
	"15m), what an anchor has seen later may be missing at a journal's end.\n" \
	"Exit code 0: all are good; 1: one is not; 2: usage; 3: good but for damage that a record accepts.\n"

int
command_audit(int argc, char **argv)
{
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
	if (argc < 3 || strcmp(argv[1], "verify") != 0) {
		fputs(AUDIT_USAGE, stderr);
		return 2;
	}
	return audit_verify(argc - 1, argv + 1);
}
