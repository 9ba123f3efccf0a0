/*
 * The subcommands: each reads its own arguments (argv[0] is its name) and returns the exit code:
 * 0, 1 (failed), 2 (usage or configuration).
 */
#ifndef JOBGATE_COMMAND_COMMAND_H
#define JOBGATE_COMMAND_COMMAND_H

#define COMMAND_CONFIG_DEFAULT "/etc/jobgate/jobgate.json"

int command_serve(int argc, char **argv);
int command_status(int argc, char **argv);
int command_check(int argc, char **argv);
int command_quota(int argc, char **argv);
int command_key(int argc, char **argv);
int command_audit(int argc, char **argv);

#endif
