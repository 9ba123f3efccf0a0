/*
 * What `jobgate status` shows a person: the JSON of GET /status as plain text. Pure: JSON in, text out.
 *
 * Whatever is in the JSON, the text is printable ASCII and line ends: a terminal is shown nothing else.
 */
#ifndef JOBGATE_RULES_REPORT_TEXT_H
#define JOBGATE_RULES_REPORT_TEXT_H

#include "base/buf.h"

/* Append the text. False, and nothing appended, where JSON is no status of jobgate's; what is missing in one is shown as 0 or left out. */
bool report_text(struct str json, struct buf *out);

#endif
