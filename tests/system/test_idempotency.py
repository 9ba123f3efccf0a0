"""Idempotency-Key: one request of a key is sent in the whole fleet, and whoever comes later gets its answer."""

import signal
import threading

import pytest

from harness import BASE, KEY, Redis, check_error, key_of, sha256
from sentinels import Sentinel
from wire import wait_for

RUN = f"{BASE}/RunNotebook/instances"
SCHEDULES = f"{BASE}/RunNotebook/schedules"
BODY = b'{"executionData": {}}'
OTHER = b'{"executionData": {"other": 1}}'
JSON = ("Content-Type", "application/json")
# What an answer has of its own each time.
MOMENT = ("date", "x-request-id", "server-timing", "idempotency-replayed", "content-length")


def keyed(key, *more):
    return [JSON, ("Idempotency-Key", key), *more]


def run(gateway, key, body=BODY, *more, target=RUN, caller=KEY):
    return gateway.request("POST", target, keyed(key, *more), body, key=caller)


def lasting(answer, has_body):
    """Its fields but those, and but the one that tells of a body, which is not kept."""
    moment = (*MOMENT, "content-type") if has_body else MOMENT
    return [(n, v) for n, v in answer.headers if n.lower() not in moment]


def check_replay(first, again):
    """AGAIN has the status and the fields of FIRST, and says that it is a replay."""
    assert again.status == first.status and again.get("Idempotency-Replayed") == "true", again
    assert lasting(again, first.body) == lasting(first, first.body)
    assert first.get("Idempotency-Replayed") is None
    assert again.get("X-Request-Id") != first.get("X-Request-Id")


@pytest.fixture(params=["embedded", "redis"])
def store(request, fleet):
    return {"store": {"redis": fleet.redis().url}} if request.param == "redis" else {}


def at_store(fleet, store, sim, **changes):
    gateway = fleet.gateway(sim, **store, **changes)
    gateway.settle()
    return gateway


def test_a_finished_request_is_answered_again_and_not_sent(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    first = run(gateway, '"8e03978e-40d5-43dd-bc93-6894a57f9324"')
    assert first.status == 202
    for key in ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324",
                '"8e03978e-40d5-43dd-bc93-6894a57f9324"; a=1;b="x"'):
        again = run(gateway, key)
        check_replay(first, again)
        assert again.body == b""
    assert len(sim.ledger()) == 1
    replays = gateway.wait_records("replay", 3)
    assert {r["first_request_id"] for r in replays} == {first.get("X-Request-Id")}
    assert [(r["answered"], r["operation"], r["caller"], r["count"]) for r in replays] == [(202, "run", "etl", 1)] * 3
    assert len(gateway.records("intent")) == 1
    metrics = gateway.metrics()
    assert metrics['jobgate_idempotency_claims_total{result="taken"}'] == 1
    assert metrics['jobgate_idempotency_claims_total{result="replayed"}'] == 3


def test_the_legacy_form_is_the_same_request(fleet, store):
    """The fingerprint is of the rewritten target: both forms ask for the same."""
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    first = run(gateway, "k")
    check_replay(first, run(gateway, "k", target=f"{BASE}/instances?jobType=RunNotebook"))


def test_another_payload_target_or_operation_is_422(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    first = run(gateway, "k")
    for answer in (run(gateway, "k", OTHER), run(gateway, "k", target=f"{BASE}/DefaultJob/instances")):
        body = check_error(answer, 422, "JobgateIdempotencyMismatch", closes=False)
        assert first.get("X-Request-Id") in body["message"] and body["isRetriable"] is False
    assert len(sim.ledger()) == 1


def test_keys_belong_to_their_caller(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim, callers=[{"name": n, "keys": [{"sha256": sha256(key_of(n))}]} for n in ("etl", "ops")])
    assert run(gateway, "k").get("Idempotency-Replayed") is None
    assert run(gateway, "k", OTHER, caller=key_of("ops")).status == 202
    assert len(sim.ledger()) == 2


@pytest.mark.parametrize("key", ['"', '""', '"a', 'a b', 'a,b', '"a" "b"', '"a",', '"a\\b"', '"a"b', "x" * 256, '"' + "x" * 256 + '"', "\xe9", '"\xe9"', "", '"a";A=1'])
def test_malformed_keys_are_400(module_gateway, key):
    gateway, sim = module_gateway
    check_error(run(gateway, key), 400, "JobgateBadRequest", closes=False)
    assert not sim.ledger()


def test_two_keys_are_400(module_gateway):
    gateway, sim = module_gateway
    check_error(run(gateway, "a", BODY, ("idempotency-key", "a")), 400, "JobgateBadRequest", closes=False)
    assert not sim.ledger()


@pytest.fixture(scope="module")
def module_gateway(module_fleet):
    sim = module_fleet.simulator()
    return module_fleet.gateway(sim), sim


def test_only_runs_and_schedules_made_take_keys(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    made = run(gateway, "s", b'{"enabled": true, "configuration": {}}', target=SCHEDULES)
    assert made.status == 201
    again = run(gateway, "s", b'{"enabled": true, "configuration": {}}', target=SCHEDULES)
    check_replay(made, again)
    first = run(gateway, "k")
    instance = first.get("Location").rsplit("/", 1)[1]
    for _ in range(2):      # a cancel, a read: the key means nothing, however malformed
        assert gateway.request("POST", f"{BASE}/instances/{instance}/cancel", [("Idempotency-Key", '"')]).status in (202, 400)
        assert gateway.request("GET", f"{BASE}/instances", [("Idempotency-Key", '"')]).status == 200
    assert len(sim.ledger()) == 6


def test_a_refusal_of_the_upstream_is_final_for_its_key(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    first = run(gateway, "k", BODY, ("X-Fabricsim-Fault", "404"))
    assert first.status == 404
    again = run(gateway, "k")
    check_replay(first, again)
    body = again.json()
    assert body["errorCode"] == first.json()["errorCode"] and body["isRetriable"] is False
    assert again.get("x-ms-public-api-error-code") == first.get("x-ms-public-api-error-code")
    assert len(sim.ledger()) == 1


@pytest.mark.parametrize("fault", ["429", "401"])
def test_what_was_not_executed_gives_the_key_back(fleet, store, fault):
    sim = fleet.simulator("--fault-retry-after", 1)
    gateway = at_store(fleet, store, sim, upstream={"replay_429": False})
    assert run(gateway, "k", BODY, ("X-Fabricsim-Fault", fault)).status == int(fault)
    wait_for(lambda: run(gateway, "k").status == 202, what="the key to be free")
    assert len([e for e in sim.ledger() if e["status"] == 202]) == 1


@pytest.mark.parametrize("fault", ["500", "504", "drop", "half", "garbage"])
def test_an_unknown_outcome_is_never_sent_again(fleet, store, fault):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    check_error(run(gateway, "k", BODY, ("X-Fabricsim-Fault", fault)), 409, "JobgateOutcomeUnknown", closes=False)
    for _ in range(3):
        again = run(gateway, "k")
        body = check_error(again, 409, "JobgateOutcomeUnknown", closes=False)
        assert again.get("Idempotency-Replayed") == "true" and body["isRetriable"] is False
        assert again.get("Location").endswith("/jobs/instances")
    assert len(sim.ledger()) == 1
    assert [r["answered"] for r in gateway.wait_records("replay", 3)] == [409] * 3


def test_the_truth_that_comes_late_is_what_the_key_gets(fleet, store):
    """The upstream answers after upstream.timeout: the caller was told that nobody knows, who asks again learns it."""
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim, upstream={"timeout": "500ms"})
    check_error(run(gateway, "k", BODY, ("X-Fabricsim-Latency", "1500")), 409, "JobgateOutcomeUnknown")
    check_error(run(gateway, "k"), 409, "JobgateOutcomeUnknown")
    outcome = gateway.wait_records("outcome", 1)[0]
    assert (outcome["result"], outcome["answered"]) == ("accepted", 409)
    again = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), what="the answer to be known")
    assert again.get("Location").endswith(outcome["instance_id"])
    assert len(sim.ledger()) == 1


def test_in_flight_is_409_with_retry_after(fleet, store):
    sim = fleet.simulator("--latency", 1500)
    gateway = at_store(fleet, store, sim)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run(gateway, "k")))
    thread.start()
    wait_for(lambda: gateway.records("intent"), what="the first to be under way")
    answer = run(gateway, "k")
    body = check_error(answer, 409, "JobgateIdempotencyInFlight", closes=False)
    assert body["isRetriable"] is True and 1 <= int(answer.get("Retry-After")) <= 5
    check_error(run(gateway, "k", OTHER), 422, "JobgateIdempotencyMismatch")
    thread.join()
    check_replay(answers[0], run(gateway, "k"))
    assert len(sim.ledger()) == 1


def test_who_goes_while_waiting_gives_the_key_back(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim, upstream={"quota": {"requests": 2, "window": "2s", "burst": 1}})
    run(gateway, "other")
    with gateway.connect() as connection:
        connection.send(connection.build("POST", RUN, [*keyed("k"), ("X-API-Key", KEY)], BODY))
        wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] >= 1, what="it to wait")
    answer = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), what="the key to be free")
    assert answer.get("Idempotency-Replayed") is None
    assert len(sim.ledger()) == 2


def test_many_keys(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    with gateway.connect() as connection:
        for turn in range(2):
            for i in range(300):
                answer = connection.request("POST", RUN, [*keyed(f"key-{i}"), ("X-API-Key", KEY)], BODY)
                assert answer.status == 202 and (answer.get("Idempotency-Replayed") == "true") == (turn == 1)
    assert len(sim.ledger()) == 300


def test_a_full_embedded_store_refuses_new_keys_and_knows_the_old(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, idempotency={"max_bytes": "1MB"})
    with gateway.connect() as connection:
        def ask(i):
            return connection.request("POST", RUN, [*keyed(f"key-{i}"), ("X-API-Key", KEY)], BODY)
        first = ask(0)
        i = 1
        while (answer := ask(i)).status == 202:
            i += 1
        body = check_error(answer, 503, "JobgateUnavailable", closes=False)
        assert body["isRetriable"] and answer.get("Retry-After") and "full" in body["message"]
        check_replay(first, ask(0))
    assert len(sim.ledger()) == i > 500
    assert gateway.metrics()["jobgate_idempotency_keys"] == i


def test_a_key_races_over_three_instances(fleet):
    sim = fleet.simulator()
    store = {"store": {"redis": fleet.redis().url}}
    gateways = [fleet.gateway(sim, **store) for _ in range(3)]
    for gateway in gateways:
        gateway.settle()
    for key in range(20):
        answers = []
        threads = [threading.Thread(target=lambda g=g: answers.append(run(g, f"race-{key}"))) for g in gateways * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted({a.status for a in answers}) in ([202], [202, 409])
        assert len({a.get("Location") for a in answers if a.status == 202}) == 1
    assert len(sim.ledger()) == 20


def test_a_killed_instances_key_is_unknown_after_its_lease(fleet):
    """kill -9 between send and answer: until the lease is over the key is in flight, then unknown, and never sent again."""
    sim = fleet.simulator()
    store = {"store": {"redis": fleet.redis().url}}
    short = {"upstream": {"timeout": "100ms"}, "wait": {"max": "1s"}}
    first, second = (fleet.gateway(sim, **store, **short) for _ in range(2))
    first.settle()
    second.settle()
    thread = threading.Thread(target=lambda: pytest.raises(Exception, run, first, "k", BODY, ("X-Fabricsim-Fault", "stall")))
    first.write_config({**first.config, "upstream": {**first.config["upstream"], "timeout": "1s"}})
    first.send_signal(signal.SIGHUP)
    first.wait_event("configuration reloaded")
    thread.start()
    wait_for(sim.ledger, what="the first to be sent")
    first.kill()
    thread.join()
    check_error(run(second, "k"), 409, "JobgateIdempotencyInFlight")
    wait_for(lambda: run(second, "k").json()["errorCode"] == "JobgateOutcomeUnknown", timeout=40, what="the lease to end")
    check_error(run(second, "k"), 409, "JobgateOutcomeUnknown")
    assert len(sim.ledger()) == 1


def test_without_the_store_nothing_is_sent(fleet):
    redis = fleet.redis()
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, store={"redis": redis.url, "timeout": "50ms"})
    gateway.settle()
    first = run(gateway, "before")
    redis.stop()
    answer = wait_for(lambda: (lambda a: a.status == 503 and a)(run(gateway, "k")), what="the store to be missed")
    body = check_error(answer, 503, "JobgateUnavailable", closes=False)
    assert "Idempotency-Key" in body["message"] and body["isRetriable"] and answer.get("Retry-After") == "1"
    sent = len(sim.ledger())
    assert sent == 1
    gateway.wait_event("idempotency store unavailable")
    fleet.redis(port=redis.port)
    answer = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), what="the store to be back")
    gateway.wait_event("idempotency store back")
    assert answer.get("Idempotency-Replayed") is None and first.status == 202
    assert len(sim.ledger()) == 2


def test_what_ends_while_the_store_is_away_is_told_when_it_is_back(fleet):
    """The connection breaks in mid-flight, the answer comes: the key has it as soon as the store can be told."""
    redis = fleet.redis()
    sim = fleet.simulator("--latency", 1000)
    gateway = fleet.gateway(sim, store={"redis": redis.url})
    gateway.settle()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run(gateway, "k")))
    thread.start()
    wait_for(lambda: gateway.records("intent"), what="it to be under way")
    redis.send_signal(signal.SIGSTOP)
    thread.join()
    assert answers[0].status == 202
    redis.send_signal(signal.SIGCONT)
    again = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), what="the answer to be told")
    check_replay(answers[0], again)
    assert len(sim.ledger()) == 1


class Replica(Redis):
    """A replica of the primary at PRIMARY."""

    def __init__(self, folder, primary):
        super().__init__(folder)
        self.command("REPLICAOF", "127.0.0.1", primary)
        wait_for(lambda: b"master_link_status:up" in self.command("INFO", "replication"), what="the replica to follow")


def test_a_claim_that_no_replica_acknowledges_is_not_sent(fleet):
    redis = fleet.redis()
    replica = fleet.redis(Replica, primary=redis.port)
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, store={"redis": redis.url, "timeout": "100ms"})
    gateway.settle()
    assert run(gateway, "first").status == 202
    replica.send_signal(signal.SIGSTOP)
    check_error(run(gateway, "k"), 503, "JobgateUnavailable", closes=False)
    assert run(gateway, "first").get("Idempotency-Replayed") == "true"    # that is known all the same
    assert gateway.request("POST", RUN, [JSON], BODY).status == 202       # without a key nobody waits for replicas
    replica.send_signal(signal.SIGCONT)
    answer = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), what="the replica to be back")
    assert answer.get("Idempotency-Replayed") is None
    assert len(sim.ledger()) == 3


def test_a_failover_keeps_the_keys(fleet):
    """Every key that was sent is known to the replica that takes over."""
    redis = fleet.redis()
    replica = fleet.redis(Replica, primary=redis.port)
    sentinel = fleet.redis(Sentinel, primary=redis.port, quorum=1)
    wait_for(sentinel.is_ready, timeout=30, what="the Sentinel to know the replica")
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, store={"redis": f"redis+sentinel://127.0.0.1:{sentinel.port}/main"})
    gateway.settle()
    sent = [f"key-{i}" for i in range(50)]
    for key in sent:
        assert run(gateway, key).status == 202
    redis.kill()
    wait_for(lambda: sentinel.primary() == replica.port, timeout=30, what="the failover")
    wait_for(lambda: run(gateway, "after").status == 202, timeout=30, what="the new primary")
    for key in sent:
        assert run(gateway, key).get("Idempotency-Replayed") == "true"
    assert len(sim.ledger()) == 51


def test_a_reload_keeps_the_keys(fleet, store):
    sim = fleet.simulator()
    gateway = at_store(fleet, store, sim)
    first = run(gateway, "k")
    gateway.write_config({**gateway.config, "idempotency": {"keys": "1h"}})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    check_replay(first, run(gateway, "k"))
    assert len(sim.ledger()) == 1
