/*
 * Audit: what of a request is recorded, and how many refusals. The journal orders and writes; rules/record makes the bytes.
 */
#ifndef JOBGATE_GATE_AUDIT_H
#define JOBGATE_GATE_AUDIT_H

#include "io/journal.h"
#include "io/loop.h"
#include "rules/config.h"
#include "rules/heads.h"
#include "rules/record.h"
#include "rules/reply.h"

struct audit;

/*
 * How many records may wait for the journal's writer under CONFIG: the intent of a request of each connection together with its outcome,
 * and, beside them, refusals and what was sent for those who have gone since.
 */
size_t audit_ring_records(const struct config *config);

/*
 * LOOP flushes the counted refusals, and looks at the free space, once a second; it must be the loop of the calling
 * thread. JOURNAL is borrowed; of CONFIG what audit_set takes.
 */
struct audit *audit_new(struct loop *loop, struct journal *journal, const struct config *config);
/* Writes what is counted. */
void audit_free(struct audit **audit);
/* Take CONFIG's audit.refusals, audit.retention, audit.warn_free and limits.connections. Any thread. */
void audit_set(struct audit *audit, const struct config *config);

/* Whether less than audit.warn_free is free where the journal is; any thread. */
bool audit_space_is_low(const struct audit *audit);

struct journal *audit_journal(const struct audit *audit);

/*
 * Record a refusal, or only count it where its caller and error code had their records of this second already; the count
 * goes into one record, with the members of the first that was only counted, when the second is over. Any thread; never waits for the disk.
 */
void audit_refusal(struct audit *audit, const struct record_request *request, enum refusal refusal, int status);

/* Count a refusal of which audit_refusal would make no bytes any more; false where it would, and is to be called. Any thread. */
bool audit_count_refusal(struct audit *audit, struct str caller, enum refusal refusal);

/* Record what became of looking for a run of unknown outcome. Any thread; never waits for the disk. */
void audit_resolution(struct audit *audit, const struct record_request *request,
    const struct record_resolution *resolution);

/*
 * Record that REQUEST was answered STATUS with what FIRST_ID, another request, was answered or has lost. Bounded as refusals, which
 * replays are apart from.
 */
void audit_replay(struct audit *audit, const struct record_request *request, struct str first_id, int status);

/* Record configuration (event "start" or "reload") and stop. Main's thread. */
void audit_config(struct audit *audit, const struct config *config, const char *event);
void audit_stop(struct audit *audit, const char *reason);

/* Record another journal's head; false where the journal cannot take it now. Main's thread. */
bool audit_anchor(struct audit *audit, const struct heads_head *head);

#endif
