"""Answers that nobody received: the next identical run gets them, and starts no second job."""

import time

import pytest

from harness import BASE, KEY, check_error, key_of, sha256
from wire import Connection, wait_for

RUN = f"{BASE}/RunNotebook/instances"
BODY = b'{"executionData": {}}'
JSON = ("Content-Type", "application/json")


@pytest.fixture(params=["embedded", "redis"])
def store(request, fleet):
    return {"store": {"redis": fleet.redis().url}} if request.param == "redis" else {}


def start(fleet, sim, store=None, **changes):
    gateway = fleet.gateway(sim, **(store or {}), **{"idempotency": None, **changes})
    gateway.settle()
    return gateway


def run(gateway, *more, body=BODY, key=KEY, target=RUN, tls=False):
    return gateway.request("POST", target, [JSON, *more], body, key=key, tls=tls)


def lose(gateway, sim, *more, tls=False, reset=False, key=KEY, target=RUN, body=BODY):
    """Send a run and go when it has been sent, before its answer; its instance's id is that of the last outcome."""
    sent = len(sim.ledger())
    connection = gateway.connect(tls)
    connection.send(connection.build("POST", target, [JSON, ("X-API-Key", key), *more], body))
    wait_for(lambda: len(sim.ledger()) > sent, what="the run to be sent")
    if reset:
        connection.reset()
    else:
        connection.close()


def landed(gateway, count=1):
    """The outcome of the COUNTth run that was sent; who joins one while its own intent is written has an outcome, too, without a send."""
    def sent():
        return [record for record in gateway.records("outcome") if record["attempts"]]
    wait_for(lambda: len(sent()) >= count, timeout=20, what="the outcome")
    return sent()[count - 1]


def check_is_replay_of(answer, outcome):
    assert answer.status == 202 and answer.get("Idempotency-Replayed") == "true", answer
    assert answer.get("Location") == outcome["location"]
    assert answer.exact("x-ms-job-id") == outcome["instance_id"]


@pytest.mark.parametrize("how", ["close", "reset", "tls"])
def test_the_next_identical_run_gets_the_lost_answer(fleet, store, how):
    sim = fleet.simulator("--latency", 300)
    gateway = start(fleet, sim, store)
    lose(gateway, sim, tls=how == "tls", reset=how == "reset")
    outcome = landed(gateway)
    assert (outcome["result"], outcome["answered"]) == ("accepted", 0)
    remembered = 'jobgate_idempotency_undelivered_total{result="remembered"}'
    wait_for(lambda: gateway.metrics()[remembered] == 1, what="the answer to be remembered, which follows its record")
    check_is_replay_of(run(gateway), outcome)
    assert len(sim.ledger()) == 1
    replay = gateway.wait_records("replay", 1)[0]
    assert (replay["first_request_id"], replay["answered"]) == (outcome["request_id"], 202)
    fresh = run(gateway)    # that was delivered: the memory is over, and this is an honest repeat
    assert fresh.status == 202 and fresh.get("Idempotency-Replayed") is None
    assert len(sim.ledger()) == 2
    assert gateway.metrics()['jobgate_idempotency_undelivered_total{result="replayed"}'] == 1


def test_a_run_joins_one_in_flight_whose_caller_has_gone(fleet, store):
    sim = fleet.simulator("--latency", 1500)
    gateway = start(fleet, sim, store)
    lose(gateway, sim)
    answer = run(gateway)
    check_is_replay_of(answer, landed(gateway))
    assert len(sim.ledger()) == 1
    assert gateway.metrics()['jobgate_idempotency_undelivered_total{result="joined"}'] == 1
    assert run(gateway).get("Idempotency-Replayed") is None


def test_who_joins_and_goes_leaves_the_answer_to_the_next(fleet):
    sim = fleet.simulator("--latency", 2000)
    gateway = start(fleet, sim)
    lose(gateway, sim)
    for count in (1, 2):
        connection = gateway.connect()
        connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY)], BODY))
        wait_for(lambda: gateway.metrics()['jobgate_idempotency_undelivered_total{result="joined"}'] == count, what="it to join")
        connection.close()
        wait_for(lambda: len(gateway.records("refusal")) == count, what="it to be gone")
    check_is_replay_of(run(gateway), landed(gateway))
    assert len(sim.ledger()) == 1


def test_a_replay_that_is_lost_too_is_kept(fleet):
    """The first is lost, and so is the second while it waits with the answer: the third gets it."""
    sim = fleet.simulator("--latency", 1000)
    gateway = start(fleet, sim)
    lose(gateway, sim)
    connection = gateway.connect()
    connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY)], BODY))
    outcome = landed(gateway)
    connection.close()
    time.sleep(0.2)     # not a wait for something: both orders of the close and the answer are good
    answers = [run(gateway), run(gateway)]
    assert [a.status for a in answers] == [202, 202]
    assert len({a.get("Location") for a in answers}) == 2
    assert outcome["location"] == answers[0].get("Location") or len(sim.ledger()) == 3


@pytest.mark.parametrize("fault", ["500", "504", "drop", "half"])
def test_an_unknown_outcome_answers_all_that_come(fleet, store, fault):
    """It was delivered, so delivering it again ends nothing: whoever repeats within that time is told the same."""
    sim = fleet.simulator()
    gateway = start(fleet, sim, store)
    check_error(run(gateway, ("X-Fabricsim-Fault", fault)), 409, "JobgateOutcomeUnknown")
    for _ in range(4):
        again = run(gateway)
        body = check_error(again, 409, "JobgateOutcomeUnknown", closes=False)
        assert again.get("Idempotency-Replayed") == "true" and again.get("Location").endswith("/jobs/instances")
        assert body["isRetriable"] is False
    assert len(sim.ledger()) == 1
    assert run(gateway, ("X-Request-Id", "mine")).status == 202     # who says that it is another one
    assert len(sim.ledger()) == 2


def test_an_unknown_outcome_is_forgotten_in_time(fleet):
    sim = fleet.simulator()
    gateway = start(fleet, sim, idempotency={"undelivered": "1s"})
    check_error(run(gateway, ("X-Fabricsim-Fault", "drop")), 409, "JobgateOutcomeUnknown")
    check_error(run(gateway), 409, "JobgateOutcomeUnknown")
    wait_for(lambda: run(gateway).status == 202, what="it to be forgotten")
    assert len(sim.ledger()) == 2


def test_an_answer_after_the_timeout_is_an_undelivered_one(fleet):
    """The caller was told that nobody knows; the answer that comes later was never given to anybody."""
    sim = fleet.simulator()
    gateway = start(fleet, sim, upstream={"timeout": "300ms"})
    check_error(run(gateway, ("X-Fabricsim-Latency", "1500")), 409, "JobgateOutcomeUnknown")
    check_error(run(gateway), 409, "JobgateOutcomeUnknown")
    outcome = landed(gateway)
    assert outcome["result"] == "accepted"
    answer = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway)), what="the answer")
    check_is_replay_of(answer, outcome)
    assert len(sim.ledger()) == 1


def test_who_has_joined_is_told_at_the_timeout(fleet):
    sim = fleet.simulator()
    gateway = start(fleet, sim, upstream={"timeout": "1s"})
    lose(gateway, sim, ("X-Fabricsim-Latency", "3000"))
    joined = run(gateway)
    check_error(joined, 409, "JobgateOutcomeUnknown", closes=False)
    assert joined.get("Idempotency-Replayed") == "true"
    outcome = landed(gateway)
    assert outcome["result"] == "accepted"
    # The record comes first: for a moment after it the end is still unknown.
    answer = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway)), what="the answer")
    check_is_replay_of(answer, outcome)
    assert len(sim.ledger()) == 1


def test_what_was_not_executed_is_sent(fleet):
    """The lost one was answered 429: who had joined it goes on by itself."""
    sim = fleet.simulator("--fault-retry-after", 1)
    gateway = start(fleet, sim)
    lose(gateway, sim, ("X-Fabricsim-Fault", "429"), ("X-Fabricsim-Latency", "800"))
    answer = run(gateway)
    assert answer.status == 202 and answer.get("Idempotency-Replayed") is None
    assert [e["status"] for e in sim.ledger()] == [429, 202]


def test_what_is_not_identical_is_sent(fleet):
    """Another body, item, caller, id of the client's, or a key: each is a run of its own."""
    callers = [{"name": n, "keys": [{"sha256": sha256(key_of(n))}]} for n in ("etl", "ops")]
    sim = fleet.simulator()
    gateway = start(fleet, sim, callers=callers)
    lose(gateway, sim, ("X-Fabricsim-Latency", "300"), ("x-ms-client-request-id", "one"))
    landed(gateway)
    others = [lambda: run(gateway), lambda: run(gateway, ("x-ms-client-request-id", "two")), lambda: run(gateway, ("X-Request-Id", "One")),
              lambda: run(gateway, ("x-ms-client-request-id", "one"), body=b""),
              lambda: run(gateway, ("x-ms-client-request-id", "one"), key=key_of("ops")),
              lambda: run(gateway, ("x-ms-client-request-id", "one"), ("Idempotency-Key", "k")),
              lambda: run(gateway, ("x-ms-client-request-id", "one"), target=f"{BASE}/DefaultJob/instances")]
    for other in others:
        assert other().get("Idempotency-Replayed") is None
    assert len(sim.ledger()) == 1 + len(others)
    # Legacy or not, X-Request-Id or x-ms-client-request-id: the same.
    answer = run(gateway, ("X-Request-Id", "one"), target=f"{BASE}/instances?jobType=RunNotebook")
    check_is_replay_of(answer, gateway.records("outcome")[0])


def test_each_lost_answer_answers_one_run(fleet):
    sim = fleet.simulator("--latency", 500)
    gateway = start(fleet, sim)
    connections = [gateway.connect() for _ in range(3)]
    for connection in connections:
        connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY)], BODY))
    wait_for(lambda: len(sim.ledger()) == 3, what="all to be sent")
    for connection in connections:
        connection.close()
    lost = {r["location"] for r in gateway.wait_records("outcome", 3)}
    got = [run(gateway) for _ in range(4)]
    assert {a.get("Location") for a in got[:3]} == lost and len(lost) == 3
    assert got[3].get("Location") not in lost
    assert len(sim.ledger()) == 4


def test_honest_repeats_all_run(fleet, store):
    """A thousand times the same run, each delivered: a thousand jobs, whether the connection stays or is closed at once."""
    sim = fleet.simulator()
    gateway = start(fleet, sim, store)
    with gateway.connect() as connection:
        for _ in range(500):
            answer = connection.request("POST", RUN, [JSON, ("X-API-Key", KEY)], BODY)
            assert answer.status == 202 and answer.get("Idempotency-Replayed") is None
    for i in range(200):
        answer = run(gateway, ("Connection", "close")) if i % 2 else run(gateway)
        assert answer.status == 202 and answer.get("Idempotency-Replayed") is None
    assert len(sim.ledger()) == 700
    assert gateway.metrics()['jobgate_idempotency_undelivered_total{result="remembered"}'] == 0


def test_a_rejection_that_is_lost_is_answered_again(fleet):
    sim = fleet.simulator()
    gateway = start(fleet, sim)
    lose(gateway, sim, ("X-Fabricsim-Fault", "404"), ("X-Fabricsim-Latency", "300"))
    landed(gateway)
    again = run(gateway)
    assert again.status == 404 and again.get("Idempotency-Replayed") == "true" and again.json()["errorCode"]
    assert run(gateway).status == 202


def test_off(fleet):
    sim = fleet.simulator("--latency", 300)
    gateway = start(fleet, sim, idempotency={"undelivered": "0s"})
    lose(gateway, sim)
    landed(gateway)
    assert run(gateway).get("Idempotency-Replayed") is None
    assert len(sim.ledger()) == 2


def test_a_client_that_goes_in_the_moment_of_the_answer(fleet):
    """Whatever the order of the close and the answer: what was not acknowledged answers the next run, what was does not."""
    sim = fleet.simulator("--latency", 60)
    gateway = start(fleet, sim)
    lost = 0
    for i in range(60):
        before, count = len(sim.ledger()), len(gateway.records("outcome"))
        with Connection(gateway.port) as connection:
            connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY)], BODY))
            time.sleep(0.055 + 0.0003 * i)     # the load itself, around the moment at which the answer comes
        outcome = gateway.wait_records("outcome", count + 1)[count]    # of one that was not sent in time, too
        answer = run(gateway)
        if answer.get("Idempotency-Replayed"):
            check_is_replay_of(answer, outcome)
            lost += 1
        else:   # it was never sent, or its answer was acknowledged before the client went: this is another run
            assert outcome["result"] == "cancelled" or outcome["answered"] == 202
        jobs = (outcome["result"] == "accepted") + (answer.get("Idempotency-Replayed") is None)
        assert len(sim.ledger()) == before + jobs
        # One that is found when the run's turn has come has its intent by then, and an outcome of its own.
        wait_for(lambda: len(gateway.records("outcome")) == len(gateway.records("intent")), what="all records")
    assert lost > 0


def test_who_waited_for_a_token_meanwhile_gets_what_was_lost_since(fleet):
    """The second is in the queue when the first's caller goes: it has its intent, or soon will, and is not sent."""
    sim = fleet.simulator("--latency", 1500)
    gateway = start(fleet, sim, upstream={"quota": {"requests": 2, "window": "2s", "burst": 1}})
    first, second = gateway.connect(), gateway.connect()
    request = first.build("POST", RUN, [JSON, ("X-API-Key", KEY)], BODY)
    first.send(request)
    wait_for(sim.ledger, what="the first to be sent")
    second.send(request)
    wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] == 1, what="the second to wait")
    first.close()
    answer = second.response("POST")
    check_is_replay_of(answer, [r for r in gateway.records("outcome") if r["result"] == "accepted"][0])
    refused = gateway.wait_records("outcome", 2)[1]
    assert (refused["result"], refused["status"], refused["answered"], refused["attempts"]) == ("refused", 0, 202, 0)
    assert gateway.wait_records("replay", 1)[0]["request_id"] == refused["request_id"]
    assert len(sim.ledger()) == 1
    second.close()


# --- over the fleet ---

@pytest.fixture
def three(fleet):
    redis = fleet.redis()
    sim = fleet.simulator("--latency", 600)
    gateways = [start(fleet, sim, {"store": {"redis": redis.url}}, instance=f"gate{n}") for n in range(3)]
    return redis, sim, gateways


def stored(redis):
    """The lost answers in the store, but for their mark: what each begins with."""
    keys = [line for line in redis.command("KEYS", "jobgate:lost1:*").split(b"\r\n") if line.startswith(b"jobgate") and not line.endswith(b":any")]
    return [redis.command("GET", key.decode()).split(b"\r\n")[1][:1] for key in keys]


def test_another_instance_has_lost_it(three):
    redis, sim, gateways = three
    lose(gateways[0], sim)
    outcome = landed(gateways[0])
    wait_for(lambda: stored(redis) == [b"A"], what="the fleet to be told")
    check_is_replay_of(run(gateways[1]), outcome)
    assert stored(redis) == [b"N"]
    assert len(sim.ledger()) == 1
    replay = gateways[1].wait_records("replay", 1)[0]
    assert replay["first_request_id"] == outcome["request_id"]
    for count, gateway in enumerate(gateways):      # taken by one, it is over for all: for the one that has lost it too
        assert run(gateway).get("Idempotency-Replayed") is None
        assert len(sim.ledger()) == 2 + count


def test_another_instances_flight_is_waited_for(three):
    redis, sim, gateways = three
    lose(gateways[0], sim, ("X-Fabricsim-Latency", "2000"))
    wait_for(lambda: stored(redis) == [b"F"], what="the fleet to be told")
    answer = run(gateways[1])
    check_is_replay_of(answer, landed(gateways[0]))
    assert len(sim.ledger()) == 1
    for gateway in gateways:
        assert run(gateway).get("Idempotency-Replayed") is None


def test_another_instances_unknown_outcome(three):
    redis, sim, gateways = three
    check_error(run(gateways[0], ("X-Fabricsim-Fault", "drop")), 409, "JobgateOutcomeUnknown")
    wait_for(lambda: stored(redis) == [b"U"], what="the fleet to be told")
    for gateway in gateways:
        answer = run(gateway)
        check_error(answer, 409, "JobgateOutcomeUnknown", closes=False)
        assert answer.get("Idempotency-Replayed") == "true"
    assert len(sim.ledger()) == 1


def test_another_instances_run_that_was_not_executed(three):
    redis, sim, gateways = three
    lose(gateways[0], sim, ("X-Fabricsim-Fault", "429"), ("X-Fabricsim-Latency", "1500"))
    wait_for(lambda: stored(redis) == [b"F"], what="the fleet to be told")
    answer = run(gateways[1])
    assert answer.status == 202 and answer.get("Idempotency-Replayed") is None
    assert [e["status"] for e in sim.ledger()] == [429, 202]


def test_an_instance_that_dies_with_a_flight(three):
    """Its caller had gone, so the fleet knows of it; what became of it nobody will say."""
    redis, sim, gateways = three
    changed = {**gateways[0].config, "upstream": {**gateways[0].config["upstream"], "timeout": "1s"}}
    gateways[0].write_config(changed)
    gateways[0].send_signal(1)
    gateways[0].wait_event("configuration reloaded")
    lose(gateways[0], sim, ("X-Fabricsim-Fault", "stall"))
    wait_for(lambda: stored(redis) == [b"F"], what="the fleet to be told")
    gateways[0].kill()
    check_error(run(gateways[1]), 409, "JobgateOutcomeUnknown")
    assert len(sim.ledger()) == 1


def test_one_of_two_that_come_at_once_gets_it(three):
    redis, sim, gateways = three
    for turn in range(5):
        before = len(sim.ledger())
        lose(gateways[0], sim, body=b'{"executionData": {"turn": %d}}' % turn)
        outcome = landed(gateways[0], len(gateways[0].records("intent")))
        wait_for(lambda: b"A" in stored(redis), what="the fleet to be told")
        connections = [g.connect() for g in gateways[1:]]
        for connection in connections:
            connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY)], b'{"executionData": {"turn": %d}}' % turn))
        answers = [connection.response("POST") for connection in connections]
        assert sorted(a.get("Idempotency-Replayed") or "" for a in answers) == ["", "true"]
        assert len(sim.ledger()) == before + 2
        assert outcome["location"] in {a.get("Location") for a in answers}
        for connection in connections:
            connection.close()


def test_with_the_store_away_each_instance_has_its_own(three):
    redis, sim, gateways = three
    lose(gateways[0], sim)
    outcome = landed(gateways[0])
    redis.stop()
    for gateway in gateways:
        gateway.wait_event("spending the share")
    assert run(gateways[1]).get("Idempotency-Replayed") is None
    check_is_replay_of(run(gateways[0]), outcome)
    assert len(sim.ledger()) == 2


def test_the_look_up_costs_no_command(three):
    """Runs one after the other: one call of the grant's script each, and nothing beside."""
    redis, sim, gateways = three

    def calls():
        stats = redis.command("INFO", "commandstats").decode()
        return {line.split(":")[0][8:]: int(line.split("calls=")[1].split(",")[0]) for line in stats.splitlines() if line.startswith("cmdstat_")}
    before = calls()
    for _ in range(20):
        assert run(gateways[0]).status == 202
    after = calls()
    assert {name for name in after if after[name] != before.get(name, 0)} <= {"evalsha", "get", "mget", "set", "time", "info", "ping", "config|get"}
    assert len(sim.ledger()) == 20


def test_what_was_replayed_while_the_store_was_away_is_over_when_it_is_back(three):
    """
    The answer is lost and replayed before the store could be told of either: told late, and in its order, it must not answer a third run.
    (Seen first where the connection was only being opened.)
    """
    redis, sim, gateways = three
    connection = gateways[0].connect()
    connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY), ("X-Fabricsim-Latency", "1500")], BODY))
    wait_for(sim.ledger, what="the run to be sent")
    redis.send_signal(19)
    connection.close()
    outcome = landed(gateways[0])
    check_is_replay_of(run(gateways[0]), outcome)
    redis.send_signal(18)
    wait_for(lambda: stored(redis) == [b"N"], what="the fleet to be told")
    for gateway in gateways:
        gateway.settle()
        assert run(gateway).get("Idempotency-Replayed") is None
