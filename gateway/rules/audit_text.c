/* Triggers as text. */
#include "rules/audit_text.h"

/* What a person asks for, in the order of the question: when, who, what, what came of it. The last column has no width. */
static const struct { enum audit_member member; const char *title; int width; } columns[] = {
	{ AUDIT_TIME, "TIME", 20 },
	{ AUDIT_CALLER, "CALLER", 16 },
	{ AUDIT_OPERATION, "OPERATION", 15 },
	{ AUDIT_JOB_TYPE, "JOB TYPE", 12 },
	{ AUDIT_RESULT, "RESULT", 9 },
	{ AUDIT_STATUS, "STATUS", 6 },
	{ AUDIT_WORKSPACE, "WORKSPACE", 36 },
	{ AUDIT_ITEM, "ITEM", 36 },
	{ AUDIT_INSTANCE_ID, "JOB INSTANCE", 36 },
	{ AUDIT_REQUEST_ID, "REQUEST", 0 },
};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

/* Whole seconds tell a person enough: "2026-08-01T12:34:56". */
#define TABLE_TIME_BYTES 19

/* A member, as it is shown. */
static struct audit_value
text_value(const struct audit_record *trigger, enum audit_member member)
{
	return member == AUDIT_RESULT ? audit_record_result(trigger) : trigger->values[member];
}

/* Append a value for a terminal: what it may not see is '?'. */
static void
table_value(struct buf *out, struct audit_value value, enum audit_member member, int width)
{
	struct str text = value.token == JSON_NULL ? STR("-") : value.text;

	if (value.token == JSON_TRUE || value.token == JSON_FALSE)
		text = value.token == JSON_TRUE ? STR("true") : STR("false");
	if (member == AUDIT_TIME)
		text = str_sub(text, 0, TABLE_TIME_BYTES);
	for (size_t i = 0; i < text.n; i++)
		buf_add_char(out, text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?');
	for (int n = (int)text.n; n < width; n++)
		buf_add_char(out, ' ');
}

/* A line of the table. */
static void
table_trigger(struct buf *out, const struct audit_record *trigger)
{
	for (size_t i = 0; i < COLUMN_COUNT; i++) {
		struct audit_value value = text_value(trigger, columns[i].member);

		if (columns[i].member == AUDIT_RESULT && value.token == JSON_NULL)
			value = (struct audit_value){ JSON_STRING, STR("open") };
		table_value(out, value, columns[i].member, columns[i].width);
		buf_add_z(out, i + 1 < COLUMN_COUNT ? "  " : "\n");
	}
}

/* A value as it stood. */
static void
json_value(struct buf *out, struct audit_value value)
{
	static const char *const words[] = { [JSON_TRUE] = "true", [JSON_FALSE] = "false", [JSON_NULL] = "null" };

	if (value.token == JSON_STRING)
		buf_add_char(out, '"');
	if (value.token == JSON_STRING || value.token == JSON_NUMBER)
		buf_add(out, value.text);
	else
		buf_add_z(out, words[value.token]);
	if (value.token == JSON_STRING)
		buf_add_char(out, '"');
}

/* An object with all members. */
static void
json_trigger(struct buf *out, const struct audit_record *trigger)
{
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++) {
		buf_printf(out, "%s\"%.*s\":", i ? "," : "{", STR_ARG(audit_member_name((enum audit_member)i)));
		json_value(out, text_value(trigger, (enum audit_member)i));
	}
	buf_add_z(out, "}\n");
}

/*
 * A value between quotes, unescaped; nothing for null. What a spreadsheet would take for a formula gets an apostrophe before it,
 * since values of a client's are among them.
 */
static void
csv_value(struct buf *out, struct audit_value value)
{
	struct buf text = BUF_EMPTY;

	if (value.token == JSON_NULL)
		return;
	if (value.token != JSON_STRING) {
		json_value(out, value);
		return;
	}
	text.n = json_unescape(value.text, buf_room(&text, value.text.n + 1));
	buf_add_char(out, '"');
	if (text.n > 0 && (text.p[0] == '=' || text.p[0] == '+' || text.p[0] == '-' || text.p[0] == '@'))
		buf_add_char(out, '\'');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"')
			buf_add_char(out, '"');
		buf_add_char(out, text.p[i]);
	}
	buf_add_char(out, '"');
	buf_fini(&text);
}

/* A row (RFC 4180). */
static void
csv_trigger(struct buf *out, const struct audit_record *trigger)
{
	for (int i = 0; i < AUDIT_MEMBER_COUNT; i++) {
		if (i)
			buf_add_char(out, ',');
		csv_value(out, text_value(trigger, (enum audit_member)i));
	}
	buf_add_z(out, "\r\n");
}

void
audit_text_head(struct buf *out, enum audit_format format)
{
	if (format == AUDIT_TABLE)
		for (size_t i = 0; i < COLUMN_COUNT; i++)
			buf_printf(out, "%-*s%s", columns[i].width, columns[i].title, i + 1 < COLUMN_COUNT ? "  " : "\n");
	if (format == AUDIT_CSV)
		for (int i = 0; i < AUDIT_MEMBER_COUNT; i++)
			buf_printf(out, "%.*s%s", STR_ARG(audit_member_name((enum audit_member)i)), i + 1 < AUDIT_MEMBER_COUNT ? "," : "\r\n");
}

void
audit_text_trigger(struct buf *out, enum audit_format format, const struct audit_record *trigger)
{
	if (format == AUDIT_TABLE)
		table_trigger(out, trigger);
	else if (format == AUDIT_JSON)
		json_trigger(out, trigger);
	else
		csv_trigger(out, trigger);
}
