/*
 * Strict split of a request target (RFC 9112 3.2, RFC 3986): path segments and query parameters.
 *
 * Refuses what two parsers could read differently: control and 8-bit bytes, a fragment, broken or
 * NUL percent-encodings, encoded slashes and backslashes, dot segments in any encoding, empty
 * segments but for a last one (a trailing slash), authority-like paths ("//host"), and in the path the
 * bytes that RFC 3986 wants encoded. Parameters are split at '&' alone.
 */
#ifndef JOBGATE_RULES_TARGET_H
#define JOBGATE_RULES_TARGET_H

#include "base/arena.h"

/* The longest route has 9 segments behind /v1 and a public path may have a few. */
#define TARGET_SEGMENTS_MAX 24
#define TARGET_PARAMETERS_MAX 64

struct target_parameter {
	struct str raw;		/* "key=value" as it stands */
	struct str key, value;	/* decoded once; value.p NULL where there was no '=' */
};

struct target {
	struct str path;	/* raw */
	struct str query;	/* raw, without '?'; p NULL where there is none */
	struct str segments[TARGET_SEGMENTS_MAX];	/* raw */
	size_t segment_count;
	struct target_parameter parameters[TARGET_PARAMETERS_MAX];
	size_t parameter_count;
};

/* Split TARGET; NULL on success, else a sentence that says what is wrong. Decoded bytes live in ARENA. */
const char *target_split(struct arena *arena, struct str target, struct target *out);

/* Decode %XX once into ARENA (RAW itself where nothing is encoded); false on a broken or NUL encoding. '+' stays. */
bool target_decode(struct arena *arena, struct str raw, struct str *out);

/*
 * For absolute-form ("http://host:port/path?query"): the authority and the origin-form rest. False where
 * TARGET is not of that form or malformed. Scheme http or https, any case. Without a path REST is "/".
 */
bool target_split_absolute(struct str target, struct str *authority, struct str *rest);

/* Host field or authority, as http1_is_authority has it: one judge for both. */
bool target_is_authority(struct str s);

#endif
