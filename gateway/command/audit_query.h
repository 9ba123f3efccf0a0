/* What `jobgate audit search` is asked for. */
#ifndef JOBGATE_COMMAND_AUDIT_QUERY_H
#define JOBGATE_COMMAND_AUDIT_QUERY_H

#include "command/arguments.h"
#include "rules/audit_text.h"

struct audit_query {
	struct audit_filter filter;	/* slices of the arguments */
	enum audit_format format;
	bool follow;
	char **directories;		/* of the arguments */
	int directory_count;
};

/* Read the arguments; what is wrong with them, or the help, has been written. */
enum arguments audit_query_read(int argc, char **argv, struct audit_query *query);

/* Read a date, a date-time, or how long ago ("30d"); false where TEXT is none. */
bool audit_query_time(struct str text, struct wall_time *out);

#endif
