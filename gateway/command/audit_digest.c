/* `jobgate audit digest`: what records have as the digest of a body, to search by. */
#include "command/audit_digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command/arguments.h"
#include "command/command.h"
#include "gate/settings.h"
#include "io/tls.h"

/* No configuration takes longer bodies (limits.body_bytes). */
#define DIGEST_BODY_MAX (4u << 20)

#define DIGEST_USAGE \
	"usage: jobgate audit digest [--config FILE] < BODY\n\n" \
	"Prints the digest that records have of this body as body_sha256: its HMAC-SHA-256 with audit.digest_key of\n" \
	"the configuration (default " COMMAND_CONFIG_DEFAULT "), or its SHA-256 where there is no such key. To find\n" \
	"who sent it: jobgate audit search --body DIGEST DIR...\n\n" \
	"Exit codes: 0, 1 the body cannot be read, 2 usage, configuration or key.\n"

/* Read standard input to its end; false, and the reason is written, where it cannot be or is longer than a body may be. */
static bool
digest_read_body(struct buf *body)
{
	ssize_t n = 1;

	while (body->n <= DIGEST_BODY_MAX && n != 0) {
		n = read(STDIN_FILENO, buf_room(body, 65536), 65536);
		if (n > 0)
			body->n += (size_t)n;
		if (n < 0 && errno != EINTR) {
			fprintf(stderr, "jobgate audit digest: cannot read the body: %s\n", strerror(errno));
			return false;
		}
	}
	if (body->n <= DIGEST_BODY_MAX)
		return true;
	fprintf(stderr, "jobgate audit digest: the body is longer than %u bytes\n", DIGEST_BODY_MAX);
	return false;
}

/* Print the digest of standard input; the exit code. */
static int
digest_print(const struct config *config)
{
	struct buf body = BUF_EMPTY;
	uint8_t plain[32];
	char digest[64];
	bool ok = digest_read_body(&body);

	if (ok) {
		digest_sha256(buf_str(&body), plain);
		settings_body_digest(config, buf_str(&body), plain, digest);
		printf("%.*s\n", (int)sizeof(digest), digest);
		ok = fflush(stdout) == 0;
	}
	buf_wipe(&body);
	return ok ? 0 : 1;
}

int
audit_digest(int argc, char **argv)
{
	struct buf errors = BUF_EMPTY;
	struct config *config;
	const char *file;
	enum arguments arguments = arguments_config(argc, argv, DIGEST_USAGE, &file);
	int code = 2;

	if (arguments != ARGUMENTS_RUN)
		return arguments == ARGUMENTS_HELP ? 0 : 2;
	config = settings_load(file, &errors);
	if (config && !settings_audit_key(config, &errors))
		fprintf(stderr, "%s: %.*s\n", file, STR_ARG(buf_str(&errors)));
	else if (config)
		code = digest_print(config);
	else
		fwrite(errors.p, 1, errors.n, stderr);
	config_unref(&config);
	buf_fini(&errors);
	return code;
}
