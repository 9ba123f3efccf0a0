/* For identify*.c alone: what each kind of proof finds. */
#ifndef JOBGATE_GATE_IDENTIFY_H
#define JOBGATE_GATE_IDENTIFY_H

#include "gate/request.h"

/*
 * Look for a key of ours in Authorization, for clients that can set no other field: Bearer KEY, or Basic with the key as password. Where there
 * is one it is appended to KEY, which the caller wipes, and the field is not forwarded. True where it may stand alone: its caller's identity
 * has a credential of the gateway's, else Authorization is the place of the caller's own token.
 */
bool identify_authorization(struct request *request, struct buf *key);

/*
 * Append to SHOWN, which the caller wipes, what stands for a key in a head that identified nobody: X-API-Key, or Authorization's. Not what may be a
 * token: those of all callers begin alike.
 */
void identify_shown(const struct http1_head *head, struct buf *shown);

#endif
