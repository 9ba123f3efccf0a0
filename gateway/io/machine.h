/* What machine this is, and what its supervisor is told. */
#ifndef JOBGATE_IO_MACHINE_H
#define JOBGATE_IO_MACHINE_H

#include "base/buf.h"

/* Cores this process may use: its affinity, or the cgroup's quota rounded up where that is less. At least 1. */
int machine_cores(void);

/* The host name. */
void machine_host_name(struct buf *out);

/* Raise the limit of open descriptors to the hard one; returns it. */
int64_t machine_raise_descriptors(void);

/* Leave no memory image behind after a crash: it would hold keys and tokens. */
void machine_forbid_core(void);

/* Tell systemd ("READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=..."); nothing without NOTIFY_SOCKET (sd_notify(3)). */
void machine_notify(const char *state);

#endif
