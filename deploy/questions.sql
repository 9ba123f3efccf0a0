-- The auditor's six questions. Each is asked by the variable that it needs, and answers with triggers in the order of time:
--
--   psql -d audit -v instance_id=UUID -f deploy/questions.sql            -- 1. who started this job?
--   psql -d audit -v caller=etl -v since=2026-11-01 -v until=2026-12-01 -f deploy/questions.sql   -- 2. what did a caller ask for?
--   psql -d audit -v request_id=ID -f deploy/questions.sql               -- 3. what became of this request?
--   psql -d audit -v workspace=UUID -v item=UUID -f deploy/questions.sql -- 4. what was done in a workspace, or to an item?
--   psql -d audit -v unknown=1 -f deploy/questions.sql                   -- 5. which jobs may or may not run?
--   psql -d audit -v body=SHA256 -f deploy/questions.sql                 -- 6. who sent this body, and how often?
--
-- 1 and 5 look for the requests first, as an array, so that no misjudged number of them makes the server read the whole table.
-- since and until (not included) narrow 2, 4, 5 and 6; without them all of time is meant. Add --csv for programs.
\set ON_ERROR_STOP 1
\if :{?since}
\else
\set since -infinity
\endif
\if :{?until}
\else
\set until infinity
\endif
SET TimeZone = 'UTC';
\set columns 'time, caller, operation, job_type, result, status, workspace, item, instance_id, request_id, client_request_id, identity, key, peer, instance, journal, seq, outcome_seq, error_code, answered'

\if :{?instance_id}
SELECT :columns FROM jobgate_trigger
WHERE request_id = ANY (ARRAY(SELECT request_id FROM jobgate_audit WHERE lower(instance_id) = lower(:'instance_id')))
ORDER BY time, journal, seq;
\endif

\if :{?caller}
SELECT :columns FROM jobgate_trigger
WHERE caller = :'caller' AND time >= :'since' AND time < :'until'
ORDER BY time, journal, seq;
\endif

\if :{?request_id}
SELECT :columns FROM jobgate_trigger
WHERE request_id = lower(:'request_id') OR client_request_id = :'request_id'
ORDER BY time, journal, seq;
\endif

\if :{?item}
\if :{?workspace}
SELECT :columns FROM jobgate_trigger
WHERE lower(item) = lower(:'item') AND lower(workspace) = lower(:'workspace') AND time >= :'since' AND time < :'until'
ORDER BY time, journal, seq;
\else
SELECT :columns FROM jobgate_trigger
WHERE lower(item) = lower(:'item') AND time >= :'since' AND time < :'until'
ORDER BY time, journal, seq;
\endif
\elif :{?workspace}
SELECT :columns FROM jobgate_trigger
WHERE lower(workspace) = lower(:'workspace') AND time >= :'since' AND time < :'until'
ORDER BY time, journal, seq;
\endif

\if :{?unknown}
SELECT :columns FROM jobgate_trigger
WHERE request_id = ANY (ARRAY(SELECT request_id FROM jobgate_audit WHERE kind = 'outcome' AND result = 'unknown'))
	AND result = 'unknown' AND time >= :'since' AND time < :'until'
ORDER BY time, journal, seq;
\endif

\if :{?body}
SELECT :columns FROM jobgate_trigger
WHERE lower(body_sha256) = lower(:'body') AND time >= :'since' AND time < :'until'
ORDER BY time, journal, seq;
\endif
