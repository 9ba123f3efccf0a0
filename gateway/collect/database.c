/* The database that the journals are collected in. */
#include "collect/database.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "collect/stop.h"
#include "collect/wire.h"
#include "gate/condition.h"
#include "rules/audit_copy.h"

/*
 * Pauses between attempts: soon enough that a restart of the server is hardly noticed, late enough that many collectors
 * do not storm it.
 */
#define PAUSE_FIRST_US (CLOCK_SECOND / 4)
#define PAUSE_MAX_US (10 * (int64_t)CLOCK_SECOND)

/*
 * Each session: a statement that waits for a lock for a minute is given up (what it was for is tried again), and what
 * was acknowledged is on the server's disk, since the gateway may delete its files then.
 */
#define SESSION_SQL \
	"SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'; " \
	"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

struct database {
	const char *conninfo;		/* borrowed */
	PGconn *conn;			/* NULL: none is open */
	struct buf copy;		/* the COPY statement */
	struct buf why;
	int64_t pause_us;		/* the next one; 0: none was needed since the last good answer */
	struct mono_time due;		/* not before is it tried again */
	bool unstored;			/* it answers, but the last rows could not be stored */
	struct condition condition;
};

struct database *
database_new(const char *conninfo)
{
	struct database *db = calloc(1, sizeof(*db));

	check(db != NULL);
	*db = (struct database){ .conninfo = conninfo,
		.condition = CONDITION_INIT("database unavailable", "database available") };
	buf_add_z(&db->copy, "COPY jobgate_audit (");
	audit_copy_columns(&db->copy);
	buf_add_z(&db->copy, ") FROM STDIN");
	buf_add_char(&db->copy, '\0');
	return db;
}

/* Close the connection; what is open in it is rolled back. */
static void
database_close(struct database *db)
{
	PQfinish(db->conn);
	db->conn = NULL;
}

void
database_free(struct database **db)
{
	if (*db == NULL)
		return;
	database_close(*db);
	buf_fini(&(*db)->copy);
	buf_fini(&(*db)->why);
	free(*db);
	*db = NULL;
}

struct str
database_why(const struct database *db)
{
	return buf_str(&db->why);
}

int64_t
database_pause_us(const struct database *db)
{
	int64_t left = mono_since(db->due, clock_now_mono());

	return db->conn == NULL && left > 0 ? left : 0;
}

/* It does not do what it should, for the reason in db->why: close, announce, and let some time pass. */
static enum database_answer
database_away(struct database *db)
{
	struct mono_time now = clock_now_mono();

	database_close(db);
	if (!stop_asked()) {
		buf_add_char(&db->why, '\0');
		db->why.n--;
		condition_set(&db->condition, false, db->why.p, now);
	}
	db->pause_us = db->pause_us == 0 ? PAUSE_FIRST_US : db->pause_us * 2;
	if (db->pause_us > PAUSE_MAX_US)
		db->pause_us = PAUSE_MAX_US;
	db->due = mono_add(now, db->pause_us);
	return DATABASE_AWAY;
}

/* Whether the server says that the data are what is wrong: classes 22 (data), 23 (constraints) and 54 (its limits). */
static bool
state_is_of_data(const char *state)
{
	return strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || strncmp(state, "54", 2) == 0;
}

/* Judge RESULT, which is cleared unless it is OK and OUT takes it: WANTED, or what else. */
static enum database_answer
database_judge(struct database *db, PGresult *result, ExecStatusType wanted, PGresult **out)
{
	const char *state;

	if (result == NULL)
		return database_away(db);	/* db->why says it */
	if (PQresultStatus(result) == wanted) {
		if (out)
			*out = result;
		else
			PQclear(result);
		return DATABASE_OK;
	}
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	wire_message(&db->why, PQresultErrorMessage(result));
	if (state && state_is_of_data(state)) {
		PQclear(result);
		database_close(db);
		return DATABASE_REFUSED;
	}
	buf_printf(&db->why, " (SQLSTATE %s)", state ? state : "unknown");
	PQclear(result);
	return database_away(db);
}

/* Have a connection whose session is as it should be. */
static enum database_answer
database_open(struct database *db)
{
	enum database_answer answer;

	buf_clear(&db->why);
	if (db->conn)
		return DATABASE_OK;
	if (database_pause_us(db) > 0)
		return DATABASE_AWAY;
	db->conn = wire_connect(db->conninfo, &db->why);
	if (db->conn == NULL)
		return database_away(db);
	answer = database_judge(db, wire_query(db->conn, SESSION_SQL, &db->why), PGRES_TUPLES_OK, NULL);
	return answer == DATABASE_REFUSED ? database_away(db) : answer;
}

/* It does what it should. */
static void
database_well(struct database *db)
{
	db->pause_us = 0;
	condition_set(&db->condition, true, "", clock_now_mono());
}

/* Run SQL and judge it. */
static enum database_answer
database_run(struct database *db, const struct buf *sql, ExecStatusType wanted, PGresult **out)
{
	return database_judge(db, wire_query(db->conn, sql->p, &db->why), wanted, out);
}

/* Read seq and hash out of a row of jobgate_journal; no row: nothing was taken. */
static enum database_answer
position_read(struct database *db, PGresult *result, struct journal_head *position)
{
	bool ok = PQntuples(result) == 0;

	journal_head_init(position);
	if (!ok)
		ok = str_to_u64(str_from(PQgetvalue(result, 0, 0)), &position->seq) &&
		    (position->seq == 0 || PQgetlength(result, 0, 1) == JOURNAL_HASH_HEX);
	if (ok && position->seq > 0)
		memcpy(position->hash, PQgetvalue(result, 0, 1), JOURNAL_HASH_HEX);
	PQclear(result);
	if (ok)
		return DATABASE_OK;
	buf_add_z(&db->why, "jobgate_journal has a row that no collector wrote");
	return database_away(db);
}

/* Ask for a position by SQL, which ends in that query. */
static enum database_answer
position_ask(struct database *db, struct buf *sql, struct journal_head *position)
{
	PGresult *result = NULL;
	enum database_answer answer;

	buf_add_char(sql, '\0');
	answer = database_run(db, sql, PGRES_TUPLES_OK, &result);
	buf_fini(sql);
	if (answer == DATABASE_REFUSED)
		return database_away(db);
	return answer == DATABASE_OK ? position_read(db, result, position) : answer;
}

enum database_answer
database_position(struct database *db, const char *uuid, struct journal_head *position)
{
	enum database_answer answer = database_open(db);
	struct buf sql = BUF_EMPTY;

	if (answer != DATABASE_OK)
		return answer;
	buf_printf(&sql, "SELECT seq, hash FROM jobgate_journal WHERE journal = '%s'", uuid);
	answer = position_ask(db, &sql, position);
	if (answer == DATABASE_OK && !db->unstored)
		database_well(db);
	return answer;
}

/* Begin a transaction that holds the journal's position, and read that. */
static enum database_answer
store_begin(struct database *db, const char *uuid, bool first, struct journal_head *position)
{
	struct buf sql = BUF_EMPTY;

	buf_add_z(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED; ");
	if (first)
		buf_printf(&sql, "INSERT INTO jobgate_journal (journal, seq, hash) VALUES ('%s', 0, '') "
		    "ON CONFLICT DO NOTHING; ", uuid);
	buf_printf(&sql, "SELECT seq, hash FROM jobgate_journal WHERE journal = '%s' FOR UPDATE", uuid);
	return position_ask(db, &sql, position);
}

/* Move the position and commit. */
static enum database_answer
store_end(struct database *db, const char *uuid, const struct journal_head *last)
{
	struct buf sql = BUF_EMPTY;
	PGresult *result = NULL;
	enum database_answer answer;

	buf_printf(&sql, "UPDATE jobgate_journal SET seq = %" PRIu64 ", hash = '%.*s', "
	    "collected_at = clock_timestamp() WHERE journal = '%s'; COMMIT", last->seq, JOURNAL_HASH_HEX, last->hash, uuid);
	buf_add_char(&sql, '\0');
	answer = database_run(db, &sql, PGRES_COMMAND_OK, &result);
	buf_fini(&sql);
	if (answer != DATABASE_OK)
		return answer;
	if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
		buf_printf(&db->why, "the server answered COMMIT with %s", PQcmdStatus(result));
		answer = database_away(db);
	}
	PQclear(result);
	return answer;
}

/* Undo what was begun. */
static enum database_answer
store_moved(struct database *db)
{
	PGresult *result = wire_query(db->conn, "ROLLBACK", &db->why);
	enum database_answer answer = database_judge(db, result, PGRES_COMMAND_OK, NULL);

	return answer == DATABASE_OK ? DATABASE_MOVED : answer;
}

/* Store BATCH in a transaction of its own, unless the position is another than BEFORE: it is in *NOW then. */
static enum database_answer
store_run(struct database *db, const char *uuid, const struct journal_head *before, struct journal_head *now,
    const struct batch *batch)
{
	enum database_answer answer = store_begin(db, uuid, before->seq == 0, now);
	PGresult *result;

	if (answer != DATABASE_OK)
		return answer;
	if (now->seq != before->seq || memcmp(now->hash, before->hash, JOURNAL_HASH_HEX) != 0)
		return store_moved(db);
	result = wire_copy(db->conn, db->copy.p, buf_str(&batch->rows), &db->why);
	answer = database_judge(db, result, PGRES_COMMAND_OK, NULL);
	if (answer == DATABASE_OK)
		answer = store_end(db, uuid, &batch->last);
	if (answer == DATABASE_OK)
		*now = batch->last;
	return answer;
}

enum database_answer
database_store(struct database *db, const char *uuid, struct journal_head *position,
    const struct batch *batch)
{
	enum database_answer answer = database_open(db);
	struct journal_head now;

	if (answer != DATABASE_OK)
		return answer;
	answer = store_run(db, uuid, position, &now, batch);
	db->unstored = answer == DATABASE_AWAY;
	if (answer == DATABASE_OK || answer == DATABASE_MOVED) {
		*position = now;
		database_well(db);
	}
	return answer;
}
