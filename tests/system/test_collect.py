"""jobgate-collect: journals into PostgreSQL, each record once, whatever ends in between."""

import datetime
import json
import os
import random
import signal
import time

import pytest

from harness import BASE, read_journal, verify_journal, wait_for
from journals import Journal
from postgres import COLLECTOR, PASSWORD, Collector, Postgres, Way, ask, same
from test_audit_search import CALLERS, found
from test_audit_search import ask as submit

pytestmark = pytest.mark.timeout(170)


@pytest.fixture(scope="session")
def server():
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def bench(server, tmp_path):
    """A database, and collectors that are ended and checked."""
    bench = Bench(server, tmp_path)
    yield bench
    bench.end()


class Bench:
    def __init__(self, server, folder):
        self.server, self.folder, self.name = server, folder, server.database()
        self.collectors, self.ways = [], []

    def collector(self, *directories, options=(), **environment):
        one = Collector(self.folder, {**self.server.environment(self.name), **environment}, *directories, options=options)
        self.collectors.append(one)
        return one

    def once(self, *directories, code=0):
        one = self.collector(*directories, options=("--once",))
        assert one.wait() == code, one.tail()
        return one

    def way(self):
        self.ways.append(Way(self.server))
        return self.ways[-1]

    def through(self, way):
        """The environment of a collector that goes that way."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(way.port), "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}

    def sql(self, text):
        return self.server.sql(text, self.name)

    def stored(self, journal=None):
        """The records that are stored, in order."""
        where = f"WHERE journal = '{journal}'" if journal else ""
        return [json.loads(row[0]) for row in self.sql(f"SELECT record FROM jobgate_audit {where} ORDER BY journal, seq")]

    def count(self):
        return int(self.sql("SELECT count(*) FROM jobgate_audit")[0][0])

    def wait_count(self, n):
        wait_for(lambda: self.count() == n, what=f"{n} records")

    def check_all(self, *folders):
        """What is stored is what is in the journals, once."""
        records = [record for folder in folders for record in read_journal(folder)]
        records.sort(key=lambda r: (r["journal"], r["seq"]))
        assert self.stored() == records

    def end(self):
        for way in self.ways:
            way.close()
        for one in self.collectors:
            if one.is_alive():
                one.stop(timeout=5)
            one.wait()
            one.check_sanitizers()


def taken(folder, name="collected.json"):
    with open(os.path.join(str(folder), name), encoding="ascii") as file:
        return file.read()


def fill(journal, count, **more):
    for _ in range(count):
        journal.trigger(**more)
    journal.flush()
    return journal


# --- what is stored ---

def test_live_gateways_and_the_six_questions(fleet, bench):
    """Every record of two gateways is there while they write, and SQL answers as jobgate audit search does."""
    sim = fleet.simulator()
    gateways = [fleet.gateway(sim, callers=CALLERS, instance=f"gate{n}") for n in range(2)]
    folders = [os.path.join(g.folder, "audit") for g in gateways]
    bench.collector(*folders)
    for n in range(6):
        assert submit(gateways[n % 2], ("etl", "reports")[n // 3], **{"X-Request-Id": f"mine-{n}"}).status == 202
    assert submit(gateways[0], "etl", f"{BASE}/instances").status == 400
    assert submit(gateways[1], "etl", **{"X-Fabricsim-Fault": "403"}).status == 403
    assert submit(gateways[0], "reports", **{"X-Fabricsim-Fault": "drop"}).status == 409
    assert [submit(gateways[1], "etl", **{"Idempotency-Key": "k"}).status for _ in range(2)] == [202, 202]
    assert bench.collectors[0].is_alive()
    for gateway in gateways:
        gateway.stop()
    records = sum(len(g.records()) for g in gateways)
    bench.wait_count(records)
    bench.check_all(*folders)
    for gateway, folder in zip(gateways, folders):
        last = gateway.records()[-1]
        wait_for(lambda: json.loads(taken(folder)) == {"journal": last["journal"], "seq": last["seq"]}, what="the position")
        assert taken(folder) == f'{{"journal":"{last["journal"]}","seq":{last["seq"]}}}'
    check_questions(bench, folders)


def check_questions(bench, folders):
    """Each question by each value that is there."""
    triggers = found(*folders)
    assert {t["result"] for t in triggers} == {"accepted", "refused", "rejected", "unknown", "replayed"}
    day = datetime.date.today() + datetime.timedelta(days=1)
    questions = [("unknown", "1", ("--result", "unknown"), {}), ("caller", "nobody", ("--caller", "nobody"), {}),
                 ("workspace", triggers[0]["workspace"], ("--workspace", triggers[0]["workspace"], "--item", triggers[0]["item"]),
                  {"item": triggers[0]["item"].upper()}),
                 ("caller", "etl", ("--caller", "etl", "--since", triggers[2]["time"], "--until", str(day)),
                  {"since": triggers[2]["time"], "until": str(day)})]
    for name, flag in (("instance_id", "instance-id"), ("caller", "caller"), ("request_id", "request-id"), ("workspace", "workspace"),
                       ("item", "item"), ("body", "body")):
        member = "body_sha256" if name == "body" else name
        questions += [(name, value, (f"--{flag}", value), {}) for value in {t[member] for t in triggers if t[member]}]
    for name, value, flags, more in questions:
        rows = ask(bench.server, bench.name, **{name: value}, **more)
        expected = found(*flags, *folders)
        assert [same(row) for row in rows] == [same(t) for t in expected], (name, value)
        assert expected or value == "nobody"
    assert [r["request_id"] for r in ask(bench.server, bench.name, request_id="mine-3")] == [
        t["request_id"] for t in found("--client-request-id", "mine-3", *folders)]


def test_hostile_values_stay_in_their_columns(bench):
    folder = bench.folder / "audit"
    journal = Journal(folder)
    callers = ["a\tb", "a\nb\r", "\\N", "\\.", "\\", 'quote"', "'; DROP TABLE jobgate_audit; --", "é\u2028\U0001f600", "\x01\x1f\x7f", "",
               "a" * 2000]
    for caller in callers:
        journal.trigger(caller=caller)
    journal.put("strange\\n\\\\.\\ud83d\\ude00", ',"request_id":null,"caller":[1],"status":-1,"seq2":{"a":[1e3]}')
    journal.put("huge", ',"status":99999999999999999999,"instance_id":7,"result":true')
    journal.close()
    bench.once(folder)
    bench.check_all(folder)
    rows = bench.sql("SELECT to_json(caller) FROM jobgate_audit WHERE kind = 'intent' ORDER BY seq")
    assert [json.loads(row[0]) for row in rows] == callers
    assert json.loads(bench.sql("SELECT to_json(kind) FROM jobgate_audit WHERE kind LIKE 'strange%'")[0][0]) == "strange\n\\.\U0001f600"
    assert bench.sql("SELECT count(*) FROM jobgate_audit WHERE status IS NULL AND kind LIKE 'strange%' OR kind = 'huge'") == [["2"]]


def test_anchors_are_collected_as_what_they_are(bench):
    """Their journal is the one that they stand in, not the one that they speak of; they are no triggers."""
    folder, other = bench.folder / "audit", "0b8f7f0e-7a0d-4a3e-9d3c-2f0f6a1c5e11"
    journal = Journal(folder)
    journal.trigger()
    journal.put("anchor", f',"of_journal":"{other}","of_seq":7,"of_hash":"{"ab" * 32}"')
    journal.trigger()
    journal.close()
    bench.once(folder)
    bench.check_all(folder)
    assert bench.sql("SELECT journal, seq, record ->> 'of_journal', record ->> 'of_seq' FROM jobgate_audit WHERE kind = 'anchor'") == [
        [journal.uuid, "3", other, "7"]]
    assert bench.sql("SELECT count(*) FROM jobgate_trigger") == [["2"]] and len(found(str(folder))) == 2


# --- the journal's life ---

def test_rotation_a_torn_line_and_deletion_while_it_follows(bench):
    """A reader meets new files, half a line, and files that retention takes away behind it."""
    folder = bench.folder / "audit"
    journal = Journal(folder, segment=3000)
    collector = bench.collector(folder)
    deleted = []
    for _ in range(5):
        fill(journal, 20)
        line = journal.line("refusal", ',"request_id":"r1","status":429')
        journal.append(line[:100])
        journal.flush()
        bench.wait_count(journal.seq - 1)
        wait_for(lambda: json.loads(taken(folder))["seq"] == journal.seq - 1, what="the position")
        journal.file.write(line[100:])
        journal.flush()
        bench.wait_count(journal.seq)
        old = sorted(f for f in os.listdir(folder) if f.endswith(".jsonl"))[:-2]
        for name in old:
            deleted += [json.loads(line) for line in open(folder / name, encoding="utf-8")]  # pylint: disable=consider-using-with
            os.remove(folder / name)
    assert len(deleted) > 100
    assert bench.stored() == sorted(deleted + read_journal(folder), key=lambda r: r["seq"])
    assert not collector.events("records missing") and not bench.sql("SELECT * FROM jobgate_gap")


def test_a_gap_is_told_once_and_passed(bench):
    folder = bench.folder / "audit"
    journal = fill(Journal(folder, segment=2000), 20)
    journal.close()
    names = sorted(f for f in os.listdir(folder) if f.endswith(".jsonl"))
    for name in names[3:6]:
        os.remove(folder / name)
    first, last = int(names[3][:20]), int(names[6][:20]) - 1
    collector = bench.collector(folder)
    bench.wait_count(40 - (last - first + 1))
    fill(journal, 3)
    bench.wait_count(46 - (last - first + 1))
    collector.wait_event("records missing")
    told, = collector.events("records missing")
    assert (told["from"], told["to"], told["journal"]) == (first, last, journal.uuid) and names[6] in told["before"]
    assert bench.sql("SELECT * FROM jobgate_gap") == [[journal.uuid, str(first), str(last)]]
    bench.check_all(folder)


def change_line(path, number, change):
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    lines[number - 1] = change(lines[number - 1])
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)


@pytest.mark.parametrize("change, words", [
    (lambda line: line.replace('"etl"', '"eve"'), "its hash does not match"),
    (lambda line: "\n", "it does not end as a record does"),
    (lambda line: "x" * 70000 + "\n", "longer than any record"),
    (lambda line: line + line, "its seq comes again"),
])
def test_a_bad_line_stops_its_directory_and_no_other(bench, change, words):
    bad, good = bench.folder / "bad", bench.folder / "good"
    journal = fill(Journal(bad, seed=1), 10)
    other = fill(Journal(good, seed=2), 10)
    change_line(journal.path(), 7, change)
    collector = bench.collector(bad, good)
    why = collector.wait_event("collecting stopped")["why"]
    line = 8 if "again" in words else 7
    assert f"{journal.path()}:{line}: {words}" in why
    fill(other, 5)
    bench.wait_count(30 + line - 1)
    assert [r["seq"] for r in bench.stored(journal.uuid)] == list(range(1, line)) and not collector.events("records missing")
    assert json.loads(taken(bad))["seq"] == line - 1
    collector.stop()
    again = bench.once(bad, code=1)
    assert f"{journal.path()}:{line}: {words}" in again.events("collecting stopped")[0]["why"]


@pytest.mark.parametrize("change", [lambda line: line.replace('"etl"', '"eve"'), lambda line: "x" * 150000 + line])
def test_a_bad_line_is_passed_only_where_somebody_says_so(bench, change):
    """By writing its position into the table: the words of the README."""
    folder = bench.folder / "audit"
    journal = fill(Journal(folder), 10)
    bad = read_journal(folder)[6]
    change_line(journal.path(), 7, change)
    bench.once(folder, code=1)
    bench.sql(f"UPDATE jobgate_journal SET seq = 7, hash = '{bad['hash']}'")
    again = bench.once(folder)
    assert [r["seq"] for r in bench.stored()] == [*range(1, 7), *range(8, 21)]
    assert bench.sql("SELECT * FROM jobgate_gap") == [[journal.uuid, "7", "7"]] and not again.events("records missing")


@pytest.mark.parametrize("same_seq", [True, False])
def test_a_journal_that_was_set_back_is_noticed(bench, same_seq):
    """A volume restored from yesterday goes on with seqs that were collected already, with other records."""
    folder = bench.folder / "audit"
    journal = fill(Journal(folder), 10)
    journal.close()
    with open(journal.path(), encoding="utf-8") as file:
        lines = file.readlines()
    bench.once(folder)
    assert bench.count() == 20
    journal.seq, journal.prev = 12, json.loads(lines[11])["hash"]
    with open(journal.path(), "w", encoding="utf-8") as file:
        file.writelines(lines[:12])
    behind = bench.once(folder)      # a copy that is behind is no fault
    assert "it ends at seq 12, but was collected up to 20" in behind.events("journal behind")[0]["why"]
    fill(journal, 4 if same_seq else 6, caller="other")
    collector = bench.once(folder, code=1)
    assert "another record with this seq was collected before" in collector.events("collecting stopped")[0]["why"]
    assert bench.count() == 20 and not any(r.get("caller") == "other" for r in bench.stored())
    # Somebody has looked, and decides that what the journal has now is true: the others are kept aside.
    assert bench.sql(f"SELECT jobgate_disown('{journal.uuid}', 13)") == [["8"]]
    assert bench.sql("SELECT min(seq), max(seq), count(*) FROM jobgate_disowned") == [["13", "20", "8"]]
    bench.once(folder)
    bench.check_all(folder)
    with pytest.raises(AssertionError, match="is not there to go on from"):
        bench.sql(f"SELECT jobgate_disown('{journal.uuid}', 99)")


def test_a_directory_is_swapped_under_it(bench):
    """By another with another journal, by none at all for a while, and by a journal begun anew in the same directory."""
    folder = bench.folder / "audit"
    first = fill(Journal(folder, seed=1), 10)
    collector = bench.collector(folder)
    bench.wait_count(20)
    fill(first, 5)
    os.rename(folder, bench.folder / "old")
    collector.wait_event("journal directory unreadable")
    second = fill(Journal(folder, seed=2), 5)
    collector.wait_event("journal directory readable")
    bench.wait_count(40)
    assert json.loads(taken(folder)) == {"journal": second.uuid, "seq": 10}
    second.close()
    for name in os.listdir(folder):
        os.remove(folder / name)
    third = fill(Journal(folder, seed=3), 7)
    bench.wait_count(54)
    assert json.loads(taken(folder)) == {"journal": third.uuid, "seq": 14}
    collector.wait_event("journal followed", 3)
    assert [e["journal"] for e in collector.events("journal followed")] == [first.uuid, second.uuid, third.uuid]
    assert len(collector.events("journal directory unreadable")) == 1


def test_a_copy_without_its_name_and_an_empty_directory(bench):
    folder, empty = bench.folder / "audit", bench.folder / "empty"
    empty.mkdir()
    journal = fill(Journal(folder), 10)
    os.remove(folder / "journal.id")
    bench.once(folder, empty)
    bench.check_all(folder)
    assert bench.sql("SELECT journal, seq, hash FROM jobgate_journal") == [[journal.uuid, "20", journal.prev]]


def test_a_directory_that_is_not_there(bench):
    collector = bench.once(bench.folder / "nowhere", code=1)
    assert "No such file" in collector.events("journal directory unreadable")[0]["why"]


# --- the database's life ---

def test_the_database_is_away_at_first_and_again_later(bench):
    """Announced once; what was written meanwhile is stored when it is back."""
    folder = bench.folder / "audit"
    journal = fill(Journal(folder), 10)
    bench.server.stop()
    try:
        collector = bench.collector(folder)
        collector.wait_event("database unavailable")
        fill(journal, 10)
        assert not os.path.exists(folder / "collected.json")
    finally:
        bench.server.start()
    bench.wait_count(40)
    collector.wait_event("database available")
    bench.server.stop(signal.SIGQUIT)       # as a crash would
    try:
        fill(journal, 10)
        collector.wait_event("database unavailable", 2)
    finally:
        bench.server.start()
    collector.wait_event("database available", 2)
    bench.wait_count(60)
    bench.check_all(folder)
    assert len(collector.events("database unavailable")) == 2
    assert json.loads(taken(folder))["seq"] == 60


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("word", [b"COMMIT", b"FOR UPDATE", b"COPY"])
def test_the_connection_is_lost_in_the_middle(bench, word, after):
    """Before the server hears it, and when the server has done it and its answer is lost."""
    folder, way = bench.folder / "audit", bench.way()
    journal = fill(Journal(folder), 50)
    way.cut_at(word, after, 3)
    bench.collector(folder, **bench.through(way))
    bench.wait_count(100)
    for n in range(1, 4):
        way.cut_at(word, after, 1)
        fill(journal, 5)
        bench.wait_count(100 + 10 * n)
        wait_for(lambda: way.cuts == 0, what="the cut")
    bench.check_all(folder)


def test_a_killed_collector_goes_on_where_it_was(bench):
    """kill -9 at any moment of many small batches, each followed by a new collector."""
    folder = bench.folder / "audit"
    journal, seed = Journal(folder, segment=20000), random.Random(5)
    for _ in range(20):
        fill(journal, 40)
        collector = bench.collector(folder)
        time.sleep(seed.uniform(0.0, 0.4))      # any moment will do
        collector.kill()
        if os.path.exists(folder / "collected.json"):
            assert json.loads(taken(folder))["seq"] <= bench.count()
        bench.collectors.remove(collector)
    bench.once(folder)
    bench.check_all(folder)
    assert json.loads(taken(folder))["seq"] == 1600 == journal.seq


def test_two_collectors_of_one_journal(bench):
    """Both follow it while it is written: each record once, and neither complains."""
    folder = bench.folder / "audit"
    journal = Journal(folder, segment=50000)
    fill(journal, 2000)
    both = [bench.collector(folder), bench.collector(folder, options=("--taken", bench.folder / "second.json"))]
    for _ in range(20):
        fill(journal, 50)
        before = bench.count()
        wait_for(lambda: bench.count() > before or bench.count() == journal.seq, what="progress")
    bench.wait_count(journal.seq)
    bench.check_all(folder)
    for name, where in (("collected.json", folder), ("second.json", bench.folder)):
        wait_for(lambda: json.loads(taken(where, name))["seq"] == journal.seq, what=f"the position in {name}")
    for collector in both:
        assert not [e for e in collector.events() if e["level"] != "info"], collector.tail()


def test_the_schema_comes_later_and_again(server, tmp_path):
    bench = Bench(server, tmp_path)
    server.sql("DROP TABLE jobgate_audit, jobgate_journal CASCADE", bench.name)
    folder = tmp_path / "audit"
    fill(Journal(folder), 10)
    collector = bench.collector(folder)
    assert "SQLSTATE 42P01" in collector.wait_event("database unavailable")["why"]
    server.prepare(bench.name)
    bench.wait_count(20)
    server.prepare(bench.name)
    bench.check_all(folder)
    bench.end()


def test_a_database_that_answers_but_stores_nothing(bench):
    """It is announced once, not at every attempt, and tried with growing pauses."""
    folder = bench.folder / "audit"
    fill(Journal(folder), 10)
    bench.sql(f"REVOKE INSERT ON jobgate_audit FROM {COLLECTOR}")
    collector = bench.collector(folder, Journal(bench.folder / "other", seed=2).folder)
    assert "SQLSTATE 42501" in collector.wait_event("database unavailable")["why"]
    tried = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    wait_for(lambda: int(bench.sql(tried)[0][0]) >= 4, what="more attempts")
    assert len(collector.events("database unavailable")) == 1 and not collector.events("database available")
    bench.sql(f"GRANT INSERT ON jobgate_audit TO {COLLECTOR}")
    bench.wait_count(20)
    collector.wait_event("database available")


def test_the_database_was_set_back(bench):
    """A backup of yesterday is restored: what is missing is collected again."""
    folder = bench.folder / "audit"
    journal = fill(Journal(folder), 20)
    collector = bench.collector(folder)
    bench.wait_count(40)
    with open(journal.path(), encoding="utf-8") as file:
        line = json.loads(file.readlines()[9])
    bench.sql(f"BEGIN; DELETE FROM jobgate_audit WHERE seq > 10; UPDATE jobgate_journal SET seq = 10, hash = '{line['hash']}'; COMMIT")
    fill(journal, 1)
    bench.wait_count(42)
    bench.check_all(folder)
    assert not collector.events("records missing")


def test_a_row_that_the_database_refuses_is_named(bench):
    """A number beyond numeric in a member that nobody knows: what is before it is stored, and nothing is passed over."""
    folder = bench.folder / "audit"
    journal = fill(Journal(folder), 30)
    journal.put("strange", ',"number":1e999999')
    fill(journal, 30)
    collector = bench.once(folder, code=1)
    why = collector.events("collecting stopped")[0]["why"]
    assert f"{journal.path()}:61: the database refuses it: " in why
    assert bench.count() == 60 and json.loads(taken(folder))["seq"] == 60


def test_the_collector_may_add_and_nothing_else(bench):
    for statement in ("DELETE FROM jobgate_audit", "UPDATE jobgate_audit SET caller = 'x'", "TRUNCATE jobgate_audit",
                      "DELETE FROM jobgate_journal", "SELECT * FROM jobgate_audit"):
        with pytest.raises(AssertionError, match="permission denied"):
            bench.sql(f"SET ROLE {COLLECTOR}; {statement}")
    with pytest.raises(AssertionError, match="permission denied"):
        bench.sql("SET ROLE auditors; DELETE FROM jobgate_audit")


# --- the program ---

@pytest.mark.parametrize("how", ["idle", "away", "stalled"])
def test_sigterm_ends_it_in_time(bench, how):
    folder, way = bench.folder / "audit", bench.way()
    journal = fill(Journal(folder), 10)
    collector = bench.collector(folder, **({"PGHOST": "/nonexistent"} if how == "away" else bench.through(way)))
    if how == "away":
        collector.wait_event("database unavailable")
    else:
        bench.wait_count(20)
    if how == "stalled":
        way.stalled.set()
        fill(journal, 10)
        wait_for(lambda: way.swallowed, what="its asking")
    begun = time.monotonic()
    collector.stop(timeout=10)
    assert time.monotonic() - begun < 2.0
    assert how != "idle" or collector.events("jobgate-collect ended")[0]["records"] == 20


def test_what_it_cannot_say_to_the_gateway_is_announced(bench):
    folder = bench.folder / "audit"
    journal = fill(Journal(folder), 10)
    collector = bench.collector(folder, options=("--taken", bench.folder / "later" / "taken.json"))
    assert "No such file" in collector.wait_event("collected position not written")["why"]
    bench.wait_count(20)
    (bench.folder / "later").mkdir()
    fill(journal, 1)
    collector.wait_event("collected position written")
    assert json.loads(taken(bench.folder / "later", "taken.json"))["seq"] == 22
    assert not os.path.exists(folder / "collected.json")


def test_a_password_is_never_shown(bench):
    """Not on the command line, where it is refused without being repeated, and not in the log of a failure."""
    folder = bench.folder / "audit"
    fill(Journal(folder), 1)
    for text in (f"password={PASSWORD}", f"postgresql://u:{PASSWORD}@host/db", f"broken {PASSWORD}"):
        collector = bench.collector(folder, options=("--database", text))
        assert collector.wait() == 2
    wrong = bench.collector(folder, options=("--once", "--log", "debug"), PGPASSFILE="/nonexistent", PGPASSWORD="wrong-" + PASSWORD)
    assert wrong.wait() == 1 and "password authentication failed" in wrong.events("database unavailable")[0]["why"]
    right = bench.collector(folder, options=("--once", f"--database=dbname={bench.name}"), PGDATABASE="nowhere")
    assert right.wait() == 0, right.tail()
    bench.check_all(folder)


@pytest.mark.parametrize("arguments", [[], ["--directory"], ["--database", "dbname=x"], ["--sometimes", "--directory", "."], ["--log=loud", "."],
                                       ["--taken", "x", ".", ".."], ["--taken=", "."], ["--directory="]])
def test_usage(tmp_path, arguments):
    from harness import Process, binary
    process = Process([binary("jobgate-collect"), *arguments], str(tmp_path))
    assert process.wait() == 2 and any("usage: jobgate-collect" in line for line in process.lines)


def test_made_journals_are_good(tmp_path):
    """What these tests write is what a gateway writes."""
    fill(Journal(tmp_path, segment=3000), 50).close()
    done = verify_journal(tmp_path)
    assert done.returncode == 0 and "100 records" in done.stdout, done.stdout
