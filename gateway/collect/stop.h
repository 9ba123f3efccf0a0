/*
 * The end of the collector by SIGTERM or SIGINT. One in a process.
 *
 * What runs may finish within a second; then the process ends wherever it is (in a name server's answer, in a database
 * that hangs). That is safe, since rows and position are one transaction and all else is read again at the next start.
 */
#ifndef JOBGATE_COLLECT_STOP_H
#define JOBGATE_COLLECT_STOP_H

#include <stdbool.h>
#include <stdint.h>

/* Before anything that may block. */
void stop_arm(void);

bool stop_asked(void);

/* Wait so long, or until it is asked for. */
void stop_wait(int64_t us);

#endif
