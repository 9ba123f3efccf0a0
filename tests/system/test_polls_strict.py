"""Polls under hostile conditions: what must not be shared, whose fault is whose, and whose time is whose."""

import json
import threading
import time

import pytest

from harness import BASE, ITEM, KEY, WS, check_error, elapsed, key_of, sha256
from test_polls import OTHER, OWN, RUN, gets, log_of, polls, start, together
from upstream_peers import Peer
from wire import wait_for

TARGET = f"{BASE}/instances/{WS}"


class Scripted(Peer):
    """An upstream whose answers are made by a function of the request's start line and fields."""

    def __init__(self, certificates, answer):
        self.answer, self.seen = answer, []
        super().__init__(*certificates.pair("upstream"))

    def _answer(self, connection):
        connection.settimeout(20)
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        more = tls.recv(65536)
                        if not more:
                            return
                        data += more
                    head, _, data = data.partition(b"\r\n\r\n")
                    lines = head.decode().split("\r\n")
                    fields = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:])}
                    while len(data) < int(fields.get("content-length", 0)):
                        data += tls.recv(65536)
                    data = data[int(fields.get("content-length", 0)):]
                    self.seen.append((lines[0], fields))
                    status, own, body = self.answer(lines[0], fields)
                    out = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n"
                    out += "".join(f"{n}: {v}\r\n" for n, v in own)
                    tls.sendall(out.encode() + b"\r\n" + body.encode())
        except OSError:
            pass
        finally:
            connection.close()


@pytest.fixture
def scripted(certificates):
    peers = []

    def make(answer):
        peers.append(Scripted(certificates, answer))
        return peers[-1]
    yield make
    for peer in peers:
        peer.close()


def state(status, **more):
    return json.dumps({"id": WS, "itemId": ITEM, "status": status, **more})


def test_what_names_the_first_readers_call_is_not_told_to_others(fleet, scripted):
    """Upstreams repeat the ids that a request brought; those are the first reader's."""
    names = ("x-ms-client-request-id", "x-ms-correlation-request-id", "x-ms-correlation-id", "x-ms-client-session-id", "ActivityId",
             "traceparent", "tracestate", "ms-cv", "Request-Id", "Correlation-Id")
    upstream = scripted(lambda line, fields: (200, [(n, fields[n.lower()]) for n in names if n.lower() in fields], state("InProgress")))
    gateway = fleet.gateway(upstream.port, polls=polls())
    mine = gateway.request("GET", TARGET, [*OWN, *((n, f"mine-{i}") for i, n in enumerate(names))])
    assert [mine.get(n) for n in names] == [f"mine-{i}" for i in range(len(names))], "it is relayed as it came"
    theirs = gateway.request("GET", TARGET, [*OWN, *((n, f"theirs-{i}") for i, n in enumerate(names))])
    assert theirs.get("Age") == "0" and len(upstream.seen) == 1
    assert b"mine-" not in theirs.raw, theirs


def test_an_old_own_answer_says_how_old_it_is(fleet):
    """Who leads and waits on is told its own call's answer at the end: it is as old as any other."""
    sim = fleet.simulator("--retry-after", "30", "--job-seconds", "600")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    answer = gateway.request("GET", target, [*OWN, ("Prefer", "wait=3")])
    assert answer.status == 200 and answer.get("Age") in ("2", "3"), answer
    assert int(answer.get("Retry-After")) == 30 - int(answer.get("Age"))


def test_who_joined_a_call_that_was_turned_back_waits_no_longer_than_it_may(fleet):
    """The upstream answers 429, and the leader waits for its next turn longer than who has joined it may wait."""
    sim = fleet.simulator("--job-seconds", "60", "--latency", "500", "--fault", "429:1:GET", "--fault-retry-after", "8")
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], "wait": {"max": wait}}
               for name, wait in (("etl", "20s"), ("hasty", "2s"))]
    gateway = fleet.gateway(sim, polls=polls(), callers=callers)
    target = start(gateway)
    leader = threading.Thread(target=lambda: gateway.request("GET", target, OWN))
    leader.start()
    wait_for(lambda: gateway.metrics()['jobgate_grants_total{identity="default"}'] >= 2, what="the leader's grant")
    answer, seconds = elapsed(gateway.request, "GET", target, OWN, key=key_of("hasty"))
    leader.join()
    assert seconds < 4, (seconds, answer)
    check_error(answer, 429, "TooManyRequestsForJobs", closes=False)


def test_representations_do_not_go_back(fleet):
    """One poller, two representations: what one has shown the other does not deny."""
    sim = fleet.simulator("--retry-after", "30", "--job-seconds", "1")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    text = [*OWN, ("Accept", "text/plain")]
    assert gateway.request("GET", target, OWN).json()["status"] != "Completed"
    time.sleep(1.5)
    assert gateway.request("GET", target, text).json()["status"] == "Completed"
    assert gateway.request("GET", target, OWN).json()["status"] == "Completed"


def test_a_crowd_of_one_caller_does_not_hold_up_another(fleet):
    """The greedy caller's poll stands at the end of its own queue: another's poll of the same job waited there with it, and got 429."""
    sim = fleet.simulator("--job-seconds", "600")
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], "wait": {"max": "9s"}} for name in ("etl", "calm")]
    gateway = fleet.gateway(sim, polls=polls(), callers=callers, upstream={"quota": {"requests": 4, "window": "1s", "burst": 1}})
    target = start(gateway)

    def waiting(count):
        wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] >= count, what="the crowd")
    answers = []
    crowd = [threading.Thread(target=lambda i=i: gateway.request("GET", f"{BASE}/instances/{WS[:-2]}{i:02d}", OWN)) for i in range(24)]
    for thread in crowd:
        thread.start()
    waiting(18)
    last = threading.Thread(target=lambda: answers.append(gateway.request("GET", target, OWN)))
    last.start()
    waiting(15)
    calm, seconds = elapsed(gateway.request, "GET", target, OWN, key=key_of("calm"))
    assert calm.status == 200 and seconds < 3, (calm, seconds)
    last.join()
    assert answers[0].status == 200 and answers[0].body == calm.body and len(gets(sim, target)) == 1, "who leads no more is told, too"
    for thread in crowd:
        thread.join()
