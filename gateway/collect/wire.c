/* libpq with a deadline for everything. */
#include "collect/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* A connection over the slowest way, TLS and all; with several hosts for all of them together. */
#define WIRE_CONNECT_US (10 * (int64_t)CLOCK_SECOND)
/* A statement: longer than the server's own limit for it (database.c), which says why. */
#define WIRE_ANSWER_US (90 * (int64_t)CLOCK_SECOND)

void
wire_message(struct buf *why, const char *message)
{
	size_t n = strlen(message);

	while (n > 0 && message[n - 1] == '\n')
		n--;
	for (size_t i = 0; i < n; i++)
		buf_add_char(why, message[i] == '\n' || message[i] == '\t' ? ' ' : message[i]);
}

/* Wait until the connection can be read, or written where WRITE; false where it takes too long. */
static bool
wire_wait(PGconn *conn, bool write, struct mono_time deadline)
{
	struct pollfd fd = { .fd = PQsocket(conn), .events = (short)(POLLIN | (write ? POLLOUT : 0)) };

	for (;;) {
		int64_t left = mono_since(deadline, clock_now_mono());
		int n;

		if (left <= 0 || fd.fd < 0)
			return false;
		n = poll(&fd, 1, (int)(left / CLOCK_MS) + 1);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

/* What the server has to say beside its answers. */
static void
on_notice(void *arg, const char *message)
{
	struct buf text = BUF_EMPTY;

	(void)arg;
	wire_message(&text, message);
	log_line(LOG_DEBUG, "database notice", log_s("message", buf_str(&text)));
	buf_fini(&text);
}

/* Begin to connect. What the caller's string says goes before what stands in front of it here. */
static PGconn *
connect_start(const char *conninfo)
{
	const char *keys[6] = { "fallback_application_name", "client_encoding" };
	const char *values[6] = { "jobgate-collect", "UTF8" };
	int n = 2;

	if (getenv("PGTARGETSESSIONATTRS") == NULL) {
		keys[n] = "target_session_attrs";
		values[n++] = "read-write";
	}
	if (conninfo) {
		keys[n] = "dbname";
		values[n++] = conninfo;
	}
	return PQconnectStartParams(keys, values, 1);
}

/* Go on until it is connected; false where it will not be. */
static bool
connect_finish(PGconn *conn, struct buf *why)
{
	struct mono_time deadline = mono_add(clock_now_mono(), WIRE_CONNECT_US);
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;

	while (PQstatus(conn) != CONNECTION_BAD && next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED) {
		if (!wire_wait(conn, next == PGRES_POLLING_WRITING, deadline)) {
			buf_add_z(why, "no connection within 10 s");
			return false;
		}
		next = PQconnectPoll(conn);
	}
	if (PQstatus(conn) == CONNECTION_OK)
		return true;
	wire_message(why, PQerrorMessage(conn));
	return false;
}

PGconn *
wire_connect(const char *conninfo, struct buf *why)
{
	PGconn *conn = connect_start(conninfo);

	if (conn == NULL) {
		buf_add_z(why, "no memory");
		return NULL;
	}
	PQsetNoticeProcessor(conn, on_notice, NULL);
	if (connect_finish(conn, why) && PQsetnonblocking(conn, 1) == 0)
		return conn;
	PQfinish(conn);
	return NULL;
}

/* Send what libpq still holds; false where the connection is of no more use. */
static bool
wire_flush(PGconn *conn, struct mono_time deadline)
{
	int left;

	while ((left = PQflush(conn)) > 0)
		if (!wire_wait(conn, true, deadline) || !PQconsumeInput(conn))
			return false;
	return left == 0;
}

/* The next result has come, or there is none more; false where neither comes. */
static bool
wire_await(PGconn *conn, struct mono_time deadline)
{
	while (PQisBusy(conn))
		if (!wire_wait(conn, false, deadline) || !PQconsumeInput(conn))
			return false;
	return true;
}

static bool
result_is_error(const PGresult *result)
{
	return PQresultStatus(result) == PGRES_FATAL_ERROR || PQresultStatus(result) == PGRES_BAD_RESPONSE;
}

/* Say why there is no answer. */
static PGresult *
wire_lost(PGconn *conn, PGresult *kept, struct buf *why)
{
	PQclear(kept);
	if (*PQerrorMessage(conn))
		wire_message(why, PQerrorMessage(conn));
	else
		buf_add_z(why, "no answer in time");
	return NULL;
}

/* All results of what was sent: the first error, else the last; a COPY that waits for its rows is a last one. */
static PGresult *
wire_results(PGconn *conn, struct mono_time deadline, struct buf *why)
{
	PGresult *kept = NULL, *next;

	if (!wire_flush(conn, deadline))
		return wire_lost(conn, kept, why);
	for (;;) {
		if (!wire_await(conn, deadline))
			return wire_lost(conn, kept, why);
		next = PQgetResult(conn);
		if (next == NULL)
			return kept ? kept : wire_lost(conn, kept, why);
		if (kept && result_is_error(kept)) {
			PQclear(next);
			continue;
		}
		PQclear(kept);
		kept = next;
		if (PQresultStatus(kept) == PGRES_COPY_IN)
			return kept;
	}
}

PGresult *
wire_query(PGconn *conn, const char *sql, struct buf *why)
{
	if (!PQsendQuery(conn, sql))
		return wire_lost(conn, NULL, why);
	return wire_results(conn, mono_add(clock_now_mono(), WIRE_ANSWER_US), why);
}

/* Send the rows; false where the connection is of no more use. */
static bool
copy_rows(PGconn *conn, struct str rows, struct mono_time deadline)
{
	int sent;

	while ((sent = PQputCopyData(conn, rows.p, (int)rows.n)) == 0)
		if (!wire_wait(conn, true, deadline) || !PQconsumeInput(conn))
			return false;
	if (sent < 0)
		return false;
	while ((sent = PQputCopyEnd(conn, NULL)) == 0)
		if (!wire_wait(conn, true, deadline) || !PQconsumeInput(conn))
			return false;
	return sent > 0;
}

PGresult *
wire_copy(PGconn *conn, const char *sql, struct str rows, struct buf *why)
{
	PGresult *begun = wire_query(conn, sql, why);
	struct mono_time deadline;

	if (begun == NULL || PQresultStatus(begun) != PGRES_COPY_IN)
		return begun;
	PQclear(begun);
	deadline = mono_add(clock_now_mono(), WIRE_ANSWER_US);
	if (!copy_rows(conn, rows, deadline))
		return wire_lost(conn, NULL, why);
	return wire_results(conn, deadline, why);
}
