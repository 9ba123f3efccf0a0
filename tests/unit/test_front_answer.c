/* The bytes of the front's answers: what is added to what the owner gives, and when there is a body. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "io/front.h"

#define DATE "Date: *\r\n"
#define NO_FIELDS { { { NULL, 0 }, { NULL, 0 } } }
#define LARGE 40000

struct row {
	const char *request;
	int status;
	const char *reason;
	struct http1_field fields[3];
	const char *body;
	bool close;
	const char *answer;	/* "*" stands for a date of the form that RFC 9110 has */
};

static const struct row rows[] = {
	{ "GET / HTTP/1.1", 200, "OK", { { STR("X-A"), STR("1") }, { STR("x-b"), STR("") } }, "four", false,
	    "HTTP/1.1 200 OK\r\nX-A: 1\r\nx-b: \r\n" DATE "Content-Length: 4\r\n\r\nfour" },
	{ "GET / HTTP/1.1", 200, "OK", NO_FIELDS, "", false, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n" },
	{ "GET / HTTP/1.1", 400, "Bad Request", NO_FIELDS, "no", true,
	    "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n" DATE "Content-Length: 2\r\n\r\nno" },
	/* A client of 1.0, or one that says so, is told that the connection ends. */
	{ "GET / HTTP/1.0", 200, "OK", NO_FIELDS, "x", false,
	    "HTTP/1.1 200 OK\r\nConnection: close\r\n" DATE "Content-Length: 1\r\n\r\nx" },
	{ "HEAD / HTTP/1.1", 200, "OK", { { STR("X-A"), STR("1") } }, "four", false,
	    "HTTP/1.1 200 OK\r\nX-A: 1\r\n" DATE "Content-Length: 4\r\n\r\n" },
	{ "HEAD / HTTP/1.1", 200, "OK", NO_FIELDS, "", false, "HTTP/1.1 200 OK\r\n" DATE "\r\n" },
	{ "GET / HTTP/1.1", 204, "No Content", NO_FIELDS, "", false, "HTTP/1.1 204 No Content\r\n" DATE "\r\n" },
	{ "GET / HTTP/1.1", 304, "Not Modified", { { STR("ETag"), STR("\"1\"") } }, "", false,
	    "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n" DATE "\r\n" },
	/* A control byte that ends no line. */
	{ "GET / HTTP/1.1", 200, "OK", { { STR("X-A"), STR("1\t 2\1") } }, "", false,
	    "HTTP/1.1 200 OK\r\nX-A: 1\t 2\1\r\n" DATE "Content-Length: 0\r\n\r\n" },
	/* One Date, one Content-Length, whoever gives it. */
	{ "GET / HTTP/1.1", 200, "OK", { { STR("date"), STR("Sat, 01 Aug 2026 12:34:56 GMT") }, { STR("CONTENT-LENGTH"), STR("1") } }, "x", false,
	    "HTTP/1.1 200 OK\r\ndate: *\r\nCONTENT-LENGTH: 1\r\n\r\nx" },
};

/* What no answer may hold, each behind a field that is sound. */
static const struct str unsound[] = { STR_INIT("a\rb"), STR_INIT("a\nb"), STR_INIT("a\r\nb: c"), STR_INIT("\0"), STR_INIT("a\tlong one with\tblanks\n") };

struct owner {
	struct loop *loop;
	const struct row *row;
	struct str body;
};

static void
on_request(void *arg, struct front_request *request)
{
	(void)arg;
	(void)request;
}

static void
on_body(void *arg, struct front_request *request)
{
	struct owner *owner = arg;
	const struct row *row = owner->row;
	size_t count = 0;

	while (count < 3 && row->fields[count].name.n > 0)
		count++;
	front_reply(request, &(struct front_reply){ row->status, row->reason, row->fields, count, owner->body, row->close });
}

static void
on_fault(void *arg, struct front_request *request, enum front_fault fault)
{
	(void)arg;
	(void)request;
	(void)fault;
	fail_msg("a fault");
}

static void
on_gone(void *arg, struct front_request *request)
{
	(void)arg;
	(void)request;
	fail_msg("gone");
}

static void
on_sent(void *arg, struct front_request *request, bool delivered)
{
	struct owner *owner = arg;

	(void)request;
	assert_true(delivered);
	loop_stop(owner->loop);
}

/* Ask for ROW, answered with BODY; what comes until it is whole goes to OUT. */
static void
play(const struct row *row, struct str body, struct buf *out)
{
	struct owner owner = { loop_new(), row, body };
	struct front_settings settings = { .limits = { 10, 32768, 8192, 262144, CLOCK_SECOND, CLOCK_SECOND, CLOCK_SECOND, CLOCK_SECOND },
		.hooks = { on_request, on_body, on_fault, on_gone, on_sent }, .arg = &owner };
	struct front *front = front_new(owner.loop, &settings);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct buf error = BUF_EMPTY, request = BUF_EMPTY;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint16_t port = 0;
	ssize_t n;

	front_listen(front, front_bind(STR("127.0.0.1"), &port, &error), NULL);
	to.sin_port = htons(port);
	check(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	buf_printf(&request, "%s\r\nHost: gate.example\r\n\r\n", row->request);
	check(send(fd, request.p, request.n, 0) == (ssize_t)request.n);
	loop_run(owner.loop);
	front_free(&front);	/* closes: what was sent before is all that comes */
	while ((n = recv(fd, buf_room(out, 65536), 65536, 0)) > 0)
		out->n += (size_t)n;
	loop_free(&owner.loop);
	buf_fini(&request);
	close(fd);
}

/* Put "*" in the place of a date, which must be now or that of the tables. */
static void
hide_date(struct buf *answer)
{
	static const char first[] = "ate: ";
	char *date = memmem(answer->p, answer->n, first, strlen(first));
	struct wall_time when;
	size_t at;

	assert_non_null(date);
	date += strlen(first);
	at = (size_t)(date - answer->p);
	assert_true(answer->n >= at + CLOCK_HTTP_BYTES - 1);
	assert_true(clock_parse_http((struct str){ date, CLOCK_HTTP_BYTES - 1 }, &when));
	*date = '*';
	memmove(date + 1, date + CLOCK_HTTP_BYTES - 1, answer->n - at - (CLOCK_HTTP_BYTES - 1));
	answer->n -= CLOCK_HTTP_BYTES - 2;
}

static void
test_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf answer = BUF_EMPTY;

		play(&rows[i], str_from(rows[i].body), &answer);
		hide_date(&answer);
		buf_add_char(&answer, '\0');
		assert_string_equal(answer.p, rows[i].answer);
		buf_fini(&answer);
	}
}

/* A body that is larger than what is read or kept at a time comes whole. */
static void
test_a_large_body(void **state)
{
	static char body[LARGE];
	static const char head[] = "HTTP/1.1 200 OK\r\nX-A: 1\r\nx-b: \r\n" DATE "Content-Length: 40000\r\n\r\n";
	struct buf answer = BUF_EMPTY;

	(void)state;
	for (size_t i = 0; i < LARGE; i++)
		body[i] = (char)('a' + i % 26);
	play(&rows[0], (struct str){ body, LARGE }, &answer);
	hide_date(&answer);
	assert_int_equal(answer.n, strlen(head) + LARGE);
	assert_memory_equal(answer.p, head, strlen(head));
	assert_memory_equal(answer.p + strlen(head), body, LARGE);
	buf_fini(&answer);
}

/* What would end a line early stops the process: it is a bug of who answers. */
static void
test_unsound(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(unsound) / sizeof(unsound[0]); i++) {
		struct row row = { "GET / HTTP/1.1", 200, "OK", { { STR("X-A"), STR("\t") }, { STR("X-B"), unsound[i] } }, "", false, "" };
		struct buf answer = BUF_EMPTY;
		pid_t child = fork();
		int status;

		if (child == 0) {
			close(STDERR_FILENO);	/* which would show the bug as one */
			play(&row, STR(""), &answer);
			_exit(0);
		}
		assert_true(waitpid(child, &status, 0) == child);
		assert_true(WIFSIGNALED(status));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_a_large_body),
		cmocka_unit_test(test_unsound),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("front_answer", tests, NULL, NULL);
}
