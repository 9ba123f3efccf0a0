/* jobgate status: ask a running gateway how it stands, and show it to a person. */
#include "command/command.h"

#include <stdio.h>

#include "command/arguments.h"
#include "command/fetch.h"
#include "gate/settings.h"
#include "rules/report_text.h"

#define STATUS_USAGE \
	"usage: jobgate status [--config FILE] [--json]\n\n" \
	"Asks the gateway that runs with the configuration (default " COMMAND_CONFIG_DEFAULT ") on its\n" \
	"admin listener how it stands: for each identity how many tokens are out, why nothing is granted if so, who\n" \
	"waits and for what, and the members of the fleet; the store, the journal, the upstream and its last 429s.\n" \
	"--json prints what the gateway says (GET /status) as it is.\n\n" \
	"Exit codes: 0 it answered, 1 it did not, 2 wrong usage or configuration.\n"

/* Say why there is nothing to show. */
static int
status_fail(const struct config *config, const char *what)
{
	fprintf(stderr, "jobgate status: %.*s (admin.address): %s\n", STR_ARG(config->admin.address), what);
	return 1;
}

/* What an answer other than 200 means. */
static const char *
status_of(int status)
{
	switch (status) {
	case 401:
		return "it wants another admin.token than this configuration has";
	case 403:
		return "it has no admin.token, and shows its status to its own machine alone";
	case 404:
		return "there is no /status; what answers there is no jobgate, or an older one";
	case 503:
		return "it runs, but its limiter has not answered in time: it is starting or ending, or a thread is stuck";
	default:
		return "what answers there is no jobgate";
	}
}

/* Print the answer; the exit code. */
static int
status_print(const struct config *config, struct str json, bool raw)
{
	struct buf text = BUF_EMPTY;
	bool ours = report_text(json, &text);

	if (ours && raw)
		fwrite(json.p, 1, json.n, stdout);
	else if (ours)
		fwrite(text.p, 1, text.n, stdout);
	buf_fini(&text);
	if (!ours)
		return status_fail(config, "what answers there is no jobgate");
	if (fflush(stdout) == 0)
		return 0;
	perror("jobgate status: standard output");
	return 1;
}

/* Ask, and print. */
static int
status_ask(const struct config *config, bool raw)
{
	struct buf body = BUF_EMPTY, error = BUF_EMPTY, token = BUF_EMPTY;
	int status = 0, code;

	if (settings_admin_token(config, &token, &error))
		status = fetch(config->admin.host, config->admin.port, "/status", buf_str(&token), &body, &error);
	buf_wipe(&token);
	buf_add_char(&error, '\0');
	if (status == 0)
		code = status_fail(config, error.p);
	else if (status != 200)
		code = status_fail(config, status_of(status));
	else
		code = status_print(config, buf_str(&body), raw);
	buf_fini(&body);
	buf_fini(&error);
	return code;
}

int
command_status(int argc, char **argv)
{
	bool raw = arguments_flag(&argc, argv, "--json");
	struct buf errors = BUF_EMPTY;
	struct config *config;
	const char *file;
	enum arguments arguments = arguments_config(argc, argv, STATUS_USAGE, &file);
	int code = 2;

	if (arguments != ARGUMENTS_RUN)
		return arguments == ARGUMENTS_HELP ? 0 : 2;
	config = settings_load(file, &errors);
	if (config)
		code = status_ask(config, raw);
	else
		fwrite(errors.p, 1, errors.n, stderr);
	config_unref(&config);
	buf_fini(&errors);
	return code;
}
