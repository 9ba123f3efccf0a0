/* The arguments of jobgate-collect. */
#ifndef JOBGATE_COLLECT_OPTIONS_H
#define JOBGATE_COLLECT_OPTIONS_H

#include <stdbool.h>

struct options {
	const char *database;		/* libpq's connection string; NULL: the environment says all */
	const char *taken;		/* NULL: collected.json in each directory */
	char **directories;		/* of the arguments */
	int directory_count;
	bool once;
};

enum options_are { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/* Read the arguments; help, version or what is wrong with them has been written. ARGV is reordered. */
enum options_are options_read(int argc, char **argv, struct options *options);

#endif
