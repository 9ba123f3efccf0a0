/*
 * The body of a run: the rules of "Run On Demand Item Job", checked in one pass, without a tree.
 *
 * The bytes are only looked at; what is forwarded is what was received. Time is linear in the
 * body and memory constant but for the parameters' names, whatever the shape (no tree of 1 MiB of `{},`).
 */
#ifndef JOBGATE_RULES_JOBBODY_H
#define JOBGATE_RULES_JOBBODY_H

#include "base/arena.h"

#define JOBBODY_DEPTH_MAX 32
#define JOBBODY_FAULTS_MAX 100	/* listed in moreDetails; the rest is counted */

struct jobbody_fault {
	const char *code;	/* "InvalidParameter" */
	struct str message;	/* which parameter (its name cut to 64 bytes), and what is wrong with it */
};

struct jobbody_result {
	bool ok;
	struct str message;		/* the error's message where !ok: the first or only fault, or how many there are */
	struct jobbody_fault *faults;	/* room for JOBBODY_FAULTS_MAX in the arena of the check; NULL where there is none, as nearly always */
	size_t fault_count;		/* listed */
	size_t fault_total;		/* found */
};

/*
 * Check BODY. Passes: empty, `""`, an object whose `executionData` (an object or null) and `parameters` (an array or null of objects with
 * name, type, value) obey the rules; other members pass. Each fault is one of: not JSON (with the byte offset), not an object,
 * depth over 32, a duplicate key in any object (compared after unescaping), executionData no object, parameters no array, a parameter no
 * object, name missing / no string / empty / over 256 characters / repeated without case, type missing or no string, value missing or not
 * of its type. Types: VariableReference (string), Integer (no fraction, no exponent), Number, Text (string), Boolean, DateTime
 * ("YYYY-MM-DDTHH:mm:ssZ", a real date), Guid (form D), Automatic (anything). Unknown types pass with any value. Type words match exactly.
 */
void jobbody_check(struct arena *arena, struct str body, struct jobbody_result *result);

/* Of an upstream's error body: its errorCode (in ARENA, at most 128 bytes; p NULL where none) and whether it says isRetriable: true. */
struct jobbody_error { struct str error_code; bool is_retriable; };
struct jobbody_error jobbody_read_error(struct arena *arena, struct str body);

#endif
