/* What machine this is, and what its supervisor is told. */
#include "io/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The cgroup's quota in whole cores, rounded up; 0 where there is none (cgroup v2, cpu.max). */
static int
machine_cgroup_cores(void)
{
	long long quota, period;
	FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
	int fields;

	if (f == NULL)
		return 0;
	fields = fscanf(f, "%lld %lld", &quota, &period);	/* "max 100000" where there is no quota */
	fclose(f);
	if (fields != 2 || quota <= 0 || period <= 0)
		return 0;
	return (int)((quota + period - 1) / period);
}

int
machine_cores(void)
{
	int cores = 1, limit = machine_cgroup_cores();
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cores = CPU_COUNT(&set);
	return limit > 0 && limit < cores ? limit : cores;
}

void
machine_host_name(struct buf *out)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
		strcpy(name, "localhost");
	buf_add_z(out, name);
}

int64_t
machine_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return (int64_t)limit.rlim_cur;
}

void
machine_forbid_core(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__	/* whose leak check has to trace itself */
	prctl(PR_SET_DUMPABLE, 0);
#endif
}

void
machine_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n < 2 || n >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(address.sun_path, path, n);
	if (path[0] == '@')
		address.sun_path[0] = '\0';	/* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}
