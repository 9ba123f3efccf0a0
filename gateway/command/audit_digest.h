/* `jobgate audit digest`: what records have as the digest of a body, to search by. */
#ifndef JOBGATE_COMMAND_AUDIT_DIGEST_H
#define JOBGATE_COMMAND_AUDIT_DIGEST_H

/* Arguments begin with "digest"; the body is standard input. Returns the exit code. */
int audit_digest(int argc, char **argv);

#endif
