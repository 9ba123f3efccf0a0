/* The end of the collector by a signal. */
#include "collect/stop.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

/* What is under way may take so long; the promise is two seconds for all. */
#define STOP_GRACE_S 1

static volatile sig_atomic_t asked;
static int wake = -1;

/* SIGTERM, SIGINT. */
static void
on_stop(int number)
{
	uint64_t one = 1;

	(void)number;
	if (!asked)
		alarm(STOP_GRACE_S);
	asked = 1;
	if (write(wake, &one, sizeof(one)) < 0)
		return;		/* it is full of wake-ups already */
}

/* SIGALRM: whatever is under way does not end by itself. */
static void
on_overdue(int number)
{
	(void)number;
	_exit(0);
}

void
stop_arm(void)
{
	struct sigaction stop = { .sa_handler = on_stop }, overdue = { .sa_handler = on_overdue };

	wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	check(wake >= 0);
	check(sigaction(SIGALRM, &overdue, NULL) == 0);
	check(sigaction(SIGTERM, &stop, NULL) == 0 && sigaction(SIGINT, &stop, NULL) == 0);
	signal(SIGPIPE, SIG_IGN);	/* a database that closes is an answer of libpq's */
}

bool
stop_asked(void)
{
	return asked != 0;
}

void
stop_wait(int64_t us)
{
	struct pollfd fd = { .fd = wake, .events = POLLIN };

	poll(&fd, 1, (int)((us + CLOCK_MS - 1) / CLOCK_MS));
}
