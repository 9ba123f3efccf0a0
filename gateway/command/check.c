/*
 * jobgate check: whether a configuration is right and what it names can be used, without starting or writing
 * anything.
 *
 * Exit codes: 2 the configuration is wrong; 1 it is right, but a file or directory that it names cannot be used here.
 */
#include "command/command.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "command/arguments.h"
#include "gate/access_request.h"
#include "gate/issuers.h"
#include "gate/settings.h"
#include "io/file.h"
#include "io/tls.h"
#include "rules/credential.h"
#include "rules/explain.h"

/* Certificates live 47 days or more; two weeks is time to find out why the renewal failed. */
#define CHECK_EXPIRY_US (INT64_C(14) * 86400 * CLOCK_SECOND)

#define CHECK_USAGE \
	"usage: jobgate check [--config FILE] [--explain CALLER METHOD URL]\n\n" \
	"Checks the configuration (default " COMMAND_CONFIG_DEFAULT ") and whether the files and\n" \
	"directories that it names can be used by this user; writes nothing.\n" \
	"With --explain it tells instead what becomes of a request, and which rule decides.\n\n" \
	"Exit codes: 0 right (permitted), 1 something that it names cannot be used (refused), 2 wrong.\n"

struct check_report {
	const char *file;
	int faults;		/* lines that make the exit code 1 */
};

/* "FILE: WHERE: TEXT", a fault. */
static void
check_fault(struct check_report *report, const char *where, const struct buf *text)
{
	fprintf(stderr, "%s: %s: %.*s\n", report->file, where, STR_ARG(buf_str(text)));
	report->faults++;
}

/* Warn where a file that is nobody's business but ours is open to others. */
static void
check_private(struct check_report *report, const char *where, struct str file)
{
	unsigned mode = 0;

	if (file.n && file_is_open_to_others(file.p, &mode))
		fprintf(stderr, "%s: warning: %s: %s can be read by %s (mode %04o)\n", report->file, where, file.p,
		    mode & 0004 ? "every user of this machine" : "its group", mode);
}

static void
check_expiry(struct check_report *report, const char *where, struct str file)
{
	int64_t not_after_us, left_us;

	if (!tls_certificate_expiry(file.p, &not_after_us))
		return;
	left_us = not_after_us - clock_now_wall().us;
	if (left_us < 0)
		fprintf(stderr, "%s: warning: %s: %s has expired\n", report->file, where, file.p);
	else if (left_us < CHECK_EXPIRY_US)
		fprintf(stderr, "%s: warning: %s: %s expires in %lld days\n", report->file, where, file.p,
		    (long long)(left_us / 86400 / CLOCK_SECOND));
}

static void
check_listener(struct check_report *report, const struct config_listen *listen, size_t i)
{
	struct buf error = BUF_EMPTY;
	struct tls_server *server;
	char where[40];

	if (!listen->tls)
		return;
	snprintf(where, sizeof(where), "listen[%zu].tls", i);
	server = tls_server_new(listen->cert_file.p, listen->key_file.p, &error);
	if (server == NULL || (listen->client_ca_file.n && !tls_server_ask_client(server, listen->client_ca_file.p, &error)))
		check_fault(report, where, &error);
	else
		check_expiry(report, where, listen->cert_file);
	check_private(report, where, listen->key_file);
	tls_server_free(&server);
	buf_fini(&error);
}

static void
check_upstream(struct check_report *report, const struct config *config)
{
	struct buf error = BUF_EMPTY;
	struct tls_client *client;
	char name[256];

	snprintf(name, sizeof(name), "%.*s", STR_ARG(config->upstream.server_name));
	client = tls_client_new(config->upstream.ca_file.n ? config->upstream.ca_file.p : "", name, &error);
	if (client == NULL)
		check_fault(report, config->upstream.ca_file.n ? "upstream.ca_file" : "upstream", &error);
	tls_client_free(&client);
	buf_fini(&error);
}

static void
check_proxy(struct check_report *report, const struct config *config)
{
	struct buf url = BUF_EMPTY, error = BUF_EMPTY;
	struct str proxy = config->upstream.proxy, user = str_sub(proxy, str_find(proxy, STR("://")) + 3, str_find_char(proxy, '@'));

	if (!settings_proxy(config, &url, &error))
		check_fault(report, "upstream.proxy_password", &error);
	check_private(report, "upstream.proxy_password", config->upstream.proxy_password.file);
	if (str_find_char(proxy, '@') < proxy.n && str_find_char(user, ':') < user.n)
		check_private(report, "upstream.proxy (holds a password)", config->file);
	buf_wipe(&url);
	buf_fini(&error);
}

/* What messages call the keys of a Redis. */
struct check_redis { const struct config_store *store; const char *ca_file, *redis, *password, *url; };

static void
check_store_tls(struct check_report *report, const struct check_redis *redis)
{
	struct buf error = BUF_EMPTY;
	struct tls_client *client;

	if (!redis->store->tls)
		return;
	client = tls_client_new(redis->store->ca_file.p, redis->store->host.p, &error);
	if (client == NULL)
		check_fault(report, redis->store->ca_file.n ? redis->ca_file : redis->redis, &error);
	tls_client_free(&client);
	buf_fini(&error);
}

static void
check_store(struct check_report *report, const struct check_redis *redis)
{
	struct buf secret = BUF_EMPTY, error = BUF_EMPTY;

	if (!settings_secret(&redis->store->password_secret, &secret, &error))
		check_fault(report, redis->password, &error);
	check_private(report, redis->password, redis->store->password_secret.file);
	if (redis->store->password.n)
		check_private(report, redis->url, str_from(report->file));
	buf_wipe(&secret);
	buf_fini(&error);
	check_store_tls(report, redis);
}

/* The limiter's store, and the polls' where it is another. */
static void
check_stores(struct check_report *report, const struct config *config)
{
	const struct check_redis store = { &config->store, "store.ca_file", "store.redis", "store.password",
		"store.redis (holds a password)" };
	const struct check_redis polls = { &config->polls_store, "polls.ca_file", "polls.redis", "polls.password",
		"polls.redis (holds a password)" };

	check_store(report, &store);
	if (!config->polls_store_is_stores)
		check_store(report, &polls);
}

static void
check_admin(struct check_report *report, const struct config *config)
{
	struct buf token = BUF_EMPTY, error = BUF_EMPTY;

	if (!settings_admin_token(config, &token, &error)) {
		fprintf(stderr, "%s: %.*s\n", report->file, STR_ARG(buf_str(&error)));
		report->faults++;
	}
	check_private(report, "admin.token", config->admin_token.file);
	buf_wipe(&token);
	buf_fini(&error);
}

static void
check_credential(struct check_report *report, const struct config_identity *identity, size_t i)
{
	const struct config_credential *credential = &identity->credential;
	struct buf error = BUF_EMPTY;
	char where[64];

	snprintf(where, sizeof(where), "identities[%zu].credential", i);
	if (!access_request_check(credential, &error))
		check_fault(report, where, &error);
	check_private(report, where, credential->secret.file);
	check_private(report, where, credential->key_file);
	if (credential->cert_file.n)
		check_expiry(report, where, credential->cert_file);
	buf_fini(&error);
}

/* Whether the key of body digests can be read. */
static void
check_audit_key(struct check_report *report, struct config *config)
{
	struct buf error = BUF_EMPTY;

	if (!settings_audit_key(config, &error)) {
		fprintf(stderr, "%s: %.*s\n", report->file, STR_ARG(buf_str(&error)));
		report->faults++;
	}
	check_private(report, "audit.digest_key", config->audit_digest_key.file);
	buf_fini(&error);
}

static void
check_audit(struct check_report *report, struct config *config)
{
	struct buf directory = BUF_EMPTY, error = BUF_EMPTY;

	check_audit_key(report, config);
	settings_audit_directory(config, &directory);
	buf_add_char(&directory, '\0');
	if (!file_directory_is_usable(directory.p, &error))
		check_fault(report, "audit.directory", &error);
	buf_fini(&directory);
	buf_fini(&error);
}

/* Warn of keys that will soon be none. */
static void
check_keys(const struct check_report *report, const struct config *config)
{
	struct buf text = BUF_EMPTY;
	struct str rest, line;

	credential_warn_expiry(config, clock_now_wall(), &text);
	rest = buf_str(&text);
	while (str_next(&rest, '\n', &line))
		if (line.n)
			fprintf(stderr, "%s: warning: %.*s\n", report->file, STR_ARG(line));
	buf_fini(&text);
}

/* Whether the key sets of issuers can be used. */
static void
check_issuers(struct check_report *report, const struct config *config)
{
	for (size_t i = 0; i < config->issuer_count; i++) {
		struct buf error = BUF_EMPTY;
		struct jose_keys *keys;
		char where[40];

		if (config->issuers[i].jwks_url.n)	/* whether it answers now says nothing about later */
			continue;
		snprintf(where, sizeof(where), "issuers[%zu].jwks.file", i);
		keys = issuers_read_file(config->issuers[i].jwks_file.p, config->issuers[i].algorithms, &error);
		if (keys == NULL)
			check_fault(report, where, &error);
		jose_keys_unref(&keys);
		buf_fini(&error);
	}
}

/* Look at everything that CONFIG names. */
static int
check_config(struct config *config, const char *file)
{
	struct check_report report = { file, 0 };

	for (size_t i = 0; i < config->listen_count; i++)
		check_listener(&report, &config->listen[i], i);
	check_upstream(&report, config);
	check_proxy(&report, config);
	check_stores(&report, config);
	for (size_t i = 0; i < config->identity_count; i++)
		check_credential(&report, &config->identities[i], i);
	check_admin(&report, config);
	check_audit(&report, config);
	check_keys(&report, config);
	check_issuers(&report, config);
	for (size_t i = 0; i < config->warning_count; i++)
		fprintf(stderr, "%s: warning: %.*s\n", file, STR_ARG(config->warnings[i]));
	if (report.faults)
		return 1;
	printf("%s: ok\n", file);
	return 0;
}

/* What is to be explained. */
struct check_question { const char *caller, *method, *url; };

/* Take --explain and its three words out of the arguments; false where they are not three. */
static bool
check_take_question(int *argc, char **argv, struct check_question *question)
{
	int at = 1;

	while (at < *argc && strcmp(argv[at], "--explain") != 0)
		at++;
	if (at == *argc)
		return true;
	if (*argc - at < 4)
		return false;
	*question = (struct check_question){ argv[at + 1], argv[at + 2], argv[at + 3] };
	for (*argc -= 4; at < *argc; at++)
		argv[at] = argv[at + 4];
	return true;
}

/* Explain; the exit code. */
static int
check_explain(const struct config *config, const char *file, const struct check_question *question)
{
	struct buf out = BUF_EMPTY;
	enum explain_verdict verdict = explain(config, str_from(question->caller), str_from(question->method),
	    str_from(question->url), &out);

	if (verdict == EXPLAIN_NO_CALLER)
		fprintf(stderr, "%s: no caller is called \"%s\"\n", file, question->caller);
	printf("%.*s", STR_ARG(buf_str(&out)));
	buf_fini(&out);
	if (verdict == EXPLAIN_NO_CALLER)
		return 2;
	return verdict == EXPLAIN_PERMITTED && fflush(stdout) == 0 ? 0 : 1;
}

int
command_check(int argc, char **argv)
{
	struct check_question question = { NULL, NULL, NULL };
	struct buf errors = BUF_EMPTY;
	struct config *config;
	const char *file;
	bool whole = check_take_question(&argc, argv, &question);
	enum arguments arguments = arguments_config(argc, argv, CHECK_USAGE, &file);
	int code = 2;

	if (arguments == ARGUMENTS_RUN && !whole)
		fputs(CHECK_USAGE, stderr);
	if (!whole || arguments != ARGUMENTS_RUN)
		return arguments == ARGUMENTS_HELP ? 0 : 2;
	config = settings_load(file, &errors);
	if (config)
		code = question.url ? check_explain(config, file, &question) : check_config(config, file);
	else
		fwrite(errors.p, 1, errors.n, stderr);
	config_unref(&config);
	buf_fini(&errors);
	return code;
}
