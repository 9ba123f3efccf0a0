/* `jobgate audit verify`; argv[0] is its name. */
#ifndef JOBGATE_COMMAND_AUDIT_VERIFY_H
#define JOBGATE_COMMAND_AUDIT_VERIFY_H

int audit_verify(int argc, char **argv);

#endif
