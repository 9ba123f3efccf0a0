/* The ledger of requests as they arrived. */
#include "sim_ledger.h"

#include <openssl/evp.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/jsonw.h"

struct sim_ledger {
	int fd;			/* -1: nothing is kept */
	EVP_MD *sha256;		/* fetched once: a fetch costs more than a digest */
	struct buf line;
	struct buf text;	/* one value as UTF-8 */
};

/* Open the ledger's file. */
struct sim_ledger *
sim_ledger_new(const char *file)
{
	struct sim_ledger *l = calloc(1, sizeof(*l));

	check(l != NULL);
	l->fd = -1;
	l->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	check(l->sha256 != NULL);
	if (file == NULL)
		return l;
	l->fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (l->fd < 0) {
		fprintf(stderr, "fabricsim: cannot write the ledger ");
		perror(file);
		exit(1);
	}
	return l;
}

/* Close the ledger. */
void
sim_ledger_free(struct sim_ledger **ledger)
{
	struct sim_ledger *l = *ledger;

	if (l == NULL)
		return;
	if (l->fd >= 0)
		(void)close(l->fd);
	EVP_MD_free(l->sha256);
	buf_fini(&l->line);
	buf_fini(&l->text);
	free(l);
	*ledger = NULL;
}

/* Write a value whose bytes stand for the characters of the same numbers. */
static void
ledger_string(struct sim_ledger *l, struct jsonw *w, const char *key, struct str value)
{
	buf_clear(&l->text);
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c >= 0x80) {
			buf_add_char(&l->text, (char)(0xc0 | c >> 6));
			buf_add_char(&l->text, (char)(0x80 | (c & 0x3f)));
		} else {
			buf_add_char(&l->text, (char)c);
		}
	}
	jsonw_string(w, key, buf_str(&l->text));
}

/* Write the fields in their order. */
static void
ledger_headers(struct sim_ledger *l, struct jsonw *w, const struct http1_head *head)
{
	jsonw_array(w, "headers");
	for (size_t i = 0; i < head->field_count; i++) {
		jsonw_array(w, NULL);
		ledger_string(l, w, NULL, head->fields[i].name);
		ledger_string(l, w, NULL, head->fields[i].value);
		jsonw_end_array(w);
	}
	jsonw_end_array(w);
}

/* Write the digest of a body. */
static void
ledger_digest(struct sim_ledger *l, struct jsonw *w, struct str body)
{
	uint8_t digest[32];
	char hex[64];

	check(EVP_Digest(body.p != NULL ? body.p : "", body.n, digest, NULL, l->sha256, NULL) == 1);
	str_hex_encode(digest, sizeof(digest), hex);
	jsonw_string(w, "body_sha256", (struct str){ hex, sizeof(hex) });
}

/* Append one line. */
void
sim_ledger_write(struct sim_ledger *l, const struct sim_ledger_entry *e)
{
	struct jsonw w = { &l->line, false };
	char time[CLOCK_RFC3339_BYTES];

	if (l->fd < 0)
		return;
	buf_clear(&l->line);
	clock_format_rfc3339(e->time, time);
	jsonw_object(&w, NULL);
	jsonw_string(&w, "time", str_from(time));
	jsonw_int(&w, "connection", (int64_t)e->connection);
	ledger_string(l, &w, "method", e->head->method);
	ledger_string(l, &w, "target", e->head->target);
	ledger_headers(l, &w, e->head);
	jsonw_int(&w, "body_bytes", (int64_t)e->body.n);
	ledger_digest(l, &w, e->body);
	jsonw_int(&w, "status", e->status);
	jsonw_string(&w, "fault", str_from(e->fault));
	jsonw_bool(&w, "complete", e->complete);
	jsonw_end_object(&w);
	buf_add_char(&l->line, '\n');
	if (write(l->fd, l->line.p, l->line.n) != (ssize_t)l->line.n) {
		perror("fabricsim: the ledger cannot be written");
		exit(1);
	}
}
