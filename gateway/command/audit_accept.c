/* `jobgate audit accept`: goes on over damage in the middle of a journal, on purpose and on record. */
#include "command/audit_accept.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/journal.h"
#include "io/machine.h"
#include "rules/record.h"

#define ACCEPT_USAGE \
	"usage: jobgate audit accept DIR --record FILE:LINE --reason TEXT [--by NAME]\n\n" \
	"A journal that is damaged in the middle refuses the start of its gateway, and names file and line. Where you know\n" \
	"why, and that a copy cannot undo it, this accepts that one place: a record of kind `repair` says where it is, what\n" \
	"was wrong, the digest of the bytes, who has accepted it and why. The bytes stay as they are. From then on starts,\n" \
	"searches and the collector go on behind it; verify names it, with exit code 3. Anything else that is damaged, before\n" \
	"or later, is refused as ever.\n\n" \
	"No gateway may be running on DIR. As root it becomes DIR's owner. NAME is that of the user where absent.\n" \
	"Exit code 0: accepted; 1: not, and nothing was changed, or the journal cannot be opened; 2: usage.\n"

/* One file of the journal; what a commit makes of it is far below. */
#define ACCEPT_SEGMENT_BYTES (64 << 20)
#define ACCEPT_RING_RECORDS 64

struct accept_order {
	const char *directory;
	struct journal_accept accept;
};

/* Read "FILE:LINE", as the refusal shows it, with the directory or without. */
static bool
accept_place(const char *text, struct journal_accept *accept)
{
	const char *slash = strrchr(text, '/'), *name = slash ? slash + 1 : text, *colon = strrchr(name, ':');

	if (colon == NULL || colon == name || !str_to_u64(str_from(colon + 1), &accept->line) || accept->line == 0)
		return false;
	accept->file = (struct str){ name, (size_t)(colon - name) };
	return true;
}

/* Take the flag at *I and its value; false where it is none, or is wrong. */
static bool
accept_flag(struct accept_order *order, int argc, char **argv, int *i)
{
	const char *flag = argv[*i], *value = *i + 1 < argc ? argv[*i + 1] : NULL;

	if (value == NULL || *value == '\0')
		return false;
	++*i;
	if (strcmp(flag, "--record") == 0)
		return accept_place(value, &order->accept);
	if (strcmp(flag, "--reason") == 0)
		order->accept.reason = str_from(value);
	else if (strcmp(flag, "--by") == 0)
		order->accept.by = str_from(value);
	else
		return false;
	return true;
}

/* Who runs this, as far as the system knows; the text is the system's. */
static struct str
accept_user(void)
{
	static const char *const variables[] = { "SUDO_USER", "USER", "LOGNAME" };
	const struct passwd *user = getpwuid(getuid());

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		const char *name = getenv(variables[i]);

		if (name && *name)
			return str_from(name);
	}
	return user ? str_from(user->pw_name) : STR("a user without a name");
}

/* Read the arguments; false where they are not whole. */
static bool
accept_read(struct accept_order *order, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-' && order->directory == NULL)
			order->directory = argv[i];
		else if (!accept_flag(order, argc, argv, &i))
			return false;
	}
	if (order->accept.by.n == 0)
		order->accept.by = accept_user();
	return order->directory && order->accept.line > 0 && order->accept.reason.n > 0;
}

/* What is written must be the gateway's to write on: root becomes the directory's owner, anybody else must be it. */
static bool
accept_become_owner(const char *directory)
{
	struct stat st;

	if (stat(directory, &st) != 0) {
		fprintf(stderr, "%s: %s\n", directory, strerror(errno));
		return false;
	}
	if (geteuid() == st.st_uid)
		return true;
	if (geteuid() == 0 && setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0)
		return true;
	fprintf(stderr, "%s belongs to user %lu: run this as that user, or as root\n", directory, (unsigned long)st.st_uid);
	return false;
}

/* Open the journal over the damage, and close it. */
static bool
accept_run(const struct accept_order *order)
{
	struct buf name = BUF_EMPTY, error = BUF_EMPTY;
	struct journal_settings settings = { .directory = str_from(order->directory), .segment_bytes = ACCEPT_SEGMENT_BYTES,
		.ring_records = ACCEPT_RING_RECORDS, .make_unknown = record_unknown_from_intent, .accept = &order->accept };
	struct journal *journal;
	bool ok;

	log_set_level(LOG_ERROR);	/* what it has to say is printed */
	machine_host_name(&name);
	settings.instance = buf_str(&name);
	journal = journal_open(&settings, &error);
	ok = journal != NULL;
	journal_close(&journal);
	if (!ok)
		fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&error)));
	else
		printf("%s: accepted %.*s:%" PRIu64 "; `jobgate audit verify` names it from now on\n", order->directory,
		    STR_ARG(order->accept.file), order->accept.line);
	buf_fini(&name);
	buf_fini(&error);
	return ok;
}

int
audit_accept(int argc, char **argv)
{
	struct accept_order order = { .directory = NULL };

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(ACCEPT_USAGE, stdout);
		return 0;
	}
	if (!accept_read(&order, argc, argv)) {
		fputs(ACCEPT_USAGE, stderr);
		return 2;
	}
	return accept_become_owner(order.directory) && accept_run(&order) && fflush(stdout) == 0 ? 0 : 1;
}
