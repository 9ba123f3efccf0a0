/*
 * Settings: the configuration and the secrets it names, as read from files and the environment.
 *
 * rules/config decides what a text means; here it is fetched. Reads files, so it is for the main thread, not for a
 * worker.
 */
#ifndef JOBGATE_GATE_SETTINGS_H
#define JOBGATE_GATE_SETTINGS_H

#include "rules/config.h"

/*
 * The snapshot of FILE with the digest of its text, or NULL and one line per error in ERRORS. Relative paths are
 * relative to FILE's folder.
 */
struct config *settings_load(const char *file, struct buf *errors);

/*
 * Append the secret to OUT: the file's bytes without one newline at the end, or the variable's value. Nothing, and
 * true, where SECRET names neither. False with a sentence in ERROR where it cannot be read, is empty or has over
 * 64 KiB. The caller wipes OUT (buf_wipe).
 */
bool settings_secret(const struct config_secret *secret, struct buf *out, struct buf *error);

/*
 * Append the URL of upstream.proxy with its password, nothing where there is none. False with a sentence in ERROR. The caller
 * wipes OUT.
 */
bool settings_proxy(const struct config *config, struct buf *out, struct buf *error);

/*
 * Append admin.token to OUT; nothing, and true, where there is none. False with a sentence in ERROR where it cannot be read or is none that
 * can be sent. The caller wipes OUT.
 */
bool settings_admin_token(const struct config *config, struct buf *out, struct buf *error);

/*
 * Read audit.digest_key into CONFIG, which nobody else has yet; nothing, and true, where there is none. False with a sentence in ERROR where it
 * cannot be read or is shorter than 16 bytes.
 */
bool settings_audit_key(struct config *config, struct buf *error);

/*
 * The digest of a body, whose SHA-256 is PLAIN, as CONFIG's records have it: an HMAC with audit.digest_key where there is one. 64
 * hexadecimal digits.
 */
void settings_body_digest(const struct config *config, struct str body, const uint8_t plain[32], char out[64]);

/* Show EACH the secrets, certificates and keys in files that CONFIG names: what is read at start and at a reload. */
void settings_files(const struct config *config, void (*each)(void *arg, struct str file), void *arg);

/* Append the journal's directory: the configured one, else $STATE_DIRECTORY/audit, else /var/lib/jobgate/audit. */
void settings_audit_directory(const struct config *config, struct buf *out);

#endif
