/*
 * The arguments of the commands that read a configuration: [--config FILE].
 */
#ifndef JOBGATE_COMMAND_ARGUMENTS_H
#define JOBGATE_COMMAND_ARGUMENTS_H

enum arguments { ARGUMENTS_RUN, ARGUMENTS_HELP, ARGUMENTS_WRONG };

/* FILE is what --config names, else the default. Prints USAGE where it was asked for (standard output) or is needed (standard error). */
enum arguments arguments_config(int argc, char **argv, const char *usage, const char **file);

#endif
