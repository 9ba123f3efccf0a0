/* `jobgate audit search`: finds triggers in journals, live ones too. */
#ifndef JOBGATE_COMMAND_AUDIT_SEARCH_H
#define JOBGATE_COMMAND_AUDIT_SEARCH_H

/* ARGV[0] is "search"; the exit code. */
int audit_search(int argc, char **argv);

#endif
