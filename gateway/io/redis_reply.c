/* Redis replies: hiredis' parser with limits. */
#include "io/redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* hiredis changed the type of an array's length with 1.0. */
#if HIREDIS_MAJOR < 1
typedef int redis_length;
#else
typedef size_t redis_length;
#endif

struct redis_parser {
	redisReader *reader;
	redisReplyObjectFunctions functions;	/* hiredis' own, with a bound on arrays */
	void *(*create_array)(const redisReadTask *task, redis_length length);
	const char *why;
};

/* Make an array of a size that one of our replies may have. */
static void *
on_array(const redisReadTask *task, redis_length length)
{
	const struct redis_parser *parser = task->privdata;

	if (length > REDIS_REPLY_ELEMENTS_MAX)
		return NULL;	/* hiredis takes that for want of memory and gives up */
	return parser->create_array(task, length);
}

struct redis_parser *
redis_parser_new(void)
{
	struct redis_parser *parser = calloc(1, sizeof(*parser));

	check(parser != NULL);
	parser->reader = redisReaderCreate();
	check(parser->reader != NULL);
	parser->functions = *parser->reader->fn;
	parser->create_array = parser->functions.createArray;
	parser->functions.createArray = on_array;
	parser->reader->fn = &parser->functions;
	parser->reader->privdata = parser;
	return parser;
}

void
redis_parser_free(struct redis_parser **parser)
{
	if (*parser == NULL)
		return;
	redisReaderFree((*parser)->reader);
	free(*parser);
	*parser = NULL;
}

bool
redis_parser_feed(struct redis_parser *parser, struct str bytes)
{
	if (redisReaderFeed(parser->reader, bytes.p, bytes.n) == REDIS_OK)
		return true;
	parser->why = parser->reader->errstr;
	return false;
}

/* Copy hiredis' reply to ours; it nests at most seven deep, by its own rule. */
static void
redis_reply_copy(const redisReply *from, struct arena *arena, struct redis_reply *to)
{
	struct redis_reply *elements;

	*to = (struct redis_reply){ .kind = REDIS_NIL };
	switch (from->type) {
	case REDIS_REPLY_INTEGER:
		to->kind = REDIS_INT;
		to->integer = from->integer;
		break;
	case REDIS_REPLY_STATUS:
	case REDIS_REPLY_STRING:
	case REDIS_REPLY_ERROR:
		to->kind = from->type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_STRING;
		to->string = arena_copy(arena, (struct str){ from->str, (size_t)from->len });
		break;
	case REDIS_REPLY_ARRAY:
		to->kind = REDIS_ARRAY;
		to->element_count = from->elements;
		elements = arena_alloc(arena, from->elements * sizeof(*elements) + 1);
		for (size_t i = 0; i < from->elements; i++)
			redis_reply_copy(from->element[i], arena, &elements[i]);
		to->elements = elements;
		break;
	default:
		break;
	}
}

enum redis_parsed
redis_parser_next(struct redis_parser *parser, struct arena *arena, struct redis_reply *reply)
{
	void *parsed = NULL;

	if (redisReaderGetReply(parser->reader, &parsed) != REDIS_OK) {
		parser->why = parser->reader->errstr;
		return REDIS_PARSED_BROKEN;
	}
	if (parsed == NULL) {
		if (parser->reader->len - parser->reader->pos <= REDIS_REPLY_BYTES_MAX)
			return REDIS_PARSED_NONE;
		parser->why = "a reply larger than any of ours can be";
		return REDIS_PARSED_BROKEN;
	}
	redis_reply_copy(parsed, arena, reply);
	freeReplyObject(parsed);
	return REDIS_PARSED_REPLY;
}

const char *
redis_parser_why(const struct redis_parser *parser)
{
	return parser->why ? parser->why : "";
}

bool
redis_reply_disowns(const struct redis_reply *reply)
{
	static const char *const words[] = { "READONLY ", "LOADING ", "MASTERDOWN ", "NOAUTH " };

	if (reply->kind != REDIS_ERROR)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_starts(reply->string, str_from(words[i])))
			return true;
	/* Before 7.0 a script's error stands in the middle of the script's own. */
	return str_find(reply->string, STR("-READONLY ")) < reply->string.n;
}
