/* The Redis connection against a real server, and against a stub that does everything wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/check.h"
#include "io/redis.h"
#include "redis_server.h"

/* --- the client side: a loop, what was told, what was answered --- */

static struct loop *loop;
static struct resolver *resolver;
static struct redis *redis;
static int ups, downs, answers, lost, errors;
static char why_down[256], last_string[256];
static int64_t last_integer;
static bool (*enough)(void);

/* Stop the loop once the condition that the test waits for holds. */
static void
on_progress(void)
{
	if (enough && enough())
		loop_stop(loop);
}

static void
on_state(void *arg, bool up, const char *why)
{
	assert_ptr_equal(arg, &ups);
	ups += up;
	downs += !up;
	if (!up)
		snprintf(why_down, sizeof(why_down), "%s", why);
	on_progress();
}

static void
on_reply(void *arg, const struct redis_reply *reply)
{
	assert_ptr_equal(arg, &answers);
	answers++;
	lost += reply->kind == REDIS_LOST;
	errors += reply->kind == REDIS_ERROR;
	last_integer = reply->integer;
	snprintf(last_string, sizeof(last_string), "%.*s", STR_ARG(reply->string));
	on_progress();
}

static void
on_too_long(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* Run the loop until CONDITION holds; it must within ten seconds. */
static void
run_until(bool (*condition)(void))
{
	struct loop_timer timer;

	enough = condition;
	loop_timer_init(&timer, loop, on_too_long, NULL);
	loop_timer_at(&timer, mono_add(loop_now(loop), 10 * CLOCK_SECOND));
	if (!condition())
		loop_run(loop);
	loop_timer_fini(&timer);
	enough = NULL;
	assert_true(condition());
}

static bool is_up(void) { return ups > 0 && redis_is_up(redis); }
static bool is_up_twice(void) { return ups > 1 && redis_is_up(redis); }
static bool is_down(void) { return downs > 0; }
static bool is_answered(void) { return answers > 0; }
static bool are_all_answered(void) { return answers >= 1024; }

static void
client_open(uint16_t port, int db, const char *user, const char *password)
{
	struct redis_settings settings = { .host = STR("127.0.0.1"), .port = port, .db = db, .username = str_from(user),
		.password = str_from(password), .timeout_us = 200 * CLOCK_MS };

	ups = downs = answers = lost = errors = 0;
	why_down[0] = last_string[0] = '\0';
	loop = loop_new();
	resolver = resolver_new();
	redis = redis_new(loop, resolver, &settings, on_state, &ups);
}

static void
client_close(void)
{
	redis_free(&redis);
	assert_null(redis);
	resolver_free(&resolver);
	loop_free(&loop);
}

static bool
command(const char *a, const char *b, const char *c)
{
	struct str words[3] = { str_from(a), str_from(b), str_from(c) };

	return redis_command(redis, words, c ? 3 : b ? 2 : 1, on_reply, &answers);
}

/* --- real server --- */

static void
test_real(void **state)
{
	struct redis_server server = { 0 };
	struct str words[2469];
	int fd;
	char text[4096];

	(void)state;
	redis_server_start(&server);
	client_open(server.port, 3, NULL, NULL);
	assert_false(command("PING", NULL, NULL));	/* not up yet: nothing sent, no completion */
	run_until(is_up);
	assert_true(command("INCR", "n", NULL));
	assert_int_equal(answers, 0);			/* never inside redis_command */
	run_until(is_answered);
	assert_int_equal(last_integer, 1);
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "CLIENT", "LIST");
	assert_non_null(strstr(text, "name=jobgate"));
	assert_non_null(strstr(text, "db=3"));
	close(fd);
	answers = 0;
	for (int i = 0; i < 1024; i++)
		assert_true(command("INCR", "n", NULL));
	assert_false(command("INCR", "n", NULL));	/* the bound */
	run_until(are_all_answered);
	assert_int_equal(last_integer, 1025);		/* in order */
	assert_int_equal(lost, 0);
	/* A member that tells all it has taken by the bucket's script sends some two and a half thousand. */
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] = i < 3 ? (struct str[]){ STR("EVAL"), STR("return #ARGV"), STR("0") }[i] : STR("1");
	answers = 0;
	assert_true(redis_command(redis, words, sizeof(words) / sizeof(words[0]), on_reply, &answers));
	run_until(is_answered);
	assert_int_equal(last_integer, sizeof(words) / sizeof(words[0]) - 3);
	client_close();
	redis_server_stop(&server);
}

/* kill -9: what is under way is lost at once, the owner is told once, and it comes back by itself. */
static void
test_killed_and_back(void **state)
{
	struct redis_server server = { 0 };

	(void)state;
	redis_server_start(&server);
	client_open(server.port, 0, NULL, NULL);
	run_until(is_up);
	kill(server.pid, SIGSTOP);
	assert_true(command("PING", NULL, NULL));
	assert_true(command("PING", NULL, NULL));
	run_until(is_down);		/* the time-out */
	assert_string_equal(why_down, "no answer in time");
	assert_int_equal(lost, 2);
	redis_server_stop(&server);
	redis_server_start(&server);
	run_until(is_up_twice);
	assert_int_equal(downs, 1);
	answers = 0;
	assert_true(command("PING", NULL, NULL));
	run_until(is_answered);
	assert_string_equal(last_string, "PONG");
	client_close();
	redis_server_stop(&server);
}

static void
test_password(void **state)
{
	static const struct { const char *user, *password; bool good; } cases[] = {
		{ NULL, "secret word", true }, { "default", "secret word", true }, { NULL, "wrong", false },
		{ "nobody", "secret word", false }, { NULL, NULL, false },
	};
	struct redis_server server = { 0 };

	(void)state;
	redis_server_start_with(&server, "--requirepass", "secret word");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		client_open(server.port, 0, cases[i].user, cases[i].password);
		run_until(cases[i].good ? is_up : is_down);
		assert_int_equal(ups, cases[i].good);
		if (!cases[i].good)
			assert_true(strstr(why_down, "WRONGPASS") || strstr(why_down, "NOAUTH"));
		client_close();
	}
	redis_server_stop(&server);
}

/* Only a primary will do, and one that becomes a replica under us is left. */
static void
test_replica(void **state)
{
	struct redis_server server = { 0 };
	char text[256];
	int fd;

	(void)state;
	redis_server_start(&server);
	client_open(server.port, 0, NULL, NULL);
	run_until(is_up);
	fd = loopback_connect(server.port);
	redis_ask(fd, text, "REPLICAOF", "127.0.0.1", "9");
	assert_string_equal(text, "+OK");
	assert_true(command("SET", "a", "b"));
	run_until(is_down);
	assert_int_equal(errors, 1);
	assert_non_null(strstr(why_down, "READONLY"));
	client_close();
	client_open(server.port, 0, NULL, NULL);
	run_until(is_down);
	assert_non_null(strstr(why_down, "not a primary"));
	redis_ask(fd, text, "REPLICAOF", "NO", "ONE");
	run_until(is_up);
	close(fd);
	client_close();
	redis_server_stop(&server);
}

/* --- the stub --- */

struct stub_case {
	const char *name;
	const char *greeting;		/* to CLIENT and ROLE, NULL: nothing */
	const char *answer;		/* to the first command after them; NULL: nothing */
	bool reset, flood;		/* then reset the connection; or send zeros without end */
	const char *why;		/* what the owner is told */
	int answered, lost;		/* completions of two commands */
};

static const char hello[] = "+OK\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";

static const struct stub_case stub_cases[] = {
	{ "never greets", NULL, NULL, false, false, "greeting in time", 0, 0 },
	{ "greets with garbage", "HTTP/1.1 400 Bad Request\r\n\r\n", NULL, false, false, "Protocol error", 0, 0 },
	{ "is full", "-ERR max number of clients reached\r\n", NULL, true, false, "", 0, 0 },
	{ "says it is a replica", "+OK\r\n*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:-1\r\n", NULL, false, false, "not a primary", 0, 0 },
	{ "says nothing of its role", "+OK\r\n*0\r\n", NULL, false, false, "not a primary", 0, 0 },
	{ "knows no ROLE, as some managed kinds", "-ERR unknown command 'CLIENT'\r\n-ERR unknown command 'ROLE', with args beginning with: \r\n", "+A\r\n+B\r\n+C\r\n",
	    false, false, "nobody asked", 2, 0 },
	{ "forbids ROLE", "+OK\r\n-NOPERM this user has no permissions to run the 'role' command\r\n", NULL, false, false, "NOPERM", 0, 0 },
	{ "knows no CLIENT SETNAME", "-ERR unknown command\r\n*1\r\n$6\r\nmaster\r\n", "+A\r\n+B\r\n+C\r\n", false, false, "nobody asked", 2, 0 },
	{ "stalls", hello, NULL, false, false, "no answer in time", 0, 2 },
	{ "resets", hello, NULL, true, false, "", 0, 2 },
	{ "answers one and resets", hello, ":1\r\n", true, false, "", 1, 1 },
	{ "answers half", hello, ":1\r\n$10\r\nabc", false, false, "no answer in time", 1, 1 },
	{ "one reply too many", hello, "+A\r\n+B\r\n+C\r\n", false, false, "nobody asked", 2, 0 },
	{ "garbage", hello, ":1\r\n\x01\x02\x03garbage\r\n", false, false, "Protocol error", 1, 1 },
	{ "announces a huge array", hello, "*1000000000\r\n", false, false, "memory", 0, 2 },
	{ "announces a negative array", hello, "*-7\r\n:1\r\n", false, false, "", 0, 2 },
	{ "announces a huge string and fills it", hello, "$500000000\r\n", false, true, "larger than", 0, 2 },
	{ "an integer that is none", hello, ":99999999999999999999999\r\n", false, false, "", 0, 2 },
	{ "nests too deep", hello, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", false, false, "nest", 0, 2 },
	{ "loads", hello, "-LOADING Redis is loading the dataset in memory\r\n", false, false, "LOADING", 1, 1 },
	{ "is busy with somebody's script: that is the asker's business", hello, "-BUSY Redis is busy\r\n+B\r\n+C\r\n", false, false, "nobody asked", 2, 0 },
	{ "is out of memory: that too", hello, "-OOM command not allowed\r\n+B\r\n+C\r\n", false, false, "nobody asked", 2, 0 },
	{ "lost its primary", hello, "-MASTERDOWN Link with MASTER is down\r\n", false, false, "MASTERDOWN", 1, 1 },
	{ "a script's READONLY as of old", hello, "-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write\r\n",
	    false, false, "READONLY", 1, 1 },
};

struct stub { int listener; const struct stub_case *what; };

/* Read one command and throw it away; false where there is none. */
static bool
stub_read(FILE *stream)
{
	char line[256];
	int words;

	if (!fgets(line, sizeof(line), stream))
		return false;
	words = atoi(line + 1);
	for (int i = 0; i < 2 * words; i++)
		if (!fgets(line, sizeof(line), stream))
			return false;
	return true;
}

/* Play the case on one connection. */
static void
stub_play(int fd, const struct stub_case *what)
{
	FILE *stream = fdopen(dup(fd), "r");
	struct linger abrupt = { 1, 0 };
	static const char zeros[65536];

	if (stub_read(stream) && stub_read(stream) && what->greeting)
		(void)!write(fd, what->greeting, strlen(what->greeting));
	if (strcmp(what->greeting ? what->greeting : "", hello) != 0 && what->answer == NULL) {
		if (!what->reset)
			while (stub_read(stream))
				;
	} else if (stub_read(stream)) {
		if (what->answer)
			(void)!write(fd, what->answer, strlen(what->answer));
		while (what->flood && send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL) > 0)
			;
		if (!what->reset)
			while (stub_read(stream))
				;
	}
	if (what->reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
	fclose(stream);
	close(fd);
}

static void *
stub_run(void *arg)
{
	struct stub *stub = arg;
	int fd;

	while ((fd = accept(stub->listener, NULL, NULL)) >= 0)
		stub_play(fd, stub->what);
	return NULL;
}

static void
test_stub(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stub_cases) / sizeof(stub_cases[0]); i++) {
		const struct stub_case *c = &stub_cases[i];
		struct stub stub = { .what = c };
		uint16_t port = 0;
		pthread_t thread;
		bool greets = c->answered + c->lost > 0;

		stub.listener = loopback_listen(&port);
		pthread_create(&thread, NULL, stub_run, &stub);
		client_open(port, 0, NULL, NULL);
		if (greets) {
			run_until(is_up);
			assert_true(command("PING", NULL, NULL));
			assert_true(command("PING", NULL, NULL));
		}
		run_until(is_down);
		if (!strstr(why_down, c->why) || lost != c->lost || answers - lost != c->answered)
			fail_msg("%s: \"%s\", %d answered, %d lost", c->name, why_down, answers - lost, lost);
		assert_int_equal(ups, greets);
		client_close();
		shutdown(stub.listener, SHUT_RDWR);
		pthread_join(thread, NULL);
		close(stub.listener);
	}
}

/* Nobody listens: told once, tried again; then somebody does. */
static void
test_nobody_there(void **state)
{
	struct redis_server server = { 0 };
	uint16_t port = 0;

	(void)state;
	close(loopback_listen(&port));
	client_open(port, 0, NULL, NULL);
	run_until(is_down);
	assert_non_null(strstr(why_down, "refused"));
	server.port = port;
	redis_server_start(&server);
	run_until(is_up);
	assert_int_equal(downs, 1);
	client_close();
	redis_server_stop(&server);
}

/* The owner may let it go from within a completion. */
static void
on_reply_free(void *arg, const struct redis_reply *reply)
{
	(void)arg;
	(void)reply;
	answers++;
	redis_free(&redis);
	loop_stop(loop);
}

static void
test_freed_in_completion(void **state)
{
	struct redis_server server = { 0 };

	(void)state;
	redis_server_start(&server);
	for (int stop = 0; stop < 2; stop++) {
		client_open(server.port, 0, NULL, NULL);
		run_until(is_up);
		for (int i = 0; i < 5; i++)
			assert_true(redis_command(redis, (struct str[]){ STR("PING") }, 1, on_reply_free, NULL));
		if (stop)
			kill(server.pid, SIGSTOP);
		loop_run(loop);
		assert_int_equal(answers, 1);	/* none after */
		client_close();
	}
	redis_server_stop(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real), cmocka_unit_test(test_killed_and_back), cmocka_unit_test(test_password),
		cmocka_unit_test(test_replica), cmocka_unit_test(test_stub), cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_freed_in_completion),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
