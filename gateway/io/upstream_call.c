/* A call: what its connection tells it, and what it tells its owner. */
#include "io/upstream_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Room for a turn's messages, as long as they are not larger: a legacy run's has 1 KB. */
#define UPSTREAM_MESSAGE_BYTES 65536

/*
 * A loop that began to ask the kernel so lately knows of a connection's end. A FIN that is on its way, for some milliseconds of a round
 * trip, cannot be seen whatever is done here: to look once more would make that time little shorter. The turns of a busy worker take 1 to
 * 3 ms; with less each of its requests would cost a look.
 */
#define UPSTREAM_LOOK_US (5 * (int64_t)CLOCK_MS)

/* Have NEWS told at the end of the turn, in place of older news that was not told yet. */
static void
call_tell(struct upstream_call *call, enum upstream_news news)
{
	if (call->news == UPSTREAM_NEWS_NONE)
		TAILQ_INSERT_TAIL(&call->upstream->told, call, told_entry);
	call->news = news;
	loop_at_turn_end(call->upstream->loop, &call->upstream->tell);
}

/* Write no message of CALL. */
static void
call_leave_unwritten(struct upstream_call *call)
{
	if (call->unwritten)
		TAILQ_REMOVE(&call->upstream->unwritten, call, unwritten_entry);
	call->unwritten = false;
}

/* End the call with its last news; the connection must have been let go. */
static void
call_end(struct upstream_call *call, enum upstream_news news)
{
	check(!call->ended && call->connection == NULL);
	call->ended = true;
	call_leave_unwritten(call);
	call_tell(call, news);
}

/* Tell one call's news to its owner, who may cancel the call in it: it is freed by the reaper, after this. */
static void
call_tell_now(struct upstream_call *call, enum upstream_news news)
{
	struct upstream_response response;

	switch (news) {
	case UPSTREAM_NEWS_READY:
		call->ready = true;
		call->hooks.on_ready(call->arg);
		return;
	case UPSTREAM_NEWS_FAILED:
		call->hooks.on_failed(call->arg, &call->failure);
		return;
	case UPSTREAM_NEWS_RESPONSE:
		response.head = &call->reader.head;
		response.body = upstream_reader_body(&call->reader);
		response.written_bytes = call->written_bytes;
		call->hooks.on_response(call->arg, &response);
		return;
	case UPSTREAM_NEWS_NONE:
		break;
	}
	check(news != UPSTREAM_NEWS_NONE);
}

void
upstream_tell(void *arg)
{
	struct upstream *upstream = arg;
	struct upstream_call *call;

	check_magic(upstream, UPSTREAM_MAGIC);
	upstream->telling = true;
	while ((call = TAILQ_FIRST(&upstream->told)) != NULL) {
		enum upstream_news news = call->news;

		check_magic(call, UPSTREAM_CALL_MAGIC);
		TAILQ_REMOVE(&upstream->told, call, told_entry);
		call->news = UPSTREAM_NEWS_NONE;
		call_tell_now(call, news);
	}
	upstream->telling = false;
}

void
upstream_call_opened(struct upstream_call *call)
{
	call->phase = UPSTREAM_READY;
	call_tell(call, UPSTREAM_NEWS_READY);
}

/* Take the connection from the call, whose it no longer is. */
static struct upstream_connection *
call_let_go(struct upstream_call *call)
{
	struct upstream_connection *connection = call->connection;

	call->connection = NULL;
	if (connection)
		connection->call = NULL;
	return connection;
}

void
upstream_call_fail(struct upstream_call *call, enum upstream_reason reason, const char *detail)
{
	struct upstream_connection *connection = call_let_go(call);

	check_magic(call, UPSTREAM_CALL_MAGIC);
	call->failure = (struct upstream_failure){
		.phase = call->phase, .reason = reason, .written_bytes = call->written_bytes, .reused = call->reused,
	};
	snprintf(call->failure.detail, sizeof(call->failure.detail), "%s", detail);
	call->upstream->failed++;
	if (reason == UPSTREAM_REASON_LATE)
		upstream_give_back(connection, clock_now_mono());	/* nothing was written on it */
	else
		upstream_connection_close(connection, false);
	call_end(call, UPSTREAM_NEWS_FAILED);
}

/* The response is whole. CLEAN: nothing stands against another exchange on the connection. */
static void
call_finish(struct upstream_call *call, bool clean)
{
	struct upstream_connection *connection = call_let_go(call);
	int64_t theirs_us = upstream_reader_keep_alive_us(&call->reader);
	bool sent_whole = call->written_bytes == call->total_bytes;
	struct mono_time now = clock_now_mono();

	connection->idle_since = now;
	/* A quarter earlier than the upstream would close it: a request must not cross its FIN. */
	if (theirs_us != INT64_MAX && theirs_us / 4 * 3 < connection->idle_us)
		connection->idle_us = theirs_us / 4 * 3;
	if (clean && sent_whole && call->reader.head.keep_alive)
		upstream_give_back(connection, now);
	else
		upstream_connection_close(connection, sent_whole);
	call_end(call, UPSTREAM_NEWS_RESPONSE);
}

void
upstream_call_wrote(struct upstream_call *call, size_t n)
{
	call->written_bytes += n;
	check(call->written_bytes <= call->total_bytes);
	if (call->written_bytes == call->total_bytes && call->phase == UPSTREAM_WRITE)
		call->phase = UPSTREAM_WAIT;
}

void
upstream_call_take(struct upstream_call *call, struct str bytes)
{
	if (call->written_bytes == 0) {
		/* The rest of an older response, or one that somebody made up: it answers nothing that was asked. */
		upstream_call_fail(call, UPSTREAM_REASON_MALFORMED, "bytes came before the request was written");
		return;
	}
	call->phase = UPSTREAM_READ;
	switch (upstream_reader_feed(&call->reader, &bytes)) {
	case UPSTREAM_READ_MORE:
		return;
	case UPSTREAM_READ_DONE:
		call_finish(call, bytes.n == 0 && !upstream_connection_has_more(call->connection));
		return;
	case UPSTREAM_READ_FAULT:
		upstream_call_fail(call, call->reader.reason, call->reader.detail);
		return;
	}
}

void
upstream_call_closed(struct upstream_call *call, bool clean, const char *why)
{
	char detail[sizeof(call->failure.detail)];

	if (call->written_bytes == 0) {
		upstream_call_fail(call, UPSTREAM_REASON_CLOSED, why);
		return;
	}
	if (upstream_reader_end(&call->reader, clean) == UPSTREAM_READ_DONE) {
		call_finish(call, false);
		return;
	}
	snprintf(detail, sizeof(detail), "%s (%s)", call->reader.detail, why);
	upstream_call_fail(call, call->reader.reason, detail);
}

bool
upstream_call_is_overdue(struct upstream_call *call, struct mono_time now)
{
	if (mono_since(call->deadline, now) > 0)
		return false;
	upstream_call_fail(call, UPSTREAM_REASON_TIMEOUT, call->phase == UPSTREAM_WRITE ? "the request was not read in time" :
	    call->phase == UPSTREAM_WAIT ? "no response in time" : "the response was not complete in time");
	return true;
}

struct buf *
upstream_message(struct upstream_call *call, size_t room)
{
	struct upstream *upstream = call->upstream;
	struct buf *message = &upstream->message;

	check_magic(call, UPSTREAM_CALL_MAGIC);
	check(call->ready && !call->sent);
	if (message->size - message->n < room) {
		upstream_write(upstream);
		buf_room(message, room > UPSTREAM_MESSAGE_BYTES ? room : UPSTREAM_MESSAGE_BYTES);
	}
	call->message_at = message->n;
	upstream->message_end = message->n + room;
	return message;
}

/* Send MESSAGE, unless it has become too late for that or the connection is found dead. */
static void
call_write(struct upstream_call *call, struct str message)
{
	struct mono_time now = loop_now(call->upstream->loop);

	if (mono_since(now, call->begin_by) > 0) {
		upstream_call_fail(call, UPSTREAM_REASON_LATE, "this worker was too busy to begin in time");
		return;
	}
	if (!upstream_connection_is_quiet(call->connection, mono_add(now, -UPSTREAM_LOOK_US))) {
		upstream_call_fail(call, UPSTREAM_REASON_CLOSED, "found closed before the request was written");
		return;
	}
	call->phase = UPSTREAM_WRITE;
	upstream_connection_write(call->connection, message);
}

void
upstream_write(void *arg)
{
	struct upstream *upstream = arg;
	struct buf *message = &upstream->message;
	struct upstream_call *call;

	check_magic(upstream, UPSTREAM_MAGIC);
	while ((call = TAILQ_FIRST(&upstream->unwritten)) != NULL) {
		check_magic(call, UPSTREAM_CALL_MAGIC);
		call_leave_unwritten(call);
		call_write(call, str_sub(buf_str(message), call->message_at, call->message_at + call->total_bytes));
	}
	if (message->n > 0)
		explicit_bzero(message->p, message->n);
	buf_clear(message);
	if (message->size > UPSTREAM_MESSAGE_BYTES)
		buf_fini(message);
}

void
upstream_send(struct upstream_call *call, struct str method, struct mono_time begin_by, struct mono_time deadline)
{
	struct upstream *upstream = call->upstream;

	check_magic(call, UPSTREAM_CALL_MAGIC);
	check(call->ready && !call->sent);
	check(upstream->message.n > call->message_at && upstream->message.n <= upstream->message_end);
	call->sent = true;
	call->total_bytes = upstream->message.n - call->message_at;
	call->begin_by = begin_by;
	call->deadline = deadline;
	upstream_reader_init(&call->reader, method, &upstream->settings);
	call->reader.head_bytes = spare_bufs_take(&upstream->head_memory);
	loop_at_turn_end(upstream->loop, &upstream->write);
	if (call->ended)	/* its end is about to be told */
		return;
	call->unwritten = true;
	TAILQ_INSERT_TAIL(&upstream->unwritten, call, unwritten_entry);
	upstream_look_by(upstream, deadline);
}

uint64_t
upstream_written(const struct upstream_call *call)
{
	return call->written_bytes;
}

/* What becomes of CONNECTION, which CALL has let go before its end. */
static void
call_leave_connection(const struct upstream_call *call, struct upstream_connection *connection)
{
	if (call->sent)
		upstream_connection_close(connection, false);
	else if (connection->open)
		upstream_give_back(connection, clock_now_mono());
	else
		upstream_unclaim(connection);
}

void
upstream_cancel(struct upstream_call **call_p)
{
	struct upstream_call *call = *call_p;
	struct upstream_connection *connection;

	if (call == NULL)
		return;
	*call_p = NULL;
	check_magic(call, UPSTREAM_CALL_MAGIC);
	connection = call_let_go(call);
	if (connection)
		call_leave_connection(call, connection);
	call_leave_unwritten(call);
	if (call->news != UPSTREAM_NEWS_NONE)
		TAILQ_REMOVE(&call->upstream->told, call, told_entry);
	TAILQ_REMOVE(&call->upstream->calls, call, entry);
	call->upstream->call_count--;
	TAILQ_INSERT_TAIL(&call->upstream->dead_calls, call, entry);
	loop_at_turn_end(call->upstream->loop, &call->upstream->reap);
}

void
upstream_call_free(struct upstream_call *call)
{
	struct buf *head = &call->reader.head_bytes;

	if (head->p)
		explicit_bzero(head->p, head->size);	/* the body, which may be a token, is behind it */
	spare_bufs_give(&call->upstream->head_memory, head);
	upstream_reader_fini(&call->reader);
	call->magic = 0;
	spares_give(&call->upstream->call_memory, call);
}
