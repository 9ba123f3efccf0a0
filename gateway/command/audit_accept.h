/* `jobgate audit accept`: goes on over damage in the middle of a journal, on purpose and on record. */
#ifndef JOBGATE_COMMAND_AUDIT_ACCEPT_H
#define JOBGATE_COMMAND_AUDIT_ACCEPT_H

/* Arguments begin with "accept". Returns the exit code. */
int audit_accept(int argc, char **argv);

#endif
