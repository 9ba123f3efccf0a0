/* The arguments of jobgate-collect. */
#include "collect/options.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define OPTIONS_USAGE \
	"usage: jobgate-collect [OPTION]... --directory DIR...\n" \
	"Follow the audit journals in the directories, while their gateways write them, into a PostgreSQL\n" \
	"database that deploy/collect.sql has prepared: each record once, whatever ends in between.\n\n" \
	"  --directory DIR     a journal's directory (audit.directory); several are followed together\n" \
	"  --database CONNINFO libpq's connection string or URI; what it does not say is taken from the\n" \
	"                      environment (PGHOST, PGDATABASE, PGSERVICE, PGPASSFILE, ...). It is no place\n" \
	"                      for a password: use a password file\n" \
	"  --taken FILE        say there how far the (only) directory is collected, for audit.retention\n" \
	"                      (default: collected.json in each directory)\n" \
	"  --once              end when all that is there is collected, and at once where that cannot be\n" \
	"  --log LEVEL         error, warn, info (default), debug\n" \
	"  --help  --version\n\n" \
	"Exit code 0: ended by a signal, or --once and all is collected; 1: no directory can be collected\n" \
	"any further (--once: one cannot, or the database); 2: usage.\n"

/* Say what is wrong. */
static enum options_are
options_wrong(const char *what, const char *why)
{
	fprintf(stderr, "jobgate-collect: %s: %s\n\n" OPTIONS_USAGE, what, why);
	return OPTIONS_WRONG;
}

/*
 * Whether TEXT is a connection string that holds no secret: arguments are there for everybody to read. Its text is not
 * repeated.
 */
static const char *
database_fault(const char *text)
{
	PQconninfoOption *parsed = PQconninfoParse(text, NULL), *option;
	const char *fault = NULL, *word;

	if (parsed == NULL)
		return "is no connection string of libpq: key=value pairs, or a postgresql:// URI";
	for (option = parsed; (word = option->keyword) != NULL; option++)
		if (option->val && (strcmp(word, "password") == 0 || strcmp(word, "sslpassword") == 0))
			fault = "holds a password, which every user of this machine can read: "
			    "use PGPASSFILE or a service file";
	PQconninfoFree(parsed);
	return fault;
}

/* Take OPTION with its VALUE; NULL or what is wrong. */
static const char *
options_value(struct options *options, const char *option, char *value)
{
	enum log_level level;

	if (value == NULL || *value == '\0')
		return "needs a value";
	if (strcmp(option, "--directory") == 0) {
		options->directories[options->directory_count++] = value;
	} else if (strcmp(option, "--taken") == 0) {
		options->taken = value;
	} else if (strcmp(option, "--database") == 0) {
		options->database = value;
		return database_fault(value);
	} else {
		if (!log_level_from(str_from(value), &level))
			return "must be error, warn, info or debug";
		log_set_level(level);
	}
	return NULL;
}

/* The option that ARGUMENT is, alone or in front of '='; NULL where it is none that has a value. */
static const char *
options_name(const char *argument)
{
	static const char *const names[] = { "--directory", "--taken", "--database", "--log" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (strncmp(argument, names[i], n) == 0 && (argument[n] == '\0' || argument[n] == '='))
			return names[i];
	}
	return NULL;
}

/* Take the argument at *I, and the value behind it; OPTIONS_RUN: go on. */
static enum options_are
options_argument(struct options *options, int argc, char **argv, int *i)
{
	char *argument = argv[*i], *value = NULL;
	const char *name, *fault;

	if (argument[0] != '-') {
		options->directories[options->directory_count++] = argument;
		return OPTIONS_RUN;
	}
	if (strcmp(argument, "--once") == 0) {
		options->once = true;
		return OPTIONS_RUN;
	}
	name = options_name(argument);
	if (name == NULL)
		return options_wrong(argument, "there is no such option");
	if (argument[strlen(name)] == '=')
		value = argument + strlen(name) + 1;
	else if (*i + 1 < argc)
		value = argv[++*i];
	fault = options_value(options, name, value);
	return fault ? options_wrong(name, fault) : OPTIONS_RUN;
}

enum options_are
options_read(int argc, char **argv, struct options *options)
{
	enum options_are are = OPTIONS_RUN;

	*options = (struct options){ .directories = argv };
	for (int i = 1; i < argc && are == OPTIONS_RUN; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(OPTIONS_USAGE, stdout);
			return OPTIONS_DONE;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("jobgate-collect %s\n", JOBGATE_VERSION);
			return OPTIONS_DONE;
		}
		are = options_argument(options, argc, argv, &i);
	}
	if (are == OPTIONS_RUN && options->directory_count == 0)
		return options_wrong("--directory", "is missing");
	if (are == OPTIONS_RUN && options->taken && options->directory_count > 1)
		return options_wrong("--taken", "is for one directory: each journal has a position of its own");
	return are;
}
