/* What journals say of each other. */
#include "io/journal_anchors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "io/journal_progress.h"
#include "io/journal_segment.h"

#define KIND_KEY "\"kind\":\""
#define KIND_ANCHOR "anchor\""

/* What an anchor's line says. */
struct anchor_members {
	struct str journal, hash;
	uint64_t seq;
};

/* --- gathering --- */

/* Whether a line may be an anchor's. The first "kind" is its own: in the label before it quotes are escaped. */
static bool
anchor_may_be(struct str line)
{
	const char *at = memmem(line.p, line.n, KIND_KEY, sizeof(KIND_KEY) - 1);

	return at && str_starts(str_sub(line, (size_t)(at - line.p) + sizeof(KIND_KEY) - 1, line.n), STR(KIND_ANCHOR));
}

/* Read the members of an anchor's line; false where one is missing or of another form. */
static bool
anchor_read(struct str line, struct anchor_members *out)
{
	struct json_scan scan;
	bool ok = false;

	*out = (struct anchor_members){ .seq = 0 };
	json_scan_init(&scan, line);
	if (json_scan_next(&scan) != JSON_OBJECT)
		return false;
	while (json_scan_next(&scan) == JSON_KEY) {
		struct str key = scan.text;
		enum json_token token = json_scan_next(&scan);

		if ((token == JSON_OBJECT || token == JSON_ARRAY) && !json_scan_skip(&scan))
			return false;
		if (str_eq(key, STR("of_journal")) && token == JSON_STRING)
			out->journal = scan.text;
		if (str_eq(key, STR("of_seq")) && token == JSON_NUMBER)
			ok = str_to_u64(scan.text, &out->seq);
		if (str_eq(key, STR("of_hash")) && token == JSON_STRING)
			out->hash = scan.text;
	}
	return ok && out->seq > 0 && journal_uuid_valid(out->journal);
}

/* All that is said of journal UUID, to be added to. */
static struct journal_anchors_of *
anchors_of(struct journal_anchors *anchors, struct str uuid)
{
	struct journal_anchors_of *of;

	for (size_t i = 0; i < anchors->count; i++)
		if (str_eq(str_from(anchors->of[i].uuid), uuid))
			return &anchors->of[i];
	anchors->of = realloc(anchors->of, (anchors->count + 1) * sizeof(anchors->of[0]));
	check(anchors->of != NULL);
	of = &anchors->of[anchors->count++];
	*of = (struct journal_anchors_of){ .count = 0 };
	memcpy(of->uuid, uuid.p, JOURNAL_UUID_BYTES);
	return of;
}

void
journal_anchors_take(struct journal_anchors *anchors, struct str text, uint32_t witness, struct wall_time as_of)
{
	struct anchor_members members;
	struct journal_anchor anchor = { .witness = witness };
	struct journal_anchors_of *of;
	struct journal_line line;
	struct wall_time time;

	if (journal_line_parse(text, &line) != NULL || line.kind != JOURNAL_ANCHOR || !anchor_read(text, &members))
		return;
	if (str_eq(members.journal, line.uuid) || !str_hex_decode(members.hash, anchor.hash, sizeof(anchor.hash)))
		return;
	anchor.seq = members.seq;
	anchor.own_seq = line.seq;
	anchor.late = journal_line_time(text, &time) && time.us > as_of.us;
	of = anchors_of(anchors, members.journal);
	if (of->count == of->size) {
		of->size = of->size ? of->size * 2 : 64;
		of->list = reallocarray(of->list, of->size, sizeof(of->list[0]));
		check(of->list != NULL);
	}
	of->list[of->count++] = anchor;
}

/* Take the anchors of one file; one that is deleted by now has none. */
static void
anchors_read_file(struct journal_anchors *anchors, int dirfd, const char *name, uint32_t witness, struct wall_time as_of,
    struct journal_progress *progress)
{
	struct journal_reader reader;
	enum journal_read got;
	struct str line;

	if (!journal_reader_open(&reader, dirfd, name))
		return;
	while ((got = journal_reader_next(&reader, &line)) == JOURNAL_READ_LINE || got == JOURNAL_READ_LONG) {
		if (got == JOURNAL_READ_LINE && anchor_may_be(line))
			journal_anchors_take(anchors, line, witness, as_of);
		journal_progress_add(progress, name, line.n + 1);
	}
	journal_reader_close(&reader);
}

void
journal_anchors_gather(struct journal_anchors *anchors, struct str directory, uint32_t witness, struct wall_time as_of,
    struct journal_progress *progress)
{
	struct journal_names names = { NULL, 0 };
	struct buf path = BUF_EMPTY, stray = BUF_EMPTY;
	int dirfd;

	buf_add(&path, directory);
	buf_add_char(&path, '\0');
	dirfd = open(path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd >= 0 && journal_names_read(&names, dirfd, &stray))
		for (size_t i = 0; i < names.count; i++)
			anchors_read_file(anchors, dirfd, names.names[i], witness, as_of, progress);
	if (dirfd >= 0)
		close(dirfd);
	journal_names_fini(&names);
	buf_fini(&path);
	buf_fini(&stray);
}

/* For qsort. */
static int
anchor_compare(const void *a, const void *b)
{
	const struct journal_anchor *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	if (x->witness != y->witness)
		return x->witness < y->witness ? -1 : 1;
	return x->own_seq < y->own_seq ? -1 : x->own_seq > y->own_seq;
}

void
journal_anchors_sort(struct journal_anchors *anchors)
{
	for (size_t i = 0; i < anchors->count; i++)
		qsort(anchors->of[i].list, anchors->of[i].count, sizeof(anchors->of[i].list[0]), anchor_compare);
}

void
journal_anchors_fini(struct journal_anchors *anchors)
{
	for (size_t i = 0; i < anchors->count; i++)
		free(anchors->of[i].list);
	free(anchors->of);
	*anchors = (struct journal_anchors){ NULL, 0 };
}

const struct journal_anchors_of *
journal_anchors_find(const struct journal_anchors *anchors, struct str uuid)
{
	for (size_t i = 0; i < anchors->count; i++)
		if (str_eq(str_from(anchors->of[i].uuid), uuid))
			return &anchors->of[i];
	return NULL;
}

/* --- hearing --- */

/* The anchor that is to be heard next; NULL: none. */
static const struct journal_anchor *
hearing_next(const struct journal_hearing *hearing)
{
	return hearing->of && hearing->at < hearing->of->count ? &hearing->of->list[hearing->at] : NULL;
}

/* Be done with that one. */
static void
hearing_advance(struct journal_hearing *hearing, size_t by)
{
	const struct journal_anchor *next;

	hearing->at += by;
	next = hearing_next(hearing);
	hearing->next_seq = next ? next->seq : UINT64_MAX;
}

void
journal_hearing_begin(struct journal_hearing *hearing, const struct journal_anchors_of *of, size_t witnesses)
{
	*hearing = (struct journal_hearing){ .of = of, .witnesses = witnesses };
	hearing->vouched = calloc(witnesses + 1, sizeof(hearing->vouched[0]));
	hearing->accusations = calloc(witnesses + 1, sizeof(hearing->accusations[0]));
	check(hearing->vouched != NULL && hearing->accusations != NULL);
	hearing_advance(hearing, 0);
}

void
journal_hearing_fini(struct journal_hearing *hearing)
{
	free(hearing->vouched);
	free(hearing->accusations);
	*hearing = (struct journal_hearing){ .of = NULL };
}

/* Note what a witness says otherwise, where it is the first thing. AGREED: the last record before that is as it was. */
static void
hearing_accuse(struct journal_hearing *hearing, const struct journal_anchor *anchor, uint64_t agreed, bool ends)
{
	for (size_t i = 0; i < hearing->count; i++)
		if (hearing->accusations[i].anchor.witness == anchor->witness)
			return;
	hearing->accusations[hearing->count++] = (struct journal_accusation){ *anchor, agreed, ends };
}

/* Hear all that is said of the record HEAD. */
static void
hearing_compare(struct journal_hearing *hearing, const struct journal_head *head)
{
	const struct journal_anchor *anchor;
	uint8_t hash[JOURNAL_HASH_HEX / 2];
	uint64_t agreed = hearing->agreed;

	check(str_hex_decode((struct str){ head->hash, JOURNAL_HASH_HEX }, hash, sizeof(hash)));
	for (; (anchor = hearing_next(hearing)) != NULL && anchor->seq == head->seq; hearing_advance(hearing, 1))
		if (memcmp(anchor->hash, hash, sizeof(hash)) == 0) {
			hearing->held++;
			hearing->agreed = hearing->vouched[anchor->witness] = head->seq;
		} else {
			hearing_accuse(hearing, anchor, agreed, false);
		}
}

void
journal_hearing_record(struct journal_hearing *hearing, const struct journal_head *head, const struct journal_head *before)
{
	const struct journal_anchor *anchor;

	if (head->seq < hearing->next_seq)
		return;
	for (; (anchor = hearing_next(hearing)) != NULL && anchor->seq < head->seq; hearing_advance(hearing, 1)) {
		if (anchor->seq == before->seq) {
			hearing_compare(hearing, before);	/* what is deleted, but its hash is known */
			if (hearing_next(hearing) == NULL || hearing_next(hearing)->seq >= head->seq)
				break;
		}
		hearing->deleted++;
	}
	if (hearing->next_seq == head->seq)
		hearing_compare(hearing, head);
}

void
journal_hearing_end(struct journal_hearing *hearing)
{
	const struct journal_anchor *anchor;

	for (; (anchor = hearing_next(hearing)) != NULL; hearing_advance(hearing, 1))
		if (anchor->late)
			hearing->late++;
		else
			hearing_accuse(hearing, anchor, hearing->agreed, true);
}
