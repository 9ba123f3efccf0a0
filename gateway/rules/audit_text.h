/*
 * Triggers as text: one line each, as a table for people, as JSON Lines or as CSV (RFC 4180).
 *
 * Control characters and what is not ASCII reach no terminal: in a table they are '?'.
 */
#ifndef JOBGATE_RULES_AUDIT_TEXT_H
#define JOBGATE_RULES_AUDIT_TEXT_H

#include "rules/audit_record.h"

enum audit_format { AUDIT_TABLE, AUDIT_JSON, AUDIT_CSV };

/* What stands above the triggers: the columns' names; nothing for JSON. */
void audit_text_head(struct buf *out, enum audit_format format);
/*
 * One trigger with its newline. JSON has all members by their names; a refusal's result is "refused", an intent's without an outcome
 * is null.
 */
void audit_text_trigger(struct buf *out, enum audit_format format, const struct audit_record *trigger);

#endif
