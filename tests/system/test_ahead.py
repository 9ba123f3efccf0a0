"""Tokens taken ahead of need: an instance that is alone asks the store once for many runs, and keeps every promise that asking each time keeps."""

import contextlib
import threading
import time

import pytest

from harness import BASE, KEY
from test_undelivered import BODY, JSON, RUN, check_is_replay_of, landed, run, start
from wire import wait_for

CLIENTS = 6
LOAD = f"{BASE}/Pipeline/instances"


class Load:
    """Clients that send one run after the other, each with an id of its own, until they are stopped."""

    def __init__(self, gateway):
        self.gateway, self.ending, self.answers, self.lock = gateway, threading.Event(), [], threading.Lock()
        self.threads = [threading.Thread(target=self._send, args=(n,)) for n in range(CLIENTS)]

    def _send(self, client):
        with self.gateway.connect() as connection:
            number = 0
            while not self.ending.is_set():
                number += 1
                answer = connection.request("POST", LOAD, [JSON, ("X-API-Key", KEY), ("X-Request-Id", f"load-{client}-{number}")], BODY)
                with self.lock:
                    self.answers.append(answer.status)
                if answer.get("Connection") == "close":
                    return

    def count(self):
        return len(self.answers)

    def wait(self, more):
        """Until so many more were answered."""
        until = self.count() + more
        wait_for(lambda: self.count() >= until or not any(t.is_alive() for t in self.threads), what="answers")

    @contextlib.contextmanager
    def running(self):
        for thread in self.threads:
            thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            for thread in self.threads:
                thread.join()


def scripts(redis):
    """How often the bucket's script has run."""
    for line in redis.command("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_evalsha:"):
            return int(line.split("calls=")[1].split(",")[0])
    return 0


def own_runs(sim):
    """Those that came to the upstream and are none of a load's."""
    return [e for e in sim.ledger() if "RunNotebook" in e["target"]]


def lose_beside(gateway, sim, body=BODY):
    """As lose, beside a load."""
    sent = len(own_runs(sim))
    with gateway.connect() as connection:
        connection.send(connection.build("POST", RUN, [JSON, ("X-API-Key", KEY), ("X-Fabricsim-Latency", "200")], body))
        wait_for(lambda: len(own_runs(sim)) > sent, what="the run to be sent")


def is_remembered(gateway, count=1):
    """So many answers were lost, and are remembered."""
    return gateway.metrics()['jobgate_idempotency_undelivered_total{result="remembered"}'] == count


def identity_of(gateway):
    return gateway.admin("/status").json()["limiter"]["identities"][0]


def is_ahead(gateway):
    """Whether it has tokens in hand."""
    return identity_of(gateway)["ahead"] > 0


@pytest.fixture
def stage(fleet):
    """A store, an upstream and what an instance needs to be of their fleet."""
    redis, sim = fleet.redis(), fleet.simulator()
    return redis, sim, lambda name: start(fleet, sim, {"store": {"redis": redis.url}}, instance=name)


def test_a_call_is_for_many(stage):
    redis, _, make = stage
    gateway = make("gate0")
    with Load(gateway).running() as load:
        wait_for(lambda: is_ahead(gateway), what="tokens in hand")
        before, answered = scripts(redis), load.count()
        load.wait(600)
        assert scripts(redis) - before < (load.count() - answered) / 4
    assert set(load.answers) == {202}
    assert identity_of(gateway)["granted"] == load.count()


def members(gateway):
    return len(identity_of(gateway)["members"])


def test_what_another_instance_has_lost_is_found(stage):
    """Also by who had tokens in hand until then: alone at first, and as one of two."""
    redis, sim, make = stage
    first = make("gate0")
    with Load(first).running() as load:
        wait_for(lambda: is_ahead(first), what="tokens in hand")
        second = make("gate1")
        wait_for(lambda: members(first) == 2 and is_ahead(first), what="tokens in hand as one of two")
        for turn in range(5):
            body = b'{"executionData": {"turn": %d}}' % turn
            lose_beside(second, sim, body)
            outcome = landed(second, turn + 1)
            wait_for(lambda n=turn + 1: is_remembered(second, n), what="the answer to be remembered")
            wait_for(lambda: b"A" in redis.command("EVAL", "local t = '' for _, k in ipairs(redis.call('KEYS', '*lost1*')) do "
                                                   "t = t .. redis.call('GET', k):sub(1, 1) end return t", "0"), what="the fleet to be told")
            check_is_replay_of(run(first, body=body), outcome)
            assert not is_ahead(first)      # until it is forgotten, whoever comes is to be looked for by name
    assert set(load.answers) == {202}


def test_what_is_its_own_does_not_end_it(stage):
    _, sim, make = stage
    gateway = make("gate0")
    with Load(gateway).running():
        wait_for(lambda: is_ahead(gateway), what="tokens in hand")
        lose_beside(gateway, sim)
        wait_for(lambda: is_remembered(gateway), what="the answer to be remembered")
        wait_for(lambda: is_ahead(gateway), what="tokens in hand")
        assert run(gateway).get("Idempotency-Replayed") == "true"


def test_what_its_predecessor_has_lost_is_found(stage):
    """The store remembers it for whoever comes; to this instance's next process it is another's."""
    _, sim, make = stage
    first = make("gate0")
    lose_beside(first, sim)
    outcome = landed(first)
    wait_for(lambda: is_remembered(first), what="the answer to be remembered")
    first.stop()
    second = make("gate0")
    with Load(second).running() as load:
        load.wait(300)
        check_is_replay_of(run(second), outcome)
    assert set(load.answers) == {202}


def test_a_strange_mark(stage):
    """Whoever wrote it: an answer is lost and told as ever, and its mark is nobody's alone."""
    redis, sim, make = stage
    gateway = make("gate0")
    redis.command("SET", "jobgate:lost1:{default}:any", "strange")
    lose_beside(gateway, sim)
    wait_for(lambda: redis.command("GET", "jobgate:lost1:{default}:any").endswith(b" *\r\n"), what="a mark")
    check_is_replay_of(run(gateway), landed(gateway))


def test_the_quota_is_kept(fleet):
    """Those that lapse are counted as taken: the upstream never has too many."""
    redis, sim = fleet.redis(), fleet.simulator("--quota", "1600/2", "--window", "sliding")
    gateway = start(fleet, sim, {"store": {"redis": redis.url}}, upstream={"quota": {"requests": 1600, "window": "2s", "burst": 1200}})
    with Load(gateway).running() as load:
        wait_for(lambda: is_ahead(gateway), what="tokens in hand")
        for _ in range(8):
            load.wait(300)
            time.sleep(0.2)     # pauses of the clients, in which what is in hand lapses
    assert set(load.answers) == {202}
    assert {e["status"] for e in sim.ledger()} == {202}
