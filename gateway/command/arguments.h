/*
 * The arguments of the commands that read a configuration: [--config FILE], and flags.
 */
#ifndef JOBGATE_COMMAND_ARGUMENTS_H
#define JOBGATE_COMMAND_ARGUMENTS_H

#include <stdbool.h>

enum arguments { ARGUMENTS_RUN, ARGUMENTS_HELP, ARGUMENTS_WRONG };

/* Whether FLAG was given; it is taken out of the arguments. For before arguments_config, which knows it not. */
bool arguments_flag(int *argc, char **argv, const char *flag);

/* FILE is what --config names, else the default. Prints USAGE where it was asked for (standard output) or is needed (standard error). */
enum arguments arguments_config(int argc, char **argv, const char *usage, const char **file);

#endif
