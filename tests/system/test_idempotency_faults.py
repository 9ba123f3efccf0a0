"""Idempotency-Key, where the store is ill: a key is never lost for what a store's illness brings about."""

import signal
import socket
import threading
import time

from harness import KEY, check_error, secret
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


def test_a_drain_tells_every_end(fleet):
    """The last requests of an instance that is stopped have their answers known to the others."""
    sim = fleet.simulator("--latency", 1500)
    store = {"store": {"redis": fleet.redis().url}}
    first, second = (fleet.gateway(sim, **store) for _ in range(2))
    first.settle()
    second.settle()
    connections = ask_at_once(first, 40)
    wait_for(lambda: len(sim.ledger()) == 40, what="all to be sent")
    first.send_signal(signal.SIGTERM)
    answers = [connection.response() for connection in connections]
    first.wait()
    for i, answer in enumerate(answers):
        again = run(second, f"many-{i}")
        assert (again.status, again.get("Location")) == (202, answer.get("Location")), again
        assert again.get("Idempotency-Replayed") == "true"
    for connection in connections:
        connection.close()
    assert len(sim.ledger()) == 40


def test_a_drain_waits_for_an_end_that_is_not_told_yet(fleet):
    """The connection of the claims is cut, and slow to come back, while the last request has its answer: the instance used
    to go with its good-bye, which has a connection of its own, and the key was unknown for a day."""
    armed, answered = threading.Event(), threading.Event()

    def hold(_):
        if armed.is_set():
            assert answered.wait(30)
            time.sleep(0.2)     # so much longer than a good-bye takes
            armed.clear()

    double = RedisDouble(fleet.redis().port)
    sim = fleet.simulator("--latency", 1000)
    gateway, other = (fleet.gateway(sim, store={"redis": double.url, "timeout": "5s"}) for _ in range(2))
    gateway.settle()
    other.settle()
    connections = ask_at_once(gateway, 1)
    wait_for(lambda: len(sim.ledger()) == 1, what="it to be sent")
    double.before = lambda words: hold(words) if words[0] in (b"HELLO", b"CLIENT", b"AUTH", b"INFO", b"ROLE") else None
    armed.set()
    double.open[-1].shutdown(socket.SHUT_RDWR)
    gateway.send_signal(signal.SIGTERM)
    answer = connections[0].response()
    answered.set()
    gateway.wait()
    assert answer.status == 202 and "does not hear" not in gateway.tail()
    again = run(other, "many-0")
    assert (again.status, again.get("Location"), again.get("Idempotency-Replayed")) == (202, answer.get("Location"), "true")
    connections[0].close()
    double.close()


def test_a_change_of_password_keeps_the_ends(fleet):
    """The store's password was changed before the configuration was: what ended meanwhile is told with the new one."""
    redis = fleet.redis()
    sim = fleet.simulator("--latency", 1000)
    gateway = fleet.gateway(sim, store={"redis": redis.url})
    gateway.settle()
    password = secret("password-of-the-store")
    first = []
    thread = threading.Thread(target=lambda: first.append(run(gateway, "k")))
    thread.start()
    wait_for(lambda: gateway.records("intent"), what="it to be under way")
    with socket.create_connection(("127.0.0.1", redis.port), timeout=10) as s:
        s.sendall(f"CONFIG SET requirepass {password}\r\nCLIENT KILL TYPE normal SKIPME yes\r\n".encode())
        wait_for(lambda: b":" in s.recv(4096), what="the connections to be cut")
    thread.join()
    with open(f"{gateway.folder}/password", "w", encoding="ascii") as file:
        file.write(password)
    gateway.write_config({**gateway.config, "store": {"redis": redis.url, "password": {"file": f"{gateway.folder}/password"}}})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    assert first[0].status == 202
    again = wait_for(lambda: (lambda a: a.status == 202 and a)(run(gateway, "k")), timeout=10, what="the answer to be told")
    check_replay(first[0], again)
    assert len(sim.ledger()) == 1
