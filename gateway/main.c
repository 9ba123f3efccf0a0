/* jobgate: the program's arguments; each subcommand is a file of command/. */
#include <stdio.h>
#include <string.h>

#include "command/command.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "serve", command_serve, "run the gateway" },
	{ "status", command_status, "ask a running gateway how it stands" },
	{ "check", command_check, "check a configuration and what it names" },
	{ "quota", command_quota, "show what the stated quotas permit" },
	{ "key", command_key, "make a caller's key" },
	{ "audit", command_audit, "verify audit journals" },
};

/* Print what there is. */
static int
main_usage(FILE *out, int code)
{
	fprintf(out, "usage: jobgate COMMAND [ARGUMENTS]\n\n"
	    "A gateway in front of the Microsoft Fabric Job Scheduler API.\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\njobgate COMMAND --help tells more; jobgate --version prints the version.\n"
	    "Exit codes: 0, 1 (failed), 2 (usage or configuration).\n");
	return code;
}

int
main(int argc, char **argv)
{
	if (argc < 2)
		return main_usage(stderr, 2);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return main_usage(stdout, 0);
	if (strcmp(argv[1], "--version") == 0) {
		printf("jobgate %s\n", JOBGATE_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "jobgate: there is no command \"%s\"\n\n", argv[1]);
	return main_usage(stderr, 2);
}
