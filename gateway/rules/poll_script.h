/*
 * The Redis script of kept answers, rules/poll.lua, put into the program by the build.
 *
 * The keys are PREFIX:polls:1:{RESOURCE}:KEY and PREFIX:polls:1:{RESOURCE}, in hexadecimal digits: 1 is the layout's version, and the
 * braces keep a resource in one slot. What is done (look, lease, sent, renew, release, put, change), with which arguments and answers, stands
 * in the script.
 */
#ifndef JOBGATE_RULES_POLL_SCRIPT_H
#define JOBGATE_RULES_POLL_SCRIPT_H

#define POLL_SCRIPT_LAYOUT "1"

extern const char poll_script_text[];
/* SHA-1 of the text, for EVALSHA. */
extern const char poll_script_sha1[];

#endif
