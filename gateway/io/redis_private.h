/* For redis*.c alone: the connection's state, shared by its life (redis.c) and its opening (redis_open.c, redis_greet.c). */
#ifndef JOBGATE_IO_REDIS_PRIVATE_H
#define JOBGATE_IO_REDIS_PRIVATE_H

#include <sys/stat.h>

#include "base/arena.h"
#include "io/redis.h"
#include "io/redis_reply.h"
#include "io/tls.h"

#define REDIS_MAGIC 0x72656469u
#define REDIS_PENDING_MAX 1024			/* the header's promise; a power of two for the ring */

struct bufferevent;
struct event;

enum redis_state { REDIS_WAITING, REDIS_RESOLVING, REDIS_CONNECTING, REDIS_GREETING, REDIS_UP };

struct redis_pending {
	void (*on_reply)(void *arg, const struct redis_reply *reply);
	void *arg;
	struct mono_time due;
};

struct redis {
	uint32_t magic;
	struct loop *loop;
	struct resolver *resolver;
	struct arena arena;		/* owns the texts of the settings */
	struct redis_settings settings;	/* without user and password, which are here: */
	struct buf username, password;	/* owned, wiped */
	void (*on_state)(void *arg, bool up, const char *why);
	void *arg;

	enum redis_state state;
	bool told, told_up;		/* what on_state was told last */
	struct mono_time up_since;
	int64_t backoff_us;

	/* The present attempt. */
	struct buf host;		/* whom we resolve and connect to, ends in NUL */
	uint16_t port;
	bool asking;			/* that is a Sentinel */
	bool introduced;		/* it demanded a password and got ours */
	size_t sentinel, asked;		/* which is asked, and how many were in this attempt */
	struct resolver_answer answer;
	size_t tried;			/* how many of its addresses were tried */
	struct resolver_ask *ask;
	int fd;				/* connecting; later the bufferevent's, and -1 here */
	struct event *connecting;
	struct bufferevent *bev;
	void *ssl;			/* the bufferevent's, where TLS */
	struct redis_parser *parser;

	struct tls_client *tls;
	struct stat tls_file;		/* of the ca_file, as it was read */
	struct loop_timer timer;	/* back-off, set-up, the oldest command's time-out, or the next PING, by state */
	struct loop_hook write_hook;	/* writes what a turn has sent, on plain connections */
	struct redis_pending pending[REDIS_PENDING_MAX];	/* ring, in the order sent */
	size_t pending_first, pending_count;
	unsigned busy;			/* callbacks of ours on the stack */
	bool dead;			/* freed within one of them */
};

/* redis.c */

/* Every callback stands between these two; whoever let the connection go within one finds it gone after the last. */
struct redis *redis_enter(void *arg);
void redis_leave(struct redis *redis);
/* Close whatever the attempt has open. */
void redis_close(struct redis *redis);
/* Answer all that is under way with REDIS_LOST. */
void redis_drop_pending(struct redis *redis, struct str why);
/* Close, fail what is under way, tell, and try again after the back-off. */
void redis_lose(struct redis *redis, const char *why);
/* Greeted as it should be: commands may come. */
void redis_rise(struct redis *redis);
/* Format a command, queue its bytes and its completion; false where 1024 are under way. */
bool redis_send(struct redis *redis, const struct str *arguments, size_t count,
    void (*on_reply)(void *arg, const struct redis_reply *reply), void *arg);
/* An answer that does not matter. */
void redis_on_indifferent(void *arg, const struct redis_reply *reply);
/* Bytes came: answer what is whole. */
void redis_on_read(struct bufferevent *bev, void *arg);

/* redis_open.c */

/* Begin an attempt. */
void redis_open(struct redis *redis);
/* Go for HOST, which may lie in what is closed now. */
void redis_aim(struct redis *redis, struct str host, uint16_t port, bool asking);
/* What we connect to will not do: the next address, the next Sentinel, or the attempt has failed. */
void redis_miss(struct redis *redis, const char *why);

/* redis_greet.c */

/* Connected: say who we are, all in one write; or ask where the primary is. */
void redis_greet(struct redis *redis);

#endif
