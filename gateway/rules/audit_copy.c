/* A record of the journal as a row for PostgreSQL's COPY. */
#include "rules/audit_copy.h"

#include <stdint.h>

/* The columns that are members of records; kind and record come behind them. */
static const enum audit_member columns[] = { AUDIT_JOURNAL, AUDIT_SEQ, AUDIT_TIME, AUDIT_INSTANCE, AUDIT_REQUEST_ID,
	AUDIT_CLIENT_REQUEST_ID, AUDIT_CALLER, AUDIT_KEY, AUDIT_IDENTITY, AUDIT_PEER, AUDIT_OPERATION, AUDIT_WORKSPACE,
	AUDIT_ITEM, AUDIT_JOB_TYPE, AUDIT_BODY_SHA256, AUDIT_RESULT, AUDIT_STATUS, AUDIT_ERROR_CODE, AUDIT_INSTANCE_ID };
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

void
audit_copy_columns(struct buf *out)
{
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		buf_printf(out, "%.*s, ", STR_ARG(audit_member_name(columns[i])));
	buf_add_z(out, "kind, record");
}

/* Append bytes of a value; the delimiter, line ends and the backslash are escaped (PostgreSQL, COPY, "Text Format"). */
static void
copy_escape(struct buf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		switch (text.p[i]) {
		case '\\': buf_add_z(out, "\\\\"); break;
		case '\t': buf_add_z(out, "\\t"); break;
		case '\n': buf_add_z(out, "\\n"); break;
		case '\r': buf_add_z(out, "\\r"); break;
		default: buf_add_char(out, text.p[i]);
		}
	}
}

/* Append a JSON string's characters. */
static void
copy_string(struct buf *out, struct str escaped)
{
	struct buf text = BUF_EMPTY;

	if (str_find_char(escaped, '\\') == escaped.n) {
		copy_escape(out, escaped);
		return;
	}
	text.n = json_unescape(escaped, buf_room(&text, escaped.n + 1));
	copy_escape(out, buf_str(&text));
	buf_fini(&text);
}

/* Append one value. */
static void
copy_value(struct buf *out, struct audit_value value)
{
	uint64_t number;

	if (value.token == JSON_STRING)
		copy_string(out, value.text);
	else if (value.token == JSON_NUMBER && str_to_u64(value.text, &number) && number <= INT64_MAX)
		buf_add(out, value.text);
	else
		buf_add_z(out, "\\N");
}

void
audit_copy_row(struct buf *out, const struct audit_record *record, struct str line)
{
	for (size_t i = 0; i < COLUMN_COUNT; i++) {
		copy_value(out, record->values[columns[i]]);
		buf_add_char(out, '\t');
	}
	copy_string(out, record->kind_name);
	buf_add_char(out, '\t');
	copy_escape(out, line);
	buf_add_char(out, '\n');
}
