/*
 * Names to addresses by getaddrinfo in threads of their own.
 *
 * An ask:  resolver_ask ─► WAITING (in its name's list) ─► POSTED (a mail of its loop) ─► ANSWERED ─► freed by resolver_cancel
 *          numeric, or a good answer is known: POSTED at once.
 * Cancelled while WAITING it is freed at once, while POSTED by its mail, which finds it cancelled.
 */
#include "io/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* How long an answer is believed: getaddrinfo tells no TTL; cloud front ends publish 30 to 60 s. */
#define RESOLVER_TTL_US (30 * CLOCK_SECOND)

/* After a failed refresh the old answer serves on, and the next attempt waits so long. */
#define RESOLVER_RETRY_US (5 * CLOCK_SECOND)

/* A failure without an older answer is repeated to all who ask within this time: no storm of threads. */
#define RESOLVER_FAILED_US CLOCK_SECOND

enum resolver_ask_state { ASK_WAITING, ASK_POSTED, ASK_ANSWERED };

struct resolver_ask {
	struct mail mail;		/* first: the mail is the ask */
	struct resolver *resolver;
	struct loop *loop;
	void (*on_answer)(void *arg, const struct resolver_answer *answer);
	void *arg;
	uint16_t port;
	enum resolver_ask_state state;	/* guarded by the resolver's lock */
	bool cancelled;			/* the loop's thread alone */
	struct resolver_name *name;	/* NULL where the host is numeric */
	struct resolver_ask *next;	/* in the name's list; guarded by the lock */
	struct resolver_answer answer;	/* complete before it is posted */
};

/* A name that was asked for: names come from the configuration, so they are few and kept. */
struct resolver_name {
	struct resolver_name *next;
	char *host;			/* owned */
	bool looking;			/* a thread is at it */
	struct resolver_answer last;	/* the last good answer (ports not set), or a failure where there was none yet */
	struct mono_time until;		/* how long LAST is believed; 0 before the first answer */
	struct resolver_ask *asks;	/* waiting for the first answer */
};

struct resolver {
	pthread_mutex_t lock;		/* guards all below; held for short copies only */
	size_t holders;			/* the handle and each thread; the last one frees */
	struct resolver_name *names;
};

/* What a lookup thread is handed; it owns it. */
struct resolver_lookup {
	struct resolver *resolver;
	struct resolver_name *name;	/* lives as long as the resolver */
};

/* Give up a hold, with the lock held; unlocks, and frees what nobody holds. */
static void
resolver_release(struct resolver *resolver)
{
	size_t holders = --resolver->holders;

	pthread_mutex_unlock(&resolver->lock);
	if (holders > 0)
		return;
	for (struct resolver_name *name = resolver->names, *next; name; name = next) {
		next = name->next;
		free(name->host);
		free(name);
	}
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

struct resolver *
resolver_new(void)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	check(resolver != NULL);
	pthread_mutex_init(&resolver->lock, NULL);
	resolver->holders = 1;
	return resolver;
}

void
resolver_free(struct resolver **resolver_p)
{
	struct resolver *resolver = *resolver_p;

	if (resolver == NULL)
		return;
	*resolver_p = NULL;
	pthread_mutex_lock(&resolver->lock);
	for (struct resolver_name *name = resolver->names; name; name = name->next)
		check(name->asks == NULL);
	resolver_release(resolver);
}

/* Whether ANSWER has ADDRESS already: hosts files name some twice. */
static bool
resolver_answer_has(const struct resolver_answer *answer, const struct sockaddr *address, socklen_t n)
{
	for (size_t i = 0; i < answer->count; i++)
		if (answer->lengths[i] == n && memcmp(&answer->addresses[i], address, n) == 0)
			return true;
	return false;
}

/* Look HOST up; blocks unless FLAGS has AI_NUMERICHOST. */
static void
resolver_look_up(const char *host, int flags, struct resolver_answer *answer)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *list = NULL;

	memset(answer, 0, sizeof(*answer));
	answer->error = getaddrinfo(host, NULL, &hints, &list);
	if (answer->error != 0)
		return;
	for (struct addrinfo *a = list; a && answer->count < RESOLVER_ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
			continue;
		if (resolver_answer_has(answer, a->ai_addr, a->ai_addrlen))
			continue;
		memcpy(&answer->addresses[answer->count], a->ai_addr, a->ai_addrlen);
		answer->lengths[answer->count++] = a->ai_addrlen;
	}
	freeaddrinfo(list);
	if (answer->count == 0)
		answer->error = EAI_NONAME;
}

/* Put PORT into all addresses. */
static void
resolver_answer_set_port(struct resolver_answer *answer, uint16_t port)
{
	for (size_t i = 0; i < answer->count; i++) {
		if (answer->addresses[i].ss_family == AF_INET6)
			((struct sockaddr_in6 *)&answer->addresses[i])->sin6_port = htons(port);
		else
			((struct sockaddr_in *)&answer->addresses[i])->sin_port = htons(port);
	}
}

/* An ask's mail arrived at its loop. */
static void
on_ask_mail(struct mail *mail)
{
	struct resolver_ask *ask = (struct resolver_ask *)mail;
	struct resolver_answer answer;

	if (ask->cancelled) {
		free(ask);
		return;
	}
	ask->state = ASK_ANSWERED;
	answer = ask->answer;	/* the asker may free the ask while it reads */
	ask->on_answer(ask->arg, &answer);
}

/* Hand ANSWER to the ask's loop; the lock is held where the ask was waiting. */
static void
resolver_ask_post(struct resolver_ask *ask, const struct resolver_answer *answer)
{
	ask->answer = *answer;
	resolver_answer_set_port(&ask->answer, ask->port);
	ask->state = ASK_POSTED;
	loop_post(ask->loop, &ask->mail);
}

/* Keep what a lookup found and answer all who wait; the lock is held. */
static void
resolver_name_learn(struct resolver_name *name, const struct resolver_answer *answer)
{
	struct mono_time now = clock_now_mono();

	name->looking = false;
	if (answer->error == 0) {
		name->last = *answer;
		name->until = mono_add(now, RESOLVER_TTL_US);
	} else if (name->last.count > 0) {
		name->until = mono_add(now, RESOLVER_RETRY_US);
	} else {
		name->last = *answer;
		name->until = mono_add(now, RESOLVER_FAILED_US);
	}
	while (name->asks) {
		struct resolver_ask *ask = name->asks;

		name->asks = ask->next;
		resolver_ask_post(ask, &name->last);
	}
}

/* A lookup thread: one name, once. */
static void *
resolver_lookup_main(void *arg)
{
	struct resolver_lookup lookup = *(struct resolver_lookup *)arg;
	struct resolver_answer answer;

	free(arg);
	resolver_look_up(lookup.name->host, 0, &answer);	/* the host never changes: no lock is needed to read it */
	pthread_mutex_lock(&lookup.resolver->lock);
	resolver_name_learn(lookup.name, &answer);
	resolver_release(lookup.resolver);
	return NULL;
}

/* Start a thread that looks NAME up; the lock is held. */
static void
resolver_name_look(struct resolver *resolver, struct resolver_name *name)
{
	struct resolver_lookup *lookup = malloc(sizeof(*lookup));
	struct resolver_answer none = { .error = EAI_AGAIN };
	pthread_attr_t attr;
	pthread_t thread;

	check(lookup != NULL);
	*lookup = (struct resolver_lookup){ resolver, name };
	name->looking = true;
	resolver->holders++;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, resolver_lookup_main, lookup) != 0) {
		free(lookup);
		resolver->holders--;
		resolver_name_learn(name, &none);
	}
	pthread_attr_destroy(&attr);
}

/* The entry of HOST, made where it is new; the lock is held. */
static struct resolver_name *
resolver_name_get(struct resolver *resolver, const char *host)
{
	struct resolver_name *name;

	for (name = resolver->names; name; name = name->next)
		if (strcmp(name->host, host) == 0)
			return name;
	name = calloc(1, sizeof(*name));
	check(name != NULL);
	name->host = strdup(host);
	check(name->host != NULL);
	name->next = resolver->names;
	resolver->names = name;
	return name;
}

/* Answer from what is known, or let the ask wait; refresh what is old. The lock is held. */
static void
resolver_ask_name(struct resolver_ask *ask, struct resolver_name *name)
{
	bool believed = mono_since(name->until, clock_now_mono()) > 0;

	ask->name = name;
	if (name->last.count > 0 || believed) {
		resolver_ask_post(ask, &name->last);
	} else {
		struct resolver_ask **tail = &name->asks;

		while (*tail)
			tail = &(*tail)->next;
		*tail = ask;
	}
	if (!believed && !name->looking)
		resolver_name_look(ask->resolver, name);
}

struct resolver_ask *
resolver_ask(struct resolver *resolver, struct loop *loop, const char *host, uint16_t port,
    void (*on_answer)(void *arg, const struct resolver_answer *answer), void *arg)
{
	struct resolver_ask *ask = calloc(1, sizeof(*ask));
	struct resolver_answer answer;

	check(ask != NULL);
	ask->mail.run = on_ask_mail;
	ask->resolver = resolver;
	ask->loop = loop;
	ask->port = port;
	ask->on_answer = on_answer;
	ask->arg = arg;
	resolver_look_up(host, AI_NUMERICHOST, &answer);
	if (answer.error == 0) {
		resolver_ask_post(ask, &answer);
		return ask;
	}
	pthread_mutex_lock(&resolver->lock);
	resolver_ask_name(ask, resolver_name_get(resolver, host));
	pthread_mutex_unlock(&resolver->lock);
	return ask;
}

/* Take a waiting ask out of its name's list; the lock is held. */
static void
resolver_ask_unlink(struct resolver_ask *ask)
{
	struct resolver_ask **at = &ask->name->asks;

	while (*at != ask)
		at = &(*at)->next;
	*at = ask->next;
}

void
resolver_cancel(struct resolver_ask **ask_p)
{
	struct resolver_ask *ask = *ask_p;
	enum resolver_ask_state state;

	if (ask == NULL)
		return;
	*ask_p = NULL;
	pthread_mutex_lock(&ask->resolver->lock);
	state = ask->state;
	if (state == ASK_WAITING)
		resolver_ask_unlink(ask);
	pthread_mutex_unlock(&ask->resolver->lock);
	if (state == ASK_POSTED)
		ask->cancelled = true;
	else
		free(ask);
}
