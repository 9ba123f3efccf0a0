/*
 * Redis replies: hiredis' parser with limits, and its replies in our own shape. Private to io/redis.
 *
 * hiredis allocates what an array's head announces and buffers a string of any length; here a reply that is larger
 * than any of ours can be is a broken peer.
 */
#ifndef JOBGATE_IO_REDIS_REPLY_H
#define JOBGATE_IO_REDIS_REPLY_H

#include "base/arena.h"
#include "io/redis.h"

#define REDIS_REPLY_ELEMENTS_MAX 1024	/* ours have two; ROLE of a primary has one for each replica, nested */
#define REDIS_REPLY_BYTES_MAX (2 << 20)	/* unparsed: one reply that is not complete; 256 lost answers of 4 KB are the most */

struct redis_parser;

struct redis_parser *redis_parser_new(void);
void redis_parser_free(struct redis_parser **parser);

/* Feed bytes; false where the parser gave up (the reason by redis_parser_why). */
bool redis_parser_feed(struct redis_parser *parser, struct str bytes);

enum redis_parsed { REDIS_PARSED_NONE, REDIS_PARSED_REPLY, REDIS_PARSED_BROKEN };

/* The next whole reply, into ARENA (valid as long as that is). */
enum redis_parsed redis_parser_next(struct redis_parser *parser, struct arena *arena, struct redis_reply *reply);
const char *redis_parser_why(const struct redis_parser *parser);

#endif
