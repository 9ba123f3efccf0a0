/* jobgate serve: run until told to stop. */
#include "command/command.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "command/arguments.h"
#include "gate/instance.h"
#include "gate/settings.h"
#include "io/machine.h"
#include "io/signals.h"

#define SERVE_USAGE \
	"usage: jobgate serve [--config FILE]\n\n" \
	"Runs the gateway with the configuration (default " COMMAND_CONFIG_DEFAULT ").\n" \
	"SIGHUP reloads it, SIGTERM drains and ends. Logs are JSON Lines on standard error.\n" \
	"Exit codes: 0 drained, 1 it could not start or go on, 2 wrong usage or configuration.\n"

/* SIGHUP reloads, SIGTERM and SIGINT drain. */
static void
on_signal(void *arg, int number)
{
	if (number == SIGHUP)
		instance_reload(arg);
	else
		instance_drain(arg);
}

/* Run with a good configuration; the exit code. */
static int
serve(const char *file, struct config *config)
{
	struct loop *loop = loop_new();
	struct buf error = BUF_EMPTY;
	struct instance *instance = instance_start(loop, file, config, &error);
	struct signals *signals;

	if (instance == NULL) {
		log_line(LOG_ERROR, "cannot start", log_s("message", buf_str(&error)));
		buf_fini(&error);
		loop_free(&loop);
		return 1;
	}
	signals = signals_new(loop, on_signal, instance);
	loop_run(loop);
	if (instance_gave_up(instance)) {
		log_close();
		_exit(1);	/* the next start closes what is open in the journal */
	}
	signals_free(&signals);
	instance_free(&instance);
	loop_free(&loop);
	log_line(LOG_INFO, "stopped");
	return 0;
}

int
command_serve(int argc, char **argv)
{
	const char *file;
	enum arguments arguments = arguments_config(argc, argv, SERVE_USAGE, &file);
	struct buf errors = BUF_EMPTY;
	struct config *config;
	int code;

	if (arguments != ARGUMENTS_RUN)
		return arguments == ARGUMENTS_HELP ? 0 : 2;
	signals_block();
	machine_forbid_core();
	machine_raise_descriptors();
	config = settings_load(file, &errors);
	if (config == NULL) {
		fwrite(errors.p, 1, errors.n, stderr);
		buf_fini(&errors);
		return 2;
	}
	log_set_level((enum log_level)config->log_level);
	log_open();
	code = serve(file, config);
	log_close();
	config_unref(&config);
	return code;
}
