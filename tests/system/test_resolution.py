"""Unknown outcomes are looked for among the item's instances: found where exactly one can be the run's, never guessed."""

import json
import random
import threading
import time

import pytest

from entra_sim import Entra
from harness import BASE, ITEM, KEY, ORIGIN, Process, binary, check_error, field, verify_journal
from postgres import ask, same
from test_audit_search import directory, found
from test_collect import bench, server  # noqa: F401 (fixtures)
from test_credential import SECRET, secret_credential, start
from wire import wait_for

RUN = f"{BASE}/RunNotebook/instances"
LIST = f"{BASE}/instances"
QUICK = {"match": "time", "delay": "1s", "tries": 2, "window": "1s"}
TOKEN = "Bearer callers-own-token"


def run(gateway, fault=None, target=RUN, **more):
    """Start a job; FAULT is what befalls the answer. Returns the answer."""
    headers = [("Authorization", TOKEN)] + ([("X-Fabricsim-Fault", fault)] if fault else [])
    return gateway.request("POST", target, headers, b"{}", **more)


def lists(sim):
    return [e for e in sim.ledger() if e["method"] == "GET" and e["target"].split("?")[0].endswith("/jobs/instances")]


def ours(sim):
    """The lists that the gateway itself has asked for."""
    return [e for e in lists(sim) if field(e, "Via") == ["1.1 jobgate"]]


def resolution(gateway, answer):
    """The one record of kind resolution of an answer's request, behind its outcome."""
    name = answer.get("X-Request-Id")
    record, = wait_for(lambda: [r for r in gateway.records("resolution") if r["request_id"] == name], what="the resolution")
    outcome, = [r for r in gateway.records("outcome") if r["request_id"] == name]
    assert outcome["result"] == "unknown" and outcome["seq"] < record["seq"]
    assert {k: record[k] for k in ("caller", "key", "identity", "operation")} == {
        "caller": "etl", "key": "k1", "identity": "default", "operation": "run"}
    return record


def instances(sim):
    """What the upstream has of the item, oldest first."""
    with sim.connect() as c:
        return c.request("GET", LIST, [("Authorization", "Bearer test")]).json()["value"][::-1]


def check_matched(gateway, sim, answer, by):
    record = resolution(gateway, answer)
    assert (record["result"], record["why"], record["matched_by"]) == ("accepted", "matched", by), record
    assert record["location"] == f"{ORIGIN}{LIST}/{record['instance_id']}"
    assert record["instance_id"] in [i["id"] for i in instances(sim)]
    return record


def test_a_lost_answer_is_found_by_time(fleet):
    """The job runs, its answer was lost: the one instance that nobody else can have started is its, with a status URL."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    assert run(gateway).status == 202
    answer = run(gateway, "drop")
    check_error(answer, 409, "JobgateOutcomeUnknown")
    record = check_matched(gateway, sim, answer, "time")
    assert record["instance_id"] == instances(sim)[1]["id"] and record["lists"] == 1
    entry, = ours(sim)
    assert field(entry, "Authorization") == [TOKEN] and field(entry, "Accept-Encoding") == ["identity"]
    assert field(entry, "X-Request-Id")[0] not in [r.get("request_id") for r in gateway.records()]
    metrics = gateway.metrics()
    assert metrics['jobgate_resolutions_total{why="matched"}'] == 1 and metrics["jobgate_resolutions_waiting"] == 0
    assert verify_journal(directory(gateway)).returncode == 0


def test_what_was_never_started_stays_unknown(fleet):
    """Closed before it was read: no instance is there, at no try, although the caller's other run has one."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "early-close")
    assert run(gateway).status == 202
    record = resolution(gateway, answer)
    assert (record["result"], record["why"], record["lists"]) == ("unknown", "none", 2)
    assert record["instance_id"] is record["location"] is record["matched_by"] is None


@pytest.mark.parametrize("second", ["drop", "early-close"])
def test_two_unknown_runs_are_not_told_apart(fleet, second):
    """Two of one item at the same time, both lost: which instance is whose is not known, be there one or two of them."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    answers = [run(gateway, fault) for fault in ("drop", second)]
    for answer in answers:
        assert (resolution(gateway, answer)["result"], resolution(gateway, answer)["why"]) == ("unknown", "several")


def test_an_instance_of_somebody_else_is_not_taken(fleet):
    """Somebody has started the same job beside the gateway: two may be it, and none is taken."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "drop")
    with sim.connect() as c:
        assert c.request("POST", RUN, [("Authorization", "Bearer other")], b"{}").status == 202
    assert resolution(gateway, answer)["why"] == "several"


def test_never_guessed(fleet):
    """Runs of few items from many callers at once, some lost after they began and some before: what began is matched to an
    instance that is nobody else's, what did not is matched to none."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve={**QUICK, "tries": 3})
    fates, lock = {}, threading.Lock()

    def start_some(seed):
        chance = random.Random(seed)
        for _ in range(12):
            fault = chance.choice([None, None, None, "drop", "early-close"])
            item = f"431e8d7b-4a95-4c02-8ccd-{chance.randrange(40):012}"
            answer = run(gateway, fault, target=RUN.replace(ITEM, item))
            with lock:
                fates[answer.get("X-Request-Id")] = fault

    threads = [threading.Thread(target=start_some, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [name for name, fault in fates.items() if fault]
    found_again = {r["request_id"]: r for r in gateway.wait_records("resolution", len(lost), 60)}
    assert set(found_again) == set(lost)
    why = {name: record["why"] for name, record in found_again.items()}
    assert not [name for name in lost if fates[name] == "early-close" and why[name] == "matched"]
    assert set(why.values()) == {"matched", "none", "several"}, "each was met"
    taken = [r["instance_id"] for r in gateway.records() if r.get("instance_id")]
    assert len(taken) == len(set(taken)), "no instance is two runs'"


def test_another_job_type_is_not_taken(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "early-close")
    with sim.connect() as c:
        assert c.request("POST", f"{BASE}/Pipeline/instances", [("Authorization", "Bearer other")], b"{}").status == 202
    assert resolution(gateway, answer)["why"] == "none"


def test_by_activity_it_is_found_among_others(fleet):
    """An error after the job had begun says its RequestId, which is the instance's rootActivityId: no other can be it."""
    sim = fleet.simulator()
    redis = fleet.redis()
    gateway = fleet.gateway(sim, resolve={**QUICK, "match": "activity"}, store={"redis": redis.url})
    gateway.settle()
    answers = [run(gateway, "504") for _ in range(3)]
    ids = [check_matched(gateway, sim, answer, "activity")["instance_id"] for answer in answers]
    assert ids == [i["id"] for i in instances(sim)]
    lost = run(gateway, "drop")
    answer = run(gateway, "500")
    check_matched(gateway, sim, answer, "activity")
    assert not [r for r in gateway.records("resolution") if r["request_id"] == lost.get("X-Request-Id")], "nothing to know it by"


def test_all_pages_are_read(fleet):
    """The instance may stand on any page: each is asked for by its token, and costs a call."""
    sim = fleet.simulator("--page", 2)
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "drop")
    for _ in range(4):
        assert run(gateway).status == 202
    record = resolution(gateway, answer)
    assert (record["why"], record["lists"]) == ("matched", 3)
    assert ["continuationToken=" in e["target"] for e in ours(sim)] == [False, True, True]
    with sim.connect() as c:
        target = record["location"].removeprefix(ORIGIN)
        assert c.request("GET", target, [("Authorization", "Bearer test")]).json()["id"] == record["instance_id"]


@pytest.mark.parametrize("fault,calls", [("401", 1), ("403", 1), ("404", 1), ("500", 2), ("garbage", 2)])
def test_no_list_no_resolution(fleet, fault, calls):
    sim = fleet.simulator("--fault", f"{fault}:1:GET")
    gateway = fleet.gateway(sim, resolve=QUICK)
    record = resolution(gateway, run(gateway, "drop"))
    assert (record["result"], record["why"], record["lists"]) == ("unknown", "failed", 0)
    assert len(lists(sim)) == calls


def test_off_by_default_and_a_drain_does_not_wait(fleet):
    sim = fleet.simulator()
    silent = fleet.gateway(sim)
    run(silent, "drop")
    silent.wait_records("outcome", 1)
    gateway = fleet.gateway(sim, resolve={"match": "time", "delay": "1m"})
    answer = run(gateway, "drop")
    wait_for(lambda: gateway.metrics()["jobgate_resolutions_waiting"] == 1)
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 5
    record = resolution(gateway, answer)
    assert (record["result"], record["why"], record["lists"]) == ("unknown", "failed", 0)
    assert [r["kind"] for r in gateway.records()][-2:] == ["resolution", "stop"]
    assert not lists(sim) and not silent.records("resolution")


def test_a_list_under_way_does_not_hold_a_drain(fleet):
    sim = fleet.simulator("--fault", "stall:1:GET")
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "drop")
    wait_for(lambda: lists(sim), what="the list")
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 5 and resolution(gateway, answer)["why"] == "failed"


def test_lists_are_counted_and_triggers_go_before_them(fleet):
    """A quota that lists would use up: each takes its token, none is answered 429, and a run overtakes those that wait."""
    sim = fleet.simulator("--quota", "8/4")
    gateway = fleet.gateway(sim, resolve=QUICK, workers=1, upstream={"quota": {"requests": 8, "window": "4s", "burst": 4}})
    answers = [run(gateway, "early-close") for _ in range(8)]
    wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] >= 4, what="lists that wait")
    before = len(ours(sim))
    assert run(gateway).status == 202
    assert len(ours(sim)) - before <= 2, "those that had their tokens already, or nearly"
    for answer in answers:
        assert resolution(gateway, answer)["why"] in ("none", "several", "failed")
    assert all(e["status"] != 429 for e in sim.ledger())
    assert gateway.metrics()['jobgate_grants_total{identity="default"}'] == len(sim.ledger())


def test_runs_of_a_predecessor_are_not_forgotten(fleet):
    """Started anew within the window: the run before the restart is not known here, and its instance is not taken for another's."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve={**QUICK, "window": "10s"})
    assert run(gateway).status == 202
    gateway.stop()
    again = fleet.gateway(sim, folder=gateway.folder, config=gateway.config)
    answer = run(again, "early-close")
    assert resolution(again, answer)["why"] == "several"


@pytest.fixture
def entra(certificates):
    entra = Entra(certificates, secret=SECRET)
    yield entra
    entra.stop()


def killed(fleet, gateway, answers=0):
    """Kill it while a run is under way whose job has begun, and start it anew."""
    c = gateway.connect()
    c.send(c.build("POST", RUN, [("X-API-Key", KEY), ("Authorization", TOKEN), ("X-Fabricsim-Latency", "60000")], b"{}"))
    wait_for(lambda: len(gateway.records("intent")) == answers + 1 and gateway.records("intent")[-1], what="the intent")
    return c


def test_after_a_crash_with_a_credential(fleet, entra, tmp_path):
    """Killed with a run under way: its outcome is unknown at the next start, which looks for it as the identity that it is.

    The runs before it, of the killed process too, are read from the journal, so that theirs are not taken for it.
    """
    sim = fleet.simulator()
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path), resolve=QUICK)
    for _ in range(2):
        assert run(gateway).status == 202
    with killed(fleet, gateway, 2):
        wait_for(lambda: len(instances(sim)) == 3, what="the job")
        gateway.kill()
    again = fleet.gateway(sim, folder=gateway.folder, config=gateway.config)
    record, = again.wait_records("resolution", 1)
    assert (record["why"], record["matched_by"]) == ("matched", "time"), record
    assert record["instance_id"] == instances(sim)[2]["id"]
    assert record["location"] == f"{ORIGIN}{LIST}/{record['instance_id']}"
    trigger = found(directory(again))[-1]
    assert (trigger["result"], trigger["instance_id"], trigger["answered"]) == ("accepted", record["instance_id"], 0)
    assert all(trigger[k] == record[k] for k in ("request_id", "caller", "key", "identity", "peer", "operation"))
    entry, = ours(sim)
    assert field(entry, "Authorization") != [TOKEN] and field(entry, "Authorization")[0].startswith("Bearer ")


def test_after_a_crash_without_one_nobody_looks(fleet):
    """Where tokens pass through, the run's own is gone with the process."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    with killed(fleet, gateway):
        wait_for(lambda: len(instances(sim)) == 1, what="the job")
        gateway.kill()
    again = fleet.gateway(sim, folder=gateway.folder, config=gateway.config)
    assert [r["result"] for r in again.records("outcome")] == ["unknown"]
    assert again.metrics()["jobgate_resolutions_waiting"] == 0 and not ours(sim)


def test_the_identitys_own_token_lists(fleet, entra, tmp_path):
    """With a credential the caller's own token is neither needed nor sent."""
    sim = fleet.simulator()
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path), resolve=QUICK)
    answer = run(gateway, "drop")
    check_matched(gateway, sim, answer, "time")
    entry, = ours(sim)
    assert len(field(entry, "Authorization")) == 1 and field(entry, "Authorization") != [TOKEN]


def test_an_answer_that_comes_late_needs_no_list(fleet):
    """The caller has got its 409, and the job half reads on: what it learns is the outcome, and nobody has to look."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK, upstream={"timeout": "300ms"})
    answer = gateway.request("POST", RUN, [("X-Fabricsim-Latency", "1500")], b"{}")
    check_error(answer, 409, "JobgateOutcomeUnknown")
    outcome, = gateway.wait_records("outcome", 1)
    assert outcome["result"] == "accepted" and outcome["answered"] == 409
    assert gateway.metrics()["jobgate_resolutions_waiting"] == 0 and not ours(sim)


def test_search_tells_what_it_turned_out_to_be(fleet):
    """The trigger's line has the job that was found, by every filter; the one that stays unknown does not."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "drop")
    record = check_matched(gateway, sim, answer, "time")
    other = run(gateway, "early-close", target=f"{BASE}/Pipeline/instances")
    assert resolution(gateway, other)["result"] == "unknown"
    triggers = found(directory(gateway))
    assert [(t["result"], t["instance_id"], t["location"], t["resolution_seq"]) for t in triggers] == [
        ("accepted", record["instance_id"], record["location"], record["seq"]), ("unknown", None, None, None)]
    assert triggers[0]["answered"] == 409 and triggers[0]["error_code"] == "JobgateOutcomeUnknown"
    assert found("--instance-id", record["instance_id"], directory(gateway)) == triggers[:1]
    assert found("--result", "accepted", directory(gateway)) == triggers[:1]
    assert found("--result", "unknown", directory(gateway)) == triggers[1:]


def test_a_store_needs_activity(fleet):
    """Others that share the store may have started the same job: by time nobody can tell, and the configuration is refused."""
    gateway = fleet.gateway(fleet.simulator(), resolve=QUICK, store={"redis": "redis://127.0.0.1:1"}, ready=False)
    assert gateway.wait() == 2 and 'resolve.match: "time" is for one instance without store.redis' in gateway.tail()
    fleet.processes.remove(gateway)


def test_an_instance_that_turns_out_to_be_anothers_between_two_pages(fleet):
    """The first page shows another run's instance, whose answer is still to come; it comes before the last page does. It was
    taken for the run's own, which had started nothing."""
    sim = fleet.simulator("--page", 1, "--fault", "slow:@2:GET")
    gateway = fleet.gateway(sim, resolve={**QUICK, "tries": 1, "window": "10s"})
    assert run(gateway).status == 202
    answer = run(gateway, "early-close")
    with gateway.connect() as c:
        c.send(c.build("POST", RUN, [("X-API-Key", KEY), ("X-Fabricsim-Latency", "3000")], b"{}"))
        wait_for(lambda: len(lists(sim)) == 2, what="the second page to be asked for")
        assert len(gateway.records("outcome")) == 2, "the other's answer is still to come"
        assert c.response().status == 202
    record = resolution(gateway, answer)
    assert (record["result"], record["why"], record["lists"]) == ("unknown", "several", 2)


def test_a_list_takes_no_waiting_triggers_place(fleet):
    """The queue is full when a list is to be asked for: it comes again later, and all who wait are served (one of them was
    refused for it, as for a caller of whom fewer wait)."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve={**QUICK, "window": "10s"}, wait={"queue": 4, "max": "30s"},
                            upstream={"quota": {"requests": 4, "window": "9s", "burst": 1}})
    answer = run(gateway, "early-close")
    connections = [gateway.connect() for _ in range(4)]
    for c in connections:
        c.send(c.build("POST", RUN, [("X-API-Key", KEY)], b"{}"))
    wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] == 4, what="a full queue")
    assert not gateway.records("resolution") and not ours(sim)
    assert [c.response().status for c in connections] == [202] * 4
    resolution(gateway, answer)
    for c in connections:
        c.close()


def test_follow_tells_it_twice(fleet):
    """Who watches sees at once that a run's fate is unknown, and then what it was."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    watch = Process([binary("jobgate"), "audit", "search", "--json", "--follow", directory(gateway)], gateway.folder)
    try:
        answer = run(gateway, "drop")
        lines = wait_for(lambda: len(watch.out) >= 2 and [json.loads(line) for line in watch.out], what="both lines")
        record = resolution(gateway, answer)
        assert [(t["result"], t["instance_id"], t["resolution_seq"]) for t in lines] == [
            ("unknown", None, None), ("accepted", record["instance_id"], record["seq"])]
    finally:
        watch.kill()


def test_postgres_tells_the_same(fleet, bench):     # noqa: F811
    """The auditor's questions have the job that was found, under both ids, and only what is still unknown as unknown."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, resolve=QUICK)
    answer = run(gateway, "drop")
    lost = run(gateway, "early-close", target=f"{BASE}/Pipeline/instances".replace(ITEM, ITEM[:-1] + "8"))
    record = check_matched(gateway, sim, answer, "time")
    assert resolution(gateway, lost)["why"] == "none"
    bench.once(directory(gateway))

    def both(question, *arguments):
        rows = ask(bench.server, bench.name, **question)
        assert [same(row) for row in rows] == [same(t) for t in found(*arguments, directory(gateway))]
        return [row["request_id"] for row in rows]

    mine, other = answer.get("X-Request-Id"), lost.get("X-Request-Id")
    assert both({"instance_id": record["instance_id"]}, "--instance-id", record["instance_id"]) == [mine]
    assert both({"unknown": "1"}, "--result", "unknown") == [other]
    assert both({"request_id": mine}, "--request-id", mine) == [mine]
    assert both({"caller": "etl"}, "--caller", "etl") == [mine, other]
    assert bench.sql("SELECT seq, resolution_seq FROM jobgate_trigger WHERE resolution_seq IS NOT NULL")[0][1] == str(record["seq"])
