/*
 * A record of the journal as a row for PostgreSQL's COPY in text format: the columns by which auditors ask, and the
 * whole record.
 *
 * Pure. No value can break out of its column: what COPY gives a meaning is escaped. A number that is none, or beyond a
 * bigint, is null in its column, and stands as it is in the record.
 */
#ifndef JOBGATE_RULES_AUDIT_COPY_H
#define JOBGATE_RULES_AUDIT_COPY_H

#include "rules/audit_record.h"

/* Append the columns' names as COPY takes them: "journal, seq, ...". */
void audit_copy_columns(struct buf *out);

/* Append the row of RECORD, which was read from LINE, with its newline. */
void audit_copy_row(struct buf *out, const struct audit_record *record, struct str line);

#endif
