/* Signals as events of one loop. */
#include "io/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

struct signals {
	int fd;
	struct loop_watch *watch;
	void (*on_signal)(void *arg, int number);
	void *arg;
};

/* The signals that are events. */
static sigset_t
signals_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return set;
}

void
signals_block(void)
{
	sigset_t set = signals_set();

	check(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	signal(SIGPIPE, SIG_IGN);	/* OpenSSL and libevent write without MSG_NOSIGNAL */
	signal(SIGXFSZ, SIG_IGN);	/* a file size limit is the journal's to report */
}

/* Read what has been signalled. */
static void
on_signalfd(void *arg)
{
	struct signals *signals = arg;
	struct signalfd_siginfo info;

	while (read(signals->fd, &info, sizeof(info)) == sizeof(info))
		signals->on_signal(signals->arg, (int)info.ssi_signo);
}

struct signals *
signals_new(struct loop *loop, void (*on_signal)(void *arg, int number), void *arg)
{
	struct signals *signals = calloc(1, sizeof(*signals));
	sigset_t set = signals_set();

	check(signals != NULL);
	signals->on_signal = on_signal;
	signals->arg = arg;
	signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	check(signals->fd >= 0);
	signals->watch = loop_watch_new(loop, signals->fd, on_signalfd, signals);
	return signals;
}

void
signals_free(struct signals **signals)
{
	if (*signals == NULL)
		return;
	loop_watch_free(&(*signals)->watch);
	close((*signals)->fd);
	free(*signals);
	*signals = NULL;
}
