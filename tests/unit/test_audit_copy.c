/* rules/audit_copy: a record as a row for COPY. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "rules/audit_copy.h"

#define BEGIN "{\"journal\":\"j\",\"seq\":7,\"time\":\"2026-11-01T00:00:00.000000Z\",\"kind\":\"config\""

/* How many fields the columns have. */
static size_t
column_count(void)
{
	struct buf names = BUF_EMPTY;
	struct str rest, name;
	size_t n = 0;

	audit_copy_columns(&names);
	rest = buf_str(&names);
	while (str_next(&rest, ',', &name))
		n++;
	buf_fini(&names);
	return n;
}

/* The place of the column NAME. */
static size_t
column_of(const char *name)
{
	struct buf names = BUF_EMPTY;
	struct str rest, next;
	size_t i = 0;

	audit_copy_columns(&names);
	for (rest = buf_str(&names); str_next(&rest, ',', &next); i++)
		if (str_eq(str_trim(next), str_from(name)))
			break;
	buf_fini(&names);
	assert_true(i < column_count());
	return i;
}

/* The row of the record BEGIN with MEMBERS; its field COLUMN must be EXPECTED. */
static void
expect(const char *members, const char *column, const char *expected)
{
	struct buf line = BUF_EMPTY, row = BUF_EMPTY;
	struct audit_record record;
	struct str rest, field = { NULL, 0 };
	size_t fields = 0;

	buf_printf(&line, BEGIN "%s}", members);
	assert_null(audit_record_read(buf_str(&line), &record));
	audit_copy_row(&row, &record, buf_str(&line));
	assert_int_equal(row.p[row.n - 1], '\n');
	assert_int_equal(str_find_char(buf_str(&row), '\n'), row.n - 1);	/* one row, whatever is in it */
	rest = str_sub(buf_str(&row), 0, row.n - 1);
	for (struct str next; str_next(&rest, '\t', &next); fields++)
		if (fields == column_of(column))
			field = next;
	assert_int_equal(fields, column_count());
	if (!str_eq(field, str_from(expected)))
		fail_msg("%s: \"%.*s\" is not \"%s\"", members, STR_ARG(field), expected);
	buf_fini(&line);
	buf_fini(&row);
}

static void
test_values(void **state)
{
	static const struct { const char *members, *column, *expected; } cases[] = {
		{ "", "seq", "7" },
		{ "", "journal", "j" },
		{ "", "kind", "config" },
		{ "", "caller", "\\N" },
		{ ",\"caller\":null", "caller", "\\N" },
		{ ",\"caller\":\"\"", "caller", "" },
		{ ",\"caller\":\"\\\\N\"", "caller", "\\\\N" },		/* a caller of that name is no null */
		{ ",\"caller\":\"\\\\.\"", "caller", "\\\\." },		/* nor the end of the rows */
		{ ",\"caller\":\"a\\tb\\nc\\rd\"", "caller", "a\\tb\\nc\\rd" },
		{ ",\"caller\":\"\\u0009\\u000a\\u00e9\"", "caller", "\\t\\n\xc3\xa9" },
		{ ",\"caller\":[\"a\\tb\"]", "caller", "\\N" },
		{ ",\"caller\":true", "caller", "\\N" },
		{ ",\"status\":202", "status", "202" },
		{ ",\"status\":-1", "status", "\\N" },
		{ ",\"status\":1.5", "status", "\\N" },
		{ ",\"status\":9223372036854775807", "status", "9223372036854775807" },
		{ ",\"status\":9223372036854775808", "status", "\\N" },
		{ ",\"x\":\"\\\"\\n\"", "record",
		    "{\"journal\":\"j\",\"seq\":7,\"time\":\"2026-11-01T00:00:00.000000Z\",\"kind\":\"config\",\"x\":\"\\\\\"\\\\n\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(cases[i].members, cases[i].column, cases[i].expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
