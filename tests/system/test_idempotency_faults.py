"""Idempotency-Key, where the store is ill: a key is never lost for what a store's illness brings about."""

import threading

from harness import KEY, check_error
from redis_double import RedisDouble
from test_idempotency import BODY, RUN, check_replay, keyed, run
from wire import wait_for


def ask_at_once(gateway, count):
    """COUNT runs, each of a key and a connection of its own; their connections, whose answers are still to come."""
    connections = [gateway.connect() for _ in range(count)]
    for i, connection in enumerate(connections):
        connection.send(connection.build("POST", RUN, [*keyed(f"many-{i}"), ("X-API-Key", KEY)], BODY))
    return connections


def test_more_claims_than_the_pipeline_takes(fleet):
    """So many keys at once that the connection to the store is full, and its script is not loaded: all are sent, and the
    store is not taken for one with replicas from then on (it was: every later key was refused for want of one)."""
    redis = fleet.redis()
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, store={"redis": redis.url, "timeout": "5s"})
    gateway.settle()
    redis.command("CLIENT", "PAUSE", 3000)      # all of them wait for the first connection
    connections = ask_at_once(gateway, 700)
    statuses = [connection.response().status for connection in connections]
    for connection in connections:
        connection.close()
    answer = run(gateway, "later")
    assert answer.status == 202, answer
    assert set(statuses) == {202}, {s: statuses.count(s) for s in set(statuses)}
    assert len(sim.ledger()) == 701


def test_what_a_demoted_primary_refuses_is_told_to_the_next(fleet):
    """The answer comes while the server that has the claim is no primary any more: it says READONLY to the end of it, the
    connection is closed, and the key gets its answer over the next one (it was dropped, and the key unknown for a day)."""
    redis = fleet.redis()
    sim = fleet.simulator("--latency", 1000)
    gateway = fleet.gateway(sim, store={"redis": redis.url})
    gateway.settle()
    first = []
    thread = threading.Thread(target=lambda: first.append(run(gateway, "k")))
    thread.start()
    wait_for(lambda: gateway.records("intent"), what="it to be under way")
    redis.command("REPLICAOF", "127.0.0.1", "1")
    thread.join()
    wait_for(lambda: gateway.events("idempotency store unavailable"), what="the refusal")
    redis.command("REPLICAOF", "NO", "ONE")
    assert first[0].status == 202
    again = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), what="the answer to be told")
    check_replay(first[0], again)
    assert gateway.metrics()["jobgate_idempotency_untold_total"] == 0
    assert len(sim.ledger()) == 1


def test_a_claim_that_comes_after_its_withdrawal(fleet):
    """A claim is held up on the way, its connection given up, and the withdrawal overtakes it on the next one: what comes
    late takes nothing (it held the key until its lease was over, and left it unknown for a day)."""
    redis = fleet.redis()
    sim = fleet.simulator()
    armed, held, go_on = threading.Event(), threading.Event(), threading.Event()

    def hold(words):
        if armed.is_set() and words[0].startswith(b"EVALSHA") and words[4:5] == [b"take"]:
            armed.clear()
            held.set()
            assert go_on.wait(30)
            double.late.append(words)

    double = RedisDouble(redis.port)
    double.before, double.late = hold, []
    gateway = fleet.gateway(sim, store={"redis": double.url, "timeout": "200ms"})
    gateway.settle()
    assert run(gateway, "first").status == 202
    armed.set()
    check_error(run(gateway, "k"), 503, "JobgateUnavailable", closes=False)
    assert held.is_set()
    wait_for(lambda: any(words[4:5] == [b"withdraw"] for words in double.seen), what="the withdrawal")
    go_on.set()
    wait_for(lambda: len(double.late) == 1, what="the claim to arrive")
    answer = run(gateway, "k")
    assert answer.status == 202 and answer.get("Idempotency-Replayed") is None, answer
    assert len(sim.ledger()) == 2
    double.close()
