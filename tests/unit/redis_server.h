/*
 * A real redis-server for tests, on a free port of the loopback with nothing on disk, and a blocking client of a few
 * lines that shares no code with the product's.
 */
#ifndef JOBGATE_TESTS_REDIS_SERVER_H
#define JOBGATE_TESTS_REDIS_SERVER_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_UNUSED __attribute__((unused))

struct redis_server { pid_t pid; uint16_t port; char directory[64]; };

static TEST_UNUSED int
loopback_connect(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A listening socket on a free port, which it tells. */
static TEST_UNUSED int
loopback_listen(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port) };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

/* Send COUNT words as a command and read one reply's text: lines of the reply joined by spaces. */
static TEST_UNUSED void
redis_ask_words(int fd, size_t count, const char *const *words, char *out, size_t size)
{
	FILE *stream = fdopen(dup(fd), "r+");
	char line[4096];
	int more = 1;

	assert_non_null(stream);
	fprintf(stream, "*%zu\r\n", count);
	for (size_t i = 0; i < count; i++)
		fprintf(stream, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
	fflush(stream);
	out[0] = '\0';
	for (; more > 0 && fgets(line, sizeof(line), stream); more--) {
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] == '*')
			more += atoi(line + 1);
		if (line[0] == '$' && line[1] != '-' && !fgets(line, sizeof(line), stream))
			break;
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] != '*')
			snprintf(out + strlen(out), size - strlen(out), "%s%s", out[0] ? " " : "", line);
	}
	fclose(stream);
}

#define redis_ask(fd, out, ...) redis_ask_words(fd, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
	(const char *[]){ __VA_ARGS__ }, out, sizeof(out))

/*
 * Start it at SERVER->port, or at a free port where that is 0, with more arguments (ended by NULL), and wait until it
 * answers.
 */
static TEST_UNUSED void
redis_server_start_words(struct redis_server *server, const char *const *more)
{
	char port[16];
	const char *words[40] = { "redis-server", "--port", port, "--bind", "127.0.0.1 127.0.0.2", "--save", "", "--appendonly", "no", "--dir",
		server->directory };
	int fd = -1, log;

	if (server->port == 0)
		close(loopback_listen(&server->port));
	snprintf(server->directory, sizeof(server->directory), "%s/jobgate-redis-XXXXXX", P_tmpdir);
	assert_non_null(mkdtemp(server->directory));
	snprintf(port, sizeof(port), "%u", server->port);
	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);	/* a test that fails leaves none behind */
		log = open("/dev/null", O_WRONLY);
		dup2(log, 1);
		for (size_t i = 0; more[i]; i++)
			words[11 + i] = more[i];
		execvp("redis-server", (char *const *)(uintptr_t)words);
		_exit(127);
	}
	for (int i = 0; i < 1000 && (fd = loopback_connect(server->port)) < 0; i++)
		poll(NULL, 0, 10);
	assert_true(fd >= 0);
	close(fd);
}

/* The same with one option. */
static TEST_UNUSED void
redis_server_start_with(struct redis_server *server, const char *option, const char *value)
{
	redis_server_start_words(server, (const char *const[]){ option, value, NULL });
}

static TEST_UNUSED void
redis_server_start(struct redis_server *server)
{
	redis_server_start_with(server, "--databases", "16");
}

static TEST_UNUSED void
redis_server_stop(struct redis_server *server)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGCONT);
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
	rmdir(server->directory);
}

#endif
