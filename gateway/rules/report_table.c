/* Tables of a status: columns as wide as what stands in them. */
#include <string.h>

#include "base/check.h"
#include "rules/report_private.h"

#define TABLE_COLUMNS_MAX 8
/* Longer cells are cut: names may have 64 bytes, and a line is to fit a terminal. */
#define TABLE_CELL_MAX 36

/* Find out how wide each column is. */
static void
table_measure(struct str rows, size_t columns, size_t widths[TABLE_COLUMNS_MAX])
{
	struct str row, cell;

	while (str_next(&rows, '\n', &row))
		for (size_t i = 0; i + 1 < columns && str_next(&row, '\t', &cell); i++)
			if (cell.n > widths[i])
				widths[i] = cell.n < TABLE_CELL_MAX ? cell.n : TABLE_CELL_MAX;
}

/* Append a cell that is followed by another. */
static void
table_cell(struct buf *out, struct str cell, char side, size_t width)
{
	bool cut = cell.n > TABLE_CELL_MAX;
	struct str shown = cut ? str_sub(cell, 0, TABLE_CELL_MAX - 2) : cell;
	int pad = (int)(width - shown.n - (cut ? 2 : 0));

	buf_printf(out, "  %*s%.*s%s%*s", side == 'r' ? pad : 0, "", STR_ARG(shown), cut ? ".." : "", side == 'l' ? pad : 0, "");
}

void
report_table(struct buf *out, struct str rows, const char *sides)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 }, columns = strlen(sides);
	struct str row, cell;

	check(columns <= TABLE_COLUMNS_MAX);
	table_measure(rows, columns, widths);
	while (str_next(&rows, '\n', &row) && row.n > 0) {
		for (size_t i = 0; i + 1 < columns && str_next(&row, '\t', &cell); i++)
			table_cell(out, cell, sides[i], widths[i]);
		buf_printf(out, "  %.*s\n", STR_ARG(row));
	}
}
