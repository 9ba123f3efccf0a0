/*
 * Lost answers: answers to runs that nobody received, kept for a while for the next identical run.
 *
 *   (sent) -the caller goes-> FLYING -answered-> ANSWERED -the next identical run-> (its answer)
 *      |                        | '---------the next identical run joins it: told with the answer
 *      |                        '---not executed-> (gone: whoever joined is told to go on)
 *      '--nobody knows--> UNKNOWN: told to every identical run until it is forgotten, or answered late
 *
 * Several identical runs may have been lost; each answers one later run, the oldest first. An unknown one answers all, since it was
 * delivered when it was remembered. FLYING ones are never forgotten: they land.
 *
 * Pure: time is an argument, in microseconds of one clock. For one thread.
 */
#ifndef JOBGATE_RULES_LOST_H
#define JOBGATE_RULES_LOST_H

#include "base/buf.h"
#include "rules/claim.h"

enum lost_state { LOST_NONE, LOST_FLYING, LOST_ANSWERED, LOST_UNKNOWN };

/* A request, where it can be told something. */
struct lost_who { uint16_t worker; uint32_t slot; char id[CLAIM_ID_BYTES]; };

struct lost_found {
	enum lost_state state;
	char first[CLAIM_ID_BYTES];	/* whose answer it is; but for NONE */
	struct buf answer;		/* ANSWERED: the receiver's from now on */
};

struct lost_table;

/* More than MAX are not remembered: the oldest is forgotten. */
struct lost_table *lost_table_new(size_t max);
void lost_table_free(struct lost_table **table);

/* The request ID, which asked for NAME, is in flight, and its caller has gone. */
void lost_fly(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES]);

/* WHO asks for NAME. FLYING: it has joined that one, and is told when it lands. */
void lost_look(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const struct lost_who *who, int64_t now_us,
    struct lost_found *found);
/* Who has joined goes. */
void lost_leave(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES]);

/*
 * The request ID, flying or not, has ended: with ANSWER, which nobody received, unknown, or (NONE) as if it had not been sent.
 * True where *JOINER is to be told so; with ANSWERED the answer is then its alone. ANSWER is copied.
 */
bool lost_land(struct lost_table *table, const uint8_t name[CLAIM_DIGEST_BYTES], const char id[CLAIM_ID_BYTES], enum lost_state state,
    struct str answer, int64_t keep_us, int64_t now_us, struct lost_who *joiner);

/*
 * The same in Redis, for the other instances: PREFIX:lost1:{TAG}:NAME, a letter, the id, and the answer. TAG is the name of the
 * bucket, so that the grant's script may look for it. F flying, A answered, U unknown, N: it was, and is no more.
 */
#define LOST_TAG_BYTES 160
struct lost_text { enum lost_state state; bool was; struct str first, answer; };

void lost_key(struct buf *out, struct str prefix, struct str tag, const uint8_t name[CLAIM_DIGEST_BYTES]);

/*
 * That there may be any is marked, so that they are looked for only then: PREFIX:lost1:{TAG}:any, "UNTIL WHO", the time in milliseconds
 * of the server's clock by which all of them are forgotten, and which process (its journal and its start) remembers them all itself;
 * "*" where no single one does.
 */
#define LOST_MARK_EVERYBODY "*"
void lost_mark_key(struct buf *out, struct str prefix, struct str tag);
/* How a process is called there: MEMBER, in its start number START. */
void lost_mark_who(struct buf *out, struct str member, int64_t start);
/* Is MARK of that process alone? */
bool lost_mark_is_of(struct str mark, struct str member, int64_t start);
void lost_text_write(struct buf *out, enum lost_state state, const char id[CLAIM_ID_BYTES], struct str answer);
/* False where it is none: nothing is known. With N the state is NONE and WAS true. */
bool lost_text_read(struct str text, struct lost_text *out);

size_t lost_count(const struct lost_table *table);

#endif
