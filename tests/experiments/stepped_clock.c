/*
 * Loaded before the C library (LD_PRELOAD): the wall clock is off by the seconds that the file named by STEPPED_CLOCK holds at
 * that moment. Monotonic clocks are left alone. (libfaketime does not get along with the memory allocator of Redis.)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* What the file says now; 0 where there is none. */
static long
seconds_off(void)
{
	static int fd = -1;
	const char *name = getenv("STEPPED_CLOCK");
	char text[24] = "";

	if (fd < 0 && name)
		fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtol(text, NULL, 10);
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += seconds_off();
	return result;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	now->tv_sec = ts.tv_sec;
	now->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *where)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (where)
		*where = ts.tv_sec;
	return ts.tv_sec;
}
