/* The types of a run's parameters and what their values must look like. */
#include "rules/jobbody_value.h"

#include "rules/uuid.h"

/* Longer than every word and value that is compared byte by byte here (a UUID has 36 characters). */
#define JOBBODY_WORD_BYTES 40

/* An escape makes six bytes of one, at most. */
#define JOBBODY_ESCAPED_BYTES (JOBBODY_WORD_BYTES * 6)

/* Return a string's bytes, escapes undone in ROOM; one with more than JOBBODY_WORD_BYTES characters as it stands. */
static struct str
short_text(const struct jobbody_member *m, char room[JOBBODY_ESCAPED_BYTES])
{
	if (!m->escaped || m->text.n > JOBBODY_ESCAPED_BYTES)
		return m->text;
	return (struct str){ room, json_unescape(m->text, room) };
}

static bool
is_filled_string(const struct jobbody_member *value)
{
	return value->token == JSON_STRING && value->text.n > 0;
}

static bool
is_string(const struct jobbody_member *value)
{
	return value->token == JSON_STRING;
}

static bool
is_number(const struct jobbody_member *value)
{
	return value->token == JSON_NUMBER;
}

/* Tell whether a number has neither fraction nor exponent; its size does not matter. */
static bool
is_integer(const struct jobbody_member *value)
{
	if (value->token != JSON_NUMBER)
		return false;
	for (size_t i = 0; i < value->text.n; i++)
		if (value->text.p[i] == '.' || value->text.p[i] == 'e' || value->text.p[i] == 'E')
			return false;
	return true;
}

static bool
is_boolean(const struct jobbody_member *value)
{
	return value->token == JSON_TRUE || value->token == JSON_FALSE;
}

/* Tell whether S has the shape of PATTERN, in which 0 stands for any digit. */
static bool
has_shape(struct str s, struct str pattern)
{
	if (s.n != pattern.n)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (pattern.p[i] == '0' ? s.p[i] < '0' || s.p[i] > '9' : s.p[i] != pattern.p[i])
			return false;
	return true;
}

/* Read N digits of S from AT on. */
static int
digits(struct str s, size_t at, size_t n)
{
	int value = 0;

	for (size_t i = at; i < at + n; i++)
		value = value * 10 + (s.p[i] - '0');
	return value;
}

/* Return the number of days in a month of the Gregorian calendar; 0 for what is no month. */
static int
month_days(int year, int month)
{
	static const int days[] = { 0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	if (month < 1 || month > 12)
		return 0;
	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return days[month];
}

/* Tell whether a value is a real date in the one form that the page gives; years begin with 1, as .NET's do. */
static bool
is_date_time(const struct jobbody_member *value)
{
	char room[JOBBODY_ESCAPED_BYTES];
	struct str s = short_text(value, room);
	int year, day;

	if (value->token != JSON_STRING || !has_shape(s, STR("0000-00-00T00:00:00Z")))
		return false;
	year = digits(s, 0, 4);
	day = digits(s, 8, 2);
	return year >= 1 && day >= 1 && day <= month_days(year, digits(s, 5, 2)) &&
	    digits(s, 11, 2) <= 23 && digits(s, 14, 2) <= 59 && digits(s, 17, 2) <= 59;
}

static bool
is_guid(const struct jobbody_member *value)
{
	char room[JOBBODY_ESCAPED_BYTES];

	return value->token == JSON_STRING && uuid_is(short_text(value, room));
}

static bool
is_anything(const struct jobbody_member *value)
{
	(void)value;
	return true;
}

/* The types that the page names. */
static const struct {
	struct str word;
	bool (*fits)(const struct jobbody_member *value);
	const char *fault;
} types[] = {
	{ STR_INIT("VariableReference"), is_filled_string,
		"the value is no VariableReference: not a string, or empty" },
	{ STR_INIT("Integer"), is_integer,
		"the value is no Integer: not a number without fraction and exponent" },
	{ STR_INIT("Number"), is_number, "the value is no Number" },
	{ STR_INIT("Text"), is_string, "the value is no Text: not a string" },
	{ STR_INIT("Boolean"), is_boolean, "the value is no Boolean: neither true nor false" },
	{ STR_INIT("DateTime"), is_date_time,
		"the value is no DateTime: not a real date as \"YYYY-MM-DDTHH:mm:ssZ\"" },
	{ STR_INIT("Guid"), is_guid,
		"the value is no Guid: not 00000000-0000-0000-0000-000000000000" },
	{ STR_INIT("Automatic"), is_anything, NULL },
};

const char *
jobbody_value_fault(const struct jobbody_member *type, const struct jobbody_member *value)
{
	char room[JOBBODY_ESCAPED_BYTES];
	struct str word = short_text(type, room);

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_eq(word, types[i].word))
			return types[i].fits(value) ? NULL : types[i].fault;
	return NULL;
}
