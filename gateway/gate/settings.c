/* Settings: the configuration and the secrets it names, as read. */
#include "gate/settings.h"

#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/tls.h"
#include "rules/adminaccess.h"
#include "rules/proxy.h"

/* 10,000 callers with two keys each take 3 MB; beyond 8 MiB somebody has named the wrong file. */
#define SETTINGS_BYTES_MAX (8u << 20)

/* Tokens and passwords have a few KB at most. */
#define SETTINGS_SECRET_BYTES_MAX (64u << 10)

/* As long as a key of AES: what is shorter is guessed as the bodies would be. */
#define SETTINGS_DIGEST_KEY_MIN 16

#define SETTINGS_AUDIT_DEFAULT "/var/lib/jobgate/audit"

/* The folder of FILE as a slice of it; "." where FILE has none. */
static struct str
settings_directory(const char *file)
{
	const char *slash = strrchr(file, '/');

	if (slash == NULL)
		return STR(".");
	return (struct str){ file, slash == file ? 1 : (size_t)(slash - file) };
}

struct config *
settings_load(const char *file, struct buf *errors)
{
	struct buf text = BUF_EMPTY;
	struct config *config = NULL;

	if (file_read(file, SETTINGS_BYTES_MAX, &text, errors)) {
		config = config_parse(buf_str(&text), str_from(file), settings_directory(file), errors);
		if (config)
			digest_sha256(buf_str(&text), config->digest);
	} else {
		buf_add_char(errors, '\n');
	}
	buf_wipe(&text);	/* the store's URL may hold a password */
	return config;
}

/* Append the content of file NAME without a newline at its end. */
static bool
secret_of_file(struct str name, struct buf *out, struct buf *error)
{
	size_t start = out->n;

	/* One byte more than a secret may have: the newline. */
	if (!file_read(name.p, SETTINGS_SECRET_BYTES_MAX + 1, out, error))
		return false;
	if (out->n > start && out->p[out->n - 1] == '\n') {
		out->n--;
		if (out->n > start && out->p[out->n - 1] == '\r')
			out->n--;
	}
	if (out->n == start)
		buf_printf(error, "%s: is empty", name.p);
	else if (out->n - start > SETTINGS_SECRET_BYTES_MAX)
		buf_printf(error, "%s: is larger than %u bytes", name.p, SETTINGS_SECRET_BYTES_MAX);
	else
		return true;
	out->n = start;
	return false;
}

/* Append the value of the environment's variable NAME. */
static bool
secret_of_env(struct str name, struct buf *out, struct buf *error)
{
	const char *value = getenv(name.p);

	if (value == NULL || *value == '\0') {
		buf_printf(error, "environment variable %s: is %s", name.p, value ? "empty" : "not set");
		return false;
	}
	if (strlen(value) > SETTINGS_SECRET_BYTES_MAX) {
		buf_printf(error, "environment variable %s: is larger than %u bytes", name.p,
		    SETTINGS_SECRET_BYTES_MAX);
		return false;
	}
	buf_add_z(out, value);
	return true;
}

bool
settings_secret(const struct config_secret *secret, struct buf *out, struct buf *error)
{
	if (secret->file.n)
		return secret_of_file(secret->file, out, error);
	if (secret->env.n)
		return secret_of_env(secret->env, out, error);
	return true;
}

bool
settings_proxy(const struct config *config, struct buf *out, struct buf *error)
{
	struct buf password = BUF_EMPTY;
	bool ok = settings_secret(&config->upstream.proxy_password, &password, error);

	if (ok)
		proxy_add_url(config, buf_str(&password), out);
	buf_wipe(&password);
	return ok;
}

bool
settings_admin_token(const struct config *config, struct buf *out, struct buf *error)
{
	struct buf why = BUF_EMPTY;
	bool ok = settings_secret(&config->admin_token, out, &why);

	if (ok && out->n > 0 && !adminaccess_is_token(buf_str(out))) {
		buf_add_z(&why, "must be 16 to 4096 letters, digits or any of - . _ ~ + / =");
		ok = false;
	}
	if (!ok)
		buf_printf(error, "admin.token: %.*s", STR_ARG(buf_str(&why)));
	buf_fini(&why);
	return ok;
}

bool
settings_audit_key(struct config *config, struct buf *error)
{
	struct buf key = BUF_EMPTY, why = BUF_EMPTY;
	bool ok = settings_secret(&config->audit_digest_key, &key, &why);

	if (ok && key.n > 0 && key.n < SETTINGS_DIGEST_KEY_MIN) {
		buf_printf(&why, "must be %d bytes or more, is %zu", SETTINGS_DIGEST_KEY_MIN, key.n);
		ok = false;
	}
	if (!ok)
		buf_printf(error, "audit.digest_key: %.*s", STR_ARG(buf_str(&why)));
	if (ok && key.n > sizeof(config->audit_hmac.bytes)) {
		digest_sha256(buf_str(&key), config->audit_hmac.bytes);
		config->audit_hmac.n = 32;
	} else if (ok && key.n > 0) {
		memcpy(config->audit_hmac.bytes, key.p, key.n);
		config->audit_hmac.n = key.n;
	}
	buf_wipe(&key);
	buf_fini(&why);
	return ok;
}

void
settings_body_digest(const struct config *config, struct str body, const uint8_t plain[32], char out[64])
{
	uint8_t digest[32];

	if (config->audit_hmac.n) {
		digest_hmac_sha256((struct str){ (const char *)config->audit_hmac.bytes, config->audit_hmac.n }, body, digest);
		plain = digest;
	}
	str_hex_encode(plain, sizeof(digest), out);
}

void
settings_files(const struct config *config, void (*each)(void *arg, struct str file), void *arg)
{
	const struct str others[] = { config->store.password_secret.file, config->store.ca_file, config->admin_token.file,
		config->polls_store.password_secret.file, config->polls_store.ca_file,
		config->upstream.ca_file, config->upstream.proxy_password.file,
		config->audit_digest_key.file };

	for (size_t i = 0; i < config->listen_count; i++) {
		const struct config_listen *listen = &config->listen[i];
		const struct str files[] = { listen->cert_file, listen->key_file, listen->client_ca_file };

		for (size_t k = 0; k < sizeof(files) / sizeof(files[0]); k++)
			if (files[k].n)
				each(arg, files[k]);
	}
	for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++)
		if (others[k].n)
			each(arg, others[k]);
}

void
settings_audit_directory(const struct config *config, struct buf *out)
{
	struct str state = str_from(getenv("STATE_DIRECTORY")), first;

	if (config->audit_directory.n) {
		buf_add(out, config->audit_directory);
	} else if (str_next(&state, ':', &first) && first.n) {	/* systemd.exec(5): several are divided by colons */
		buf_add(out, first);
		buf_add_z(out, "/audit");
	} else {
		buf_add_z(out, SETTINGS_AUDIT_DEFAULT);
	}
}
