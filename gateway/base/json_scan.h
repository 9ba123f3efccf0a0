/*
 * JSON reader without a tree (RFC 8259): tokens one after the other, strict, bounded depth.
 *
 * Refuses what jansson refuses too: invalid UTF-8, lone surrogates, BOM, NaN, 01, trailing bytes,
 * \u0000. Numbers of any size pass (they are only looked at). One pass, no allocation.
 */
#ifndef JOBGATE_BASE_JSON_SCAN_H
#define JOBGATE_BASE_JSON_SCAN_H

#include "base/str.h"

#define JSON_SCAN_DEPTH_MAX 32

enum json_token {
	JSON_END,		/* the value and nothing but white space behind it */
	JSON_FAULT,		/* see fault */
	JSON_OBJECT, JSON_OBJECT_END,
	JSON_ARRAY, JSON_ARRAY_END,
	JSON_KEY,		/* text: between the quotes, still escaped */
	JSON_STRING,		/* the same */
	JSON_NUMBER,		/* text: as written */
	JSON_TRUE, JSON_FALSE, JSON_NULL,
};

struct json_scan {
	struct str input;
	size_t at;		/* offset of the next byte; of the offending one after a fault */
	const char *fault;	/* a phrase: "depth over 32", "a control character in a string", ... */
	struct str text;	/* of KEY, STRING, NUMBER */
	bool escaped;		/* text contains a backslash */
	unsigned depth;		/* of open objects and arrays */
	uint32_t arrays;	/* private: bit per depth */
	int expect;		/* private */
};

void json_scan_init(struct json_scan *s, struct str input);
enum json_token json_scan_next(struct json_scan *s);
/* Having been given OBJECT or ARRAY, read on to its end; true, or false on a fault. */
bool json_scan_skip(struct json_scan *s);
/* Undo the escapes of a KEY's or STRING's text into OUT (room for text.n bytes); returns the length. */
size_t json_unescape(struct str text, char *out);

#endif
