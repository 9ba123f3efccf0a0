/* Damage in the middle of the journal that somebody has accepted. */
#include "io/journal_repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "base/jsonw.h"
#include "io/tls.h"

void
journal_repairs_fini(struct journal_repairs *repairs)
{
	struct journal_repair *repair;

	while ((repair = repairs->list) != NULL) {
		repairs->list = repair->next;
		free(repair);
	}
	repairs->scanned = false;
}

/* Keep a copy of REPAIR. */
static struct journal_repair *
repairs_add(struct journal_repairs *repairs, const struct journal_repair *repair)
{
	struct journal_repair *copy = malloc(sizeof(*copy));

	check(copy != NULL);
	*copy = *repair;
	copy->next = repairs->list;
	repairs->list = copy;
	return copy;
}

/* --- records --- */

void
journal_repair_members(struct buf *out, const struct journal_repair *repair, const struct journal_accept *accept)
{
	struct jsonw w = { out, false };

	jsonw_string(&w, "kind", STR("repair"));
	jsonw_string(&w, "file", str_from(repair->file));
	jsonw_int(&w, "line", (int64_t)repair->line);
	jsonw_string(&w, "what", str_from(repair->what));
	jsonw_int(&w, "offset", repair->offset);
	jsonw_int(&w, "bytes", repair->bytes);
	jsonw_string(&w, "sha256", (struct str){ repair->digest, JOURNAL_HASH_HEX });
	jsonw_int(&w, "before_seq", (int64_t)repair->before.seq);
	jsonw_string(&w, "before_hash", (struct str){ repair->before.hash, JOURNAL_HASH_HEX });
	jsonw_int(&w, "after_seq", (int64_t)repair->after.seq);
	jsonw_string(&w, "after_hash", (struct str){ repair->after.hash, JOURNAL_HASH_HEX });
	jsonw_string_max(&w, "by", accept->by, 128);
	jsonw_string_max(&w, "reason", accept->reason, 1024);
}

/* Keep TEXT in OUT of SIZE bytes, with NULs behind it; false where it does not fit. */
static bool
repair_text(struct str text, char *out, size_t size)
{
	if (text.n >= size)
		return false;
	memset(out, 0, size);
	memcpy(out, text.p, text.n);
	return true;
}

/* The same for a hash, which fills its place. */
static bool
repair_hash(struct str text, char out[JOURNAL_HASH_HEX])
{
	if (text.n != JOURNAL_HASH_HEX)
		return false;
	memcpy(out, text.p, JOURNAL_HASH_HEX);
	return true;
}

/* Read a number of the record; false where it is none. */
static bool
repair_number(struct str text, int64_t *out)
{
	uint64_t value;

	if (!str_to_u64(text, &value) || value > INT64_MAX)
		return false;
	*out = (int64_t)value;
	return true;
}

/* Read the value of KEY, a string or a number; false where it cannot be that. Others are passed over. */
static bool
repair_member(struct journal_repair *r, struct str key, struct str value)
{
	if (str_eq(key, STR("file")))
		return repair_text(value, r->file, sizeof(r->file));
	if (str_eq(key, STR("what")))
		return repair_text(value, r->what, sizeof(r->what));
	if (str_eq(key, STR("line")))
		return str_to_u64(value, &r->line);
	if (str_eq(key, STR("offset")))
		return repair_number(value, &r->offset);
	if (str_eq(key, STR("bytes")))
		return repair_number(value, &r->bytes);
	if (str_eq(key, STR("sha256")))
		return repair_hash(value, r->digest);
	if (str_eq(key, STR("before_seq")))
		return str_to_u64(value, &r->before.seq);
	if (str_eq(key, STR("before_hash")))
		return repair_hash(value, r->before.hash);
	if (str_eq(key, STR("after_seq")))
		return str_to_u64(value, &r->after.seq);
	return !str_eq(key, STR("after_hash")) || repair_hash(value, r->after.hash);
}

/* Read a good record of kind `repair`; false where LINE is another. */
static bool
repair_read(struct str line, struct journal_repair *r)
{
	struct journal_line parsed;
	struct json_scan scan;
	enum json_token token;

	*r = (struct journal_repair){ .seq = 0 };
	if (str_find(line, STR(",\"kind\":\"repair\",")) == line.n || journal_line_parse(line, &parsed) != NULL)
		return false;
	json_scan_init(&scan, line);
	json_scan_next(&scan);
	while (json_scan_next(&scan) == JSON_KEY) {
		struct str key = scan.text;

		token = json_scan_next(&scan);
		if ((token == JSON_STRING || token == JSON_NUMBER) && !repair_member(r, key, scan.text))
			return false;
		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(&scan))
			return false;
	}
	r->seq = parsed.seq;
	return r->file[0] != '\0' && r->line > 0;
}

/* Collect the records of kind `repair` of one file. */
static void
repairs_scan_file(struct journal_repairs *repairs, int dirfd, const char *name)
{
	struct journal_reader reader;
	struct journal_repair repair;
	enum journal_read got;
	struct str text;

	if (!journal_reader_open(&reader, dirfd, name))
		return;
	while ((got = journal_reader_next(&reader, &text)) == JOURNAL_READ_LINE || got == JOURNAL_READ_LONG)
		if (got == JOURNAL_READ_LINE && repair_read(text, &repair))
			repairs_add(repairs, &repair);
	journal_reader_close(&reader);
}

/* --- measuring --- */

/* Whether TEXT is a record that can be gone on from. */
static bool
damage_ends_at(const struct journal_damage *damage, struct str text, struct journal_line *line)
{
	return journal_line_parse(text, line) == NULL && (damage->uuid.n == 0 || str_eq(line->uuid, damage->uuid)) &&
	    (!damage->before_known || line->seq > damage->before->seq);
}

/* The first record of the next file, where it is one; else seq stays 0. */
static void
measure_next_file(const struct journal_damage *damage, struct journal_repair *repair)
{
	struct journal_reader reader;
	struct journal_line line;
	struct str text;

	if (damage->at + 1 >= damage->names->count ||
	    !journal_reader_open(&reader, damage->dirfd, damage->names->names[damage->at + 1]))
		return;
	if (journal_reader_next(&reader, &text) == JOURNAL_READ_LINE && damage_ends_at(damage, text, &line))
		journal_head_set(&repair->after, &line);
	journal_reader_close(&reader);
}

/* SHA-256 of the damage; false with errno. */
static bool
measure_digest(const struct journal_reader *reader, struct journal_repair *repair)
{
	struct buf bytes = BUF_EMPTY;
	uint8_t digest[32];
	char *to = buf_room(&bytes, (size_t)repair->bytes + 1);
	ssize_t n = 0;

	while (bytes.n < (size_t)repair->bytes &&
	    (n = pread(reader->fd, to + bytes.n, (size_t)repair->bytes - bytes.n, (off_t)repair->offset + (off_t)bytes.n)) > 0)
		bytes.n += (size_t)n;
	digest_sha256(buf_str(&bytes), digest);
	str_hex_encode(digest, sizeof(digest), repair->digest);
	buf_fini(&bytes);
	return n >= 0;
}

/*
 * Find where the damage ends that READER has come to: before the next record that can be gone on from, or with the file.
 * READER is left there. False with errno.
 */
static bool
damage_measure(const struct journal_damage *damage, struct journal_reader *reader, struct journal_repair *repair)
{
	uint64_t first = reader->line > 0 ? reader->line : 1;
	int64_t offset = reader->line > 0 ? reader->start : 0;
	enum journal_read got;
	struct journal_line line;
	struct str text;

	*repair = (struct journal_repair){ .line = first, .offset = offset, .before = *damage->before };
	journal_head_init(&repair->after);
	snprintf(repair->file, sizeof(repair->file), "%s", damage->names->names[damage->at]);
	snprintf(repair->what, sizeof(repair->what), "%s", damage->what);
	if (!journal_reader_seek(reader, offset, first - 1))
		return false;
	while ((got = journal_reader_next(reader, &text)) != JOURNAL_READ_END && got != JOURNAL_READ_ERROR)
		if (got == JOURNAL_READ_LINE && damage_ends_at(damage, text, &line)) {
			journal_head_set(&repair->after, &line);
			repair->bytes = reader->start - offset;
			return measure_digest(reader, repair) && journal_reader_seek(reader, reader->start, reader->line - 1);
		}
	if (got == JOURNAL_READ_ERROR)
		return false;
	repair->bytes = reader->offset - offset;
	measure_next_file(damage, repair);
	return measure_digest(reader, repair);
}

/* Whether the record ACCEPTED speaks of exactly this damage. */
static bool
repair_is_of(const struct journal_repair *accepted, const struct journal_repair *found, bool before_known)
{
	return strcmp(accepted->file, found->file) == 0 && accepted->line == found->line &&
	    accepted->offset == found->offset && accepted->bytes == found->bytes &&
	    memcmp(accepted->digest, found->digest, JOURNAL_HASH_HEX) == 0 && accepted->after.seq == found->after.seq &&
	    memcmp(accepted->after.hash, found->after.hash, JOURNAL_HASH_HEX) == 0 &&
	    (!before_known || (accepted->before.seq == found->before.seq &&
	    memcmp(accepted->before.hash, found->before.hash, JOURNAL_HASH_HEX) == 0));
}

/* The repair of this damage, or NULL. */
static struct journal_repair *
repairs_find(struct journal_repairs *repairs, const struct journal_damage *damage, const struct journal_repair *found)
{
	struct journal_repair *r = repairs->list;

	for (size_t i = damage->at; i < damage->names->count && !repairs->scanned; i++)
		repairs_scan_file(repairs, damage->dirfd, damage->names->names[i]);
	repairs->scanned = true;
	for (r = repairs->list; r != NULL; r = r->next)
		if (repair_is_of(r, found, damage->before_known))
			return r;
	return NULL;
}

struct journal_repair *
journal_repairs_pass(struct journal_repairs *repairs, struct journal_reader *reader, const struct journal_damage *damage)
{
	struct journal_repair found, *repair = NULL;
	uint64_t line = reader->line;
	int64_t start = reader->start;
	bool last = damage->at + 1 == damage->names->count;

	if (damage_measure(damage, reader, &found) && !(last && found.after.seq == 0)) {
		repair = repairs_find(repairs, damage, &found);
		if (repair == NULL && damage->accept && damage->accept->line == found.line &&
		    str_eq(damage->accept->file, str_from(found.file)))
			repair = repairs_add(repairs, &found);
	}
	if (repair) {
		repair->used = true;
		return repair;
	}
	journal_reader_seek(reader, line > 0 ? start : 0, line > 0 ? line - 1 : 0);
	return NULL;
}

void
journal_repairs_see(struct journal_repairs *repairs, const struct journal_line *line)
{
	for (struct journal_repair *r = repairs->list; r != NULL; r = r->next)
		if (r->seq == line->seq)
			r->seen = true;
}

bool
journal_repairs_are_seen(const struct journal_repairs *repairs)
{
	for (const struct journal_repair *r = repairs->list; r != NULL; r = r->next)
		if (r->used && r->seq > 0 && !r->seen)
			return false;
	return true;
}
