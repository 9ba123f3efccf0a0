/*
 * The field Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): an Item of Structured Fields whose value is a
 * String (RFC 8941 3.3.3, 4.2.5). Parameters of the item are read and mean nothing.
 *
 * Many clients send the key without quotes: visible ASCII without DQUOTE, comma, semicolon and backslash is taken as
 * it stands, and is the same key as the quoted one.
 */
#ifndef JOBGATE_RULES_IDEMPOTENCY_KEY_H
#define JOBGATE_RULES_IDEMPOTENCY_KEY_H

#include "base/arena.h"
#include "base/http1.h"

/* Nobody needs more than a UUID; longer ones are told apart by their whole text up to here. */
#define IDEMPOTENCY_KEY_MAX 255

/* Read VALUE; NULL and the key in *OUT (of 1 to IDEMPOTENCY_KEY_MAX bytes; a slice of VALUE or of ARENA), or a sentence about what is wrong. */
const char *idempotency_key_read(struct arena *arena, struct str value, struct str *out);

/* The same of HEAD's field: *OUT.p is NULL where there is none; more than one field is wrong. */
const char *idempotency_key_find(struct arena *arena, const struct http1_head *head, struct str *out);

#endif
