/* The names of a body's parameters, and which of them stand twice. */
#include "rules/jobbody_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "base/utf8.h"

/* More parameters than most runs have. */
#define JOBBODY_NAMES_FIRST 16

/* Capitals and where their small letters are: every STEP-th of FIRST to LAST. Only pairs of one length in UTF-8. */
static const struct fold {
	uint16_t first, last, step;
	int16_t delta;
} folds[] = {
	{ 'A', 'Z', 1, 32 },
	{ 0x00c0, 0x00d6, 1, 32 }, { 0x00d8, 0x00de, 1, 32 },			/* Latin-1 */
	{ 0x0100, 0x012e, 2, 1 }, { 0x0132, 0x0136, 2, 1 }, { 0x0139, 0x0147, 2, 1 },	/* Extended-A */
	{ 0x014a, 0x0176, 2, 1 }, { 0x0178, 0x0178, 1, -121 }, { 0x0179, 0x017d, 2, 1 },
	{ 0x01a0, 0x01a4, 2, 1 }, { 0x01af, 0x01af, 1, 1 },			/* Vietnamese */
	{ 0x0200, 0x021e, 2, 1 }, { 0x0222, 0x0232, 2, 1 },			/* Croatian, Romanian, Livonian */
	{ 0x0386, 0x0386, 1, 38 }, { 0x0388, 0x038a, 1, 37 }, { 0x038c, 0x038c, 1, 64 },	/* Greek */
	{ 0x038e, 0x038f, 1, 63 }, { 0x0391, 0x03a1, 1, 32 }, { 0x03a3, 0x03ab, 1, 32 }, { 0x03c2, 0x03c2, 1, 1 },
	{ 0x0400, 0x040f, 1, 80 }, { 0x0410, 0x042f, 1, 32 }, { 0x0460, 0x0480, 2, 1 },	/* Cyrillic */
	{ 0x048a, 0x04be, 2, 1 }, { 0x04c0, 0x04c0, 1, 15 }, { 0x04c1, 0x04cd, 2, 1 }, { 0x04d0, 0x052e, 2, 1 },
	{ 0x0531, 0x0556, 1, 48 },						/* Armenian */
};

void
jobbody_names_fini(struct jobbody_names *names)
{
	free(names->names);
	buf_fini(&names->text);
	buf_fini(&names->folded);
}

/* Return the small letter of a character below U+0800, or the character itself. */
static unsigned
fold_code(unsigned code)
{
	for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); i++) {
		const struct fold *f = &folds[i];

		if (code >= f->first && code <= f->last && (code - f->first) % f->step == 0)
			return (unsigned)((int)code + f->delta);
	}
	return code;
}

/* Fold the case of S, which is UTF-8, into OUT, which has as many bytes. */
static void
fold_case(struct str s, char *out)
{
	for (size_t i = 0, n; i < s.n; i += n) {
		unsigned char c = (unsigned char)s.p[i];

		n = utf8_length(str_sub(s, i, s.n));
		check(n > 0);
		if (n == 1) {
			out[i] = str_lower(s.p[i]);
		} else if (n == 2) {
			unsigned code = fold_code((c & 0x1fU) << 6 | ((unsigned char)s.p[i + 1] & 0x3fU));

			out[i] = (char)(0xc0 | code >> 6);
			out[i + 1] = (char)(0x80 | (code & 0x3f));
		} else {
			memcpy(out + i, s.p + i, n);
		}
	}
}

struct str
jobbody_names_add(struct jobbody_names *names, struct str text, bool escaped, size_t index)
{
	struct jobbody_name name = { .at = (uint32_t)names->text.n, .index = (uint32_t)index };
	struct str plain;

	if (escaped)
		names->text.n += json_unescape(text, buf_room(&names->text, text.n));
	else
		buf_add(&names->text, text);
	name.n = (uint32_t)(names->text.n - name.at);
	plain = jobbody_names_text(names, &name);
	fold_case(plain, buf_room(&names->folded, plain.n));
	names->folded.n += plain.n;
	if (names->count == names->size) {
		names->size = names->size ? names->size * 2 : JOBBODY_NAMES_FIRST;
		names->names = reallocarray(names->names, names->size, sizeof(name));
		check(names->names != NULL);
	}
	names->names[names->count++] = name;
	return plain;
}

struct str
jobbody_names_text(const struct jobbody_names *names, const struct jobbody_name *name)
{
	return name->n ? (struct str){ names->text.p + name->at, name->n } : STR("");
}

/* Compare the folded bytes of two entries. */
static int
folded_compare(const struct jobbody_names *names, const struct jobbody_name *a, const struct jobbody_name *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	return a->n ? memcmp(names->folded.p + a->at, names->folded.p + b->at, a->n) : 0;
}

/* Order entries by folded name, then by parameter. */
static int
name_compare(const void *a, const void *b, void *arg)
{
	const struct jobbody_name *x = a, *y = b;
	int order = folded_compare(arg, x, y);

	return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int
index_compare(const void *a, const void *b)
{
	const struct jobbody_name *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

void
jobbody_names_keep_repeats(struct jobbody_names *names)
{
	struct jobbody_name before, name;
	size_t kept = 0;

	if (names->count == 0)
		return;
	qsort_r(names->names, names->count, sizeof(name), name_compare, names);
	before = names->names[0];
	before.first = before.index;
	for (size_t i = 1; i < names->count; i++) {
		name = names->names[i];
		name.first = name.index;
		if (folded_compare(names, &before, &name) == 0) {
			name.first = before.first;
			names->names[kept++] = name;
		}
		before = name;
	}
	names->count = kept;
	if (kept)
		qsort(names->names, kept, sizeof(name), index_compare);
}
