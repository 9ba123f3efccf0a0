/*
 * The file that says how far a journal is in the database: {"journal":"UUID","seq":N}. The gateway's audit.retention
 * deletes nothing above it.
 */
#ifndef JOBGATE_COLLECT_TAKEN_H
#define JOBGATE_COLLECT_TAKEN_H

#include <stdbool.h>
#include <stdint.h>

#define TAKEN_NAME "collected.json"

/* Write it to PATH, or (NULL) as TAKEN_NAME into DIRFD: whole and durable, or not at all. False with errno. */
bool taken_write(const char *path, int dirfd, const char *uuid, uint64_t seq);

#endif
