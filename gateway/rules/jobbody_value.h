/* The types of a run's parameters and what their values must look like (private to jobbody). */
#ifndef JOBGATE_RULES_JOBBODY_VALUE_H
#define JOBGATE_RULES_JOBBODY_VALUE_H

#include "base/json_scan.h"

/* A member's value as it was read; all zero where there is none. */
struct jobbody_member {
	enum json_token token;	/* JSON_END: absent; the opening one for an object or array */
	struct str text;	/* of a string (still escaped) or a number */
	bool escaped;
};

/*
 * What is wrong with VALUE, which is there, for a parameter of that TYPE, a string; or NULL. A type that is
 * not known passes: more may be added to the service over time.
 */
const char *jobbody_value_fault(const struct jobbody_member *type, const struct jobbody_member *value);

#endif
