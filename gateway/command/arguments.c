/* The arguments of the commands that read a configuration. */
#include "command/arguments.h"

#include <stdio.h>
#include <string.h>

#include "command/command.h"

bool
arguments_flag(int *argc, char **argv, const char *flag)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], flag) != 0)
			argv[kept++] = argv[i];
	if (kept == *argc)
		return false;
	*argc = kept;
	return true;
}

enum arguments
arguments_config(int argc, char **argv, const char *usage, const char **file)
{
	*file = COMMAND_CONFIG_DEFAULT;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(usage, stdout);
			return ARGUMENTS_HELP;
		}
		if (strncmp(argv[i], "--config=", 9) == 0 && argv[i][9] != '\0') {
			*file = argv[i] + 9;
		} else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
			*file = argv[++i];
		} else {
			fputs(usage, stderr);
			return ARGUMENTS_WRONG;
		}
	}
	return ARGUMENTS_RUN;
}
