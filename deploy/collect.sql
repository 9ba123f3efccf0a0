-- What jobgate-collect writes into, and what auditors ask. Idempotent: run it again after an update.
--
--   psql -d audit -v ON_ERROR_STOP=1 -v collector=jobgate_collect -v reader=auditors -f deploy/collect.sql
--
-- PostgreSQL 14 or later, a database in UTF8. The variables are optional: roles that exist; the collector may add records and move
-- positions, and change or delete nothing; the reader may read. All names are looked up by search_path.
\set ON_ERROR_STOP 1
BEGIN;
SET LOCAL client_min_messages = warning;

-- A row for each record of the journals: what is asked for in columns, the whole record as it was chained beside them.
-- One table, not partitioned by time: that a record is there once is its primary key, and PostgreSQL keeps a key over
-- partitions only where it has the time in it. What is too old is deleted by time, which has a small index (BRIN) for that.
CREATE TABLE IF NOT EXISTS jobgate_audit (
	journal           uuid        NOT NULL,
	seq               bigint      NOT NULL,
	time              timestamptz NOT NULL,
	kind              text        NOT NULL,	-- intent, outcome, refusal, replay, config, stop, anchor, and what later versions write
	instance          text,
	request_id        text,
	client_request_id text,
	caller            text,
	key               text,
	identity          text,
	peer              text,
	operation         text,
	workspace         text,
	item              text,
	job_type          text,
	body_sha256       text,
	result            text,
	status            bigint,
	error_code        text,
	instance_id       text,
	record            jsonb       NOT NULL,
	PRIMARY KEY (journal, seq)
);

-- How far each journal is taken. The hash is that of the last record: a journal that was cut back or rewritten since is noticed.
CREATE TABLE IF NOT EXISTS jobgate_journal (
	journal      uuid        PRIMARY KEY,
	seq          bigint      NOT NULL,
	hash         text        NOT NULL,
	collected_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Ids compare without case, as jobgate audit search compares them; the gateway's own request ids are in lower case.
CREATE INDEX IF NOT EXISTS jobgate_audit_request ON jobgate_audit (request_id);
CREATE INDEX IF NOT EXISTS jobgate_audit_client_request ON jobgate_audit (client_request_id) WHERE client_request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobgate_audit_job ON jobgate_audit (lower(instance_id)) WHERE instance_id IS NOT NULL;
DROP INDEX IF EXISTS jobgate_audit_caller;	-- of a version without replays
CREATE INDEX IF NOT EXISTS jobgate_audit_of_caller ON jobgate_audit (caller, time) WHERE kind IN ('intent', 'refusal', 'replay');
CREATE INDEX IF NOT EXISTS jobgate_audit_workspace ON jobgate_audit (lower(workspace), time) WHERE workspace IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobgate_audit_item ON jobgate_audit (lower(item), time) WHERE item IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobgate_audit_body ON jobgate_audit (lower(body_sha256), time) WHERE body_sha256 IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobgate_audit_unknown ON jobgate_audit (time) WHERE kind = 'outcome' AND result = 'unknown';
CREATE INDEX IF NOT EXISTS jobgate_audit_time ON jobgate_audit USING brin (time);

-- A row for each trigger, as jobgate audit search prints them: an intent with its outcome (result null: none yet), a refusal, or
-- a replay, which got the answer of first_request_id.
-- Where an unknown outcome was resolved later, the result is what it turned out to be.
CREATE OR REPLACE VIEW jobgate_trigger AS
SELECT a.time, a.journal, a.instance, a.seq, o.seq AS outcome_seq, a.request_id, a.client_request_id, a.caller, a.key, a.identity,
	a.peer, a.operation, a.workspace, a.item, a.job_type,
	(a.record ->> 'legacy')::boolean AS legacy,
	(a.record ->> 'body_bytes')::numeric AS body_bytes,
	a.body_sha256,
	CASE a.kind WHEN 'refusal' THEN 'refused' WHEN 'replay' THEN 'replayed' ELSE coalesce(r.result, o.result) END AS result,
	coalesce(o.status, a.status) AS status,
	coalesce(o.record ->> 'answered', a.record ->> 'answered')::numeric AS answered,
	coalesce(o.error_code, a.error_code) AS error_code,
	coalesce(o.record ->> 'location', r.record ->> 'location') AS location,
	coalesce(o.instance_id, r.instance_id) AS instance_id,
	o.record ->> 'upstream_request_id' AS upstream_request_id,
	(o.record ->> 'attempts')::numeric AS attempts,
	(o.record ->> 'wait_ms')::numeric AS wait_ms,
	(o.record ->> 'duration_ms')::numeric AS duration_ms,
	(a.record ->> 'count')::numeric AS count,
	a.record ->> 'first_request_id' AS first_request_id,
	r.seq AS resolution_seq
FROM jobgate_audit a
LEFT JOIN jobgate_audit o ON a.kind = 'intent' AND o.kind = 'outcome' AND o.request_id = a.request_id AND o.journal = a.journal
LEFT JOIN jobgate_audit r ON o.result = 'unknown' AND r.kind = 'resolution' AND r.result = 'accepted' AND r.request_id = o.request_id
	AND r.journal = o.journal
WHERE a.kind IN ('intent', 'refusal', 'replay');

-- Which records are not there of each journal: deleted before they were collected, or here.
CREATE OR REPLACE VIEW jobgate_gap AS
SELECT journal, before + 1 AS first_seq, seq - 1 AS last_seq
FROM (SELECT journal, seq, lag(seq, 1, 0::bigint) OVER (PARTITION BY journal ORDER BY seq) AS before FROM jobgate_audit) AS neighbours
WHERE seq > before + 1;

-- Records that were collected and that their journal no longer has: see jobgate_disown.
CREATE TABLE IF NOT EXISTS jobgate_disowned (
	journal     uuid        NOT NULL,
	seq         bigint      NOT NULL,
	record      jsonb       NOT NULL,
	disowned_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- For a person, where a collector stopped since a journal was cut back (a disk that failed to sync, a restored volume) and goes on with
-- other records under the same seqs: puts what was collected from FIRST on aside, so that it is collected again as it is now.
-- Nothing is lost by it. Returns how many records that were.
CREATE OR REPLACE FUNCTION jobgate_disown(of uuid, first bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before text := (SELECT record ->> 'hash' FROM jobgate_audit WHERE journal = of AND seq = first - 1);
	moved bigint;
BEGIN
	PERFORM FROM jobgate_journal WHERE journal = of FOR UPDATE;
	IF before IS NULL AND first <> 1 THEN
		RAISE EXCEPTION 'seq % of journal % is not there to go on from', first - 1, of;
	END IF;
	INSERT INTO jobgate_disowned (journal, seq, record) SELECT journal, seq, record FROM jobgate_audit WHERE journal = of AND seq >= first;
	DELETE FROM jobgate_audit WHERE journal = of AND seq >= first;
	GET DIAGNOSTICS moved = ROW_COUNT;
	UPDATE jobgate_journal SET seq = first - 1, hash = coalesce(before, ''), collected_at = clock_timestamp() WHERE journal = of;
	RETURN moved;
END $$;
REVOKE EXECUTE ON FUNCTION jobgate_disown FROM PUBLIC;

\if :{?collector}
GRANT INSERT ON jobgate_audit TO :"collector";
GRANT SELECT, INSERT, UPDATE ON jobgate_journal TO :"collector";
\endif
\if :{?reader}
GRANT SELECT ON jobgate_audit, jobgate_journal, jobgate_trigger, jobgate_gap, jobgate_disowned TO :"reader";
\endif
COMMIT;
