/* gate/settings: the configuration and its secrets as read from files and the environment. */
#include "gate/settings.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/tls.h"

static char folder[64];

static const char *
path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static int
setup(void **state)
{
	(void)state;
	strcpy(folder, "test_settings.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path_of("secret"));
	unlink(path_of("jobgate.json"));
	return rmdir(folder);
}

static void
write_file(const char *name, struct str bytes)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), bytes.n);
	close(fd);
}

static void
test_loads_with_digest_and_folder(void **state)
{
	struct str text = STR("{\"listen\": [{\"address\": \"127.0.0.1:8080\"}], \"upstream\": {\"url\": \"https://h\", \"ca_file\": \"ca.pem\","
	    "\"quota\": {\"requests\": 200, \"window\": \"60s\"}}, \"callers\": [{\"name\": \"a\", \"keys\": [{\"sha256\": "
	    "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]}]}\n");
	struct buf errors = BUF_EMPTY;
	struct config *config;
	uint8_t digest[32];

	(void)state;
	write_file("jobgate.json", text);
	config = settings_load(path_of("jobgate.json"), &errors);
	assert_non_null(config);
	digest_sha256(text, digest);
	assert_memory_equal(config->digest, digest, sizeof(digest));
	assert_true(str_eq(config->directory, str_from(folder)));
	assert_true(str_eq(config->upstream.ca_file, str_from(path_of("ca.pem"))));
	config_unref(&config);
	write_file("jobgate.json", STR("{}"));
	assert_null(settings_load(path_of("jobgate.json"), &errors));
	assert_true(str_starts(buf_str(&errors), str_from(path_of("jobgate.json: listen: is missing\n"))));
	buf_clear(&errors);
	assert_null(settings_load(path_of("missing.json"), &errors));
	assert_true(str_eq(buf_str(&errors), str_from(path_of("missing.json: No such file or directory\n"))));
	buf_fini(&errors);
}

static const struct { struct str content, secret; } secrets[] = {
	{ STR_INIT("pass"), STR_INIT("pass") },
	{ STR_INIT("pass\n"), STR_INIT("pass") },
	{ STR_INIT("pass\r\n"), STR_INIT("pass") },
	{ STR_INIT("pass\n\n"), STR_INIT("pass\n") },	/* one newline is trimmed: the other is part of it */
	{ STR_INIT(" pa\0ss "), STR_INIT(" pa\0ss ") },
	{ STR_INIT(""), { NULL, 0 } },
	{ STR_INIT("\n"), { NULL, 0 } },
	{ STR_INIT("\r\n"), { NULL, 0 } },
};

static void
test_reads_secrets_of_files(void **state)
{
	struct config_secret secret = { .file = str_from(path_of("secret")) };

	(void)state;
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		struct buf out = BUF_EMPTY, error = BUF_EMPTY;

		write_file("secret", secrets[i].content);
		assert_int_equal(settings_secret(&secret, &out, &error), secrets[i].secret.p != NULL);
		assert_true(str_eq(buf_str(&out), secrets[i].secret));
		assert_int_equal(error.n != 0, secrets[i].secret.p == NULL);
		buf_wipe(&out);
		buf_fini(&error);
	}
}

/* 64 KiB and a newline are the most. */
static void
test_bounds_secrets_of_files(void **state)
{
	static char big[65536 + 3];
	static const struct { size_t n; bool newline, ok; } sizes[] = {
		{ 65536, false, true }, { 65537, true, true }, { 65537, false, false }, { 65538, true, false },
	};
	struct config_secret secret = { .file = str_from(path_of("secret")) };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf out = BUF_EMPTY, error = BUF_EMPTY;

		memset(big, 'x', sizeof(big));
		big[sizes[i].n - 1] = sizes[i].newline ? '\n' : 'x';
		write_file("secret", (struct str){ big, sizes[i].n });
		assert_int_equal(settings_secret(&secret, &out, &error), sizes[i].ok);
		assert_int_equal(out.n, sizes[i].ok ? 65536 : 0);
		buf_wipe(&out);
		buf_fini(&error);
	}
}

static void
test_reads_secrets_of_the_environment(void **state)
{
	struct config_secret secret = { .env = STR("TEST_SETTINGS_SECRET") }, none = { { NULL, 0 }, { NULL, 0 } };
	struct buf out = BUF_EMPTY, error = BUF_EMPTY;

	(void)state;
	unsetenv("TEST_SETTINGS_SECRET");
	assert_false(settings_secret(&secret, &out, &error));
	assert_true(str_eq(buf_str(&error), STR("environment variable TEST_SETTINGS_SECRET: is not set")));
	setenv("TEST_SETTINGS_SECRET", "", 1);
	assert_false(settings_secret(&secret, &out, &error));
	setenv("TEST_SETTINGS_SECRET", "pass", 1);
	assert_true(settings_secret(&secret, &out, &error));
	assert_true(str_eq(buf_str(&out), STR("pass")));
	buf_clear(&out);
	assert_true(settings_secret(&none, &out, &error));
	assert_int_equal(out.n, 0);
	buf_wipe(&out);
	buf_fini(&error);
}

static void
test_finds_the_audit_directory(void **state)
{
	static const struct { const char *configured, *state; const char *directory; } rows[] = {
		{ "/a", "/s", "/a" },
		{ "", "/s", "/s/audit" },
		{ "", "/s:/t", "/s/audit" },
		{ "", "", "/var/lib/jobgate/audit" },
		{ "", NULL, "/var/lib/jobgate/audit" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config config = { .audit_directory = str_from(rows[i].configured) };
		struct buf out = BUF_EMPTY;

		if (rows[i].state)
			setenv("STATE_DIRECTORY", rows[i].state, 1);
		else
			unsetenv("STATE_DIRECTORY");
		settings_audit_directory(&config, &out);
		assert_true(str_eq(buf_str(&out), str_from(rows[i].directory)));
		buf_fini(&out);
	}
}

/* A body's digest with the key of N bytes in the file, as HMAC gives it with those very bytes. */
static void
is_keyed(size_t n)
{
	struct config config = { .audit_digest_key = { .file = str_from(path_of("secret")) } };
	struct buf key = BUF_EMPTY, error = BUF_EMPTY;
	char digest[64], expected[64];
	uint8_t bytes[32] = { 0 };

	for (size_t i = 0; i < n; i++)
		buf_add_char(&key, (char)('a' + i % 26));
	write_file("secret", buf_str(&key));
	assert_true(settings_audit_key(&config, &error));
	settings_body_digest(&config, STR("{}"), bytes, digest);
	digest_hmac_sha256(buf_str(&key), STR("{}"), bytes);
	str_hex_encode(bytes, sizeof(bytes), expected);
	assert_memory_equal(digest, expected, sizeof(digest));
	buf_fini(&key);
	buf_fini(&error);
}

static void
test_digests_bodies(void **state)
{
	struct config config = { .audit_hmac = { .n = 0 } };
	struct buf error = BUF_EMPTY;
	uint8_t plain[32];
	char digest[64];

	(void)state;
	assert_true(settings_audit_key(&config, &error));
	digest_sha256(STR(""), plain);
	settings_body_digest(&config, STR(""), plain, digest);
	assert_memory_equal(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", sizeof(digest));
	is_keyed(16);
	is_keyed(64);
	is_keyed(65);
	is_keyed(4096);
	config.audit_digest_key.file = str_from(path_of("secret"));
	write_file("secret", STR("123456789012345\n"));
	assert_false(settings_audit_key(&config, &error));
	assert_true(str_eq(buf_str(&error), STR("audit.digest_key: must be 16 bytes or more, is 15")));
	assert_int_equal(config.audit_hmac.n, 0);
	buf_clear(&error);
	unlink(path_of("secret"));
	assert_false(settings_audit_key(&config, &error));
	assert_true(str_starts(buf_str(&error), STR("audit.digest_key: ")));
	buf_fini(&error);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads_with_digest_and_folder),
		cmocka_unit_test(test_reads_secrets_of_files),
		cmocka_unit_test(test_bounds_secrets_of_files),
		cmocka_unit_test(test_reads_secrets_of_the_environment),
		cmocka_unit_test(test_finds_the_audit_directory),
		cmocka_unit_test(test_digests_bodies),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
