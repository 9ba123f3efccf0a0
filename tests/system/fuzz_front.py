"""Fuzzing of the listeners: streams of valid, mutated and hostile requests, plain and TLS, cut, split, reset, half-closed.

JOBGATE_SEED repeats a run's streams (threads and the network make their order), JOBGATE_FUZZ_SECONDS makes it longer:
    JOBGATE_FUZZ_SECONDS=600 python3 -m pytest -s tests/system/fuzz_front.py
What must hold: the gateway lives and no sanitizer speaks; each well-formed request of a caller that stays gets one answer, in
order; nothing arrives upstream that no caller sent, nor twice; every request that began has ended (log, metrics, journal agree).
"""

import json
import os
import random
import ssl
import threading
import time

from harness import BASE, KEY, KEYS, check_silent, field, sha256
from wire import Closed, wait_for

LISTS = f"{BASE}/instances"
PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"-1", b"+", b"ffffffffffffffff", b"\xff", b"%00", b"..",
          b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n",
          b"Expect: 100-continue\r\n", b"Host: x\r\n", b"HTTP/1.0", b"HTTP/2.0", b"chunked", b"0\r\n\r\n", b"A" * 9000, b"\x16\x03\x01"]


class Request:
    """A well-formed request: its bytes, and what must be known of it."""

    def __init__(self, rng, name):
        self.name = name
        self.body = rng.choice([b"", b"{}", b'{"executionData":{"a":"' + b"x" * rng.randrange(3000) + b'"}}'])
        kind = rng.randrange(10)
        self.status, self.runs = None, False
        fields = [("Host", "gate.example"), ("X-API-Key", KEY), ("X-Fuzz", name)]
        method, target = "POST", f"{BASE}/DefaultJob/instances"
        if kind < 5:
            self.status, self.runs = 202, True
        elif kind == 5:
            fields[1], self.status = ("X-API-Key", "wrong"), 401
        elif kind == 6:
            method, target, self.body, self.status = "GET", "/v1/nothing", b"", 404
        elif kind == 7:
            method, target, self.body, self.status = "GET", LISTS, b"", 200
        elif kind == 8:
            self.body, self.status = b'{"executionData":1}', 400
        else:
            self.status, self.runs = (409, 202), True
            fields.append(("X-Fabricsim-Fault", rng.choice(["drop", "garbage", "half", "500", "hints"])))
        self.target = target
        self.data = self.frame(rng, method, target, fields)

    def frame(self, rng, method, target, fields):
        body = self.body
        if method == "POST" and rng.randrange(3) == 0:
            fields.append(("Transfer-Encoding", "chunked"))
            body = b""
            at = 0
            while at < len(self.body):
                n = rng.randrange(1, 700)
                part = self.body[at:at + n]
                body += b"%x%s\r\n%s\r\n" % (len(part), rng.choice([b"", b";x=y"]), part)
                at += n
            body += b"0\r\n" + rng.choice([b"", b"X-T: 1\r\n"]) + b"\r\n"
        elif method == "POST":
            fields.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n"
        return head.encode() + body


def mutate(rng, data):
    """Change a few places of the bytes."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(5)
        if what == 0:
            data[at:at] = rng.choice(PIECES)
        elif what == 1:
            del data[at:at + rng.randrange(1, 20)]
        elif what == 2 and at < len(data):
            data[at] = rng.randrange(256)
        elif what == 3:
            data[at:at] = data[max(0, at - rng.randrange(60)):at]
        else:
            lines = bytes(data).split(b"\r\n")
            rng.shuffle(lines)
            data[:] = b"\r\n".join(lines)
    return bytes(data)


class Fuzzer:
    """What all threads share: who sent what, and what went wrong."""

    def __init__(self, gateway, seed):
        self.gateway, self.seed = gateway, seed
        self.sent = {}          # name: request, for those sent unchanged
        self.names = set()      # of all
        self.complaints, self.counts = [], {"connections": 0, "answers": 0, "valid": 0, "mutated": 0}
        self.lock = threading.Lock()

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] += n

    def new(self, rng, name):
        request = Request(rng, name)
        with self.lock:
            self.names.add(name)
        return request

    def send(self, rng, c, data):
        """Send in random pieces; the peer may have closed."""
        try:
            while data:
                n = rng.choice([len(data), len(data), rng.randrange(1, 50), 1])
                c.send(data[:n])
                data = data[n:]
        except (OSError, ssl.SSLError):
            pass

    def valid(self, rng, c, name):
        """A pipeline of well-formed requests: one answer each, in order."""
        requests = [self.new(rng, f"{name}-{i}") for i in range(rng.choice([1, 1, 2, 5]))]
        for r in requests:
            self.sent[r.name] = r
        self.send(rng, c, b"".join(r.data for r in requests))
        for i, r in enumerate(requests):
            answer = c.response()
            self.count("answers")
            wanted = r.status if isinstance(r.status, tuple) else (r.status,)
            if answer.status not in wanted:
                self.complaints.append(f"{r.data!r} got {answer}")
            if len(answer.all("X-Request-Id")) != 1 or len(answer.all("Date")) != 1:
                self.complaints.append(f"{answer}")
            if answer.get("Connection") == "close":
                self.complaints.append(f"request {i} of {len(requests)} closed: {answer}")
                return
        self.count("valid", len(requests))

    def hostile(self, rng, c, name):
        """Something broken, a whole request behind it; then read to the end, or go in some way."""
        first, second = self.new(rng, f"{name}-a"), self.new(rng, f"{name}-b")
        self.count("mutated")
        data = mutate(rng, first.data) + second.data
        how = rng.randrange(6)
        if how == 0:
            data = data[:rng.randrange(len(data))]
        self.send(rng, c, data)
        if how == 1:
            c.reset()
        elif how == 2:
            c.half_close()
        if how == 1 or how == 3:
            return
        while True:
            answer = c.response(rng.choice(["GET"]))
            self.count("answers")
            if answer.get("Connection") == "close":
                if not c.is_closed():
                    self.complaints.append(f"said close and did not: {data!r} {answer}")
                return

    def connection(self, rng, name):
        """One connection's life."""
        self.count("connections")
        tls = rng.randrange(2) == 1
        try:
            with self.gateway.connect(tls, timeout=20) as c:
                for i in range(rng.randrange(3)):
                    try:
                        self.valid(rng, c, f"{name}-{i}")
                    except (Closed, OSError) as error:
                        self.complaints.append(f"a well-formed request has no answer: {name}-{i} {error!r}")
                        return
                c.socket.settimeout(0.4)
                self.hostile(rng, c, name)
        except (Closed, OSError, ValueError, AssertionError):
            pass        # what happens to hostile bytes is judged by the ledger and the counters

    def thread(self, number, deadline):
        rng = random.Random(f"{self.seed}-{number}")
        n = 0
        while time.monotonic() < deadline and not self.complaints and self.gateway.is_alive():
            self.connection(rng, f"{number}-{n}")
            n += 1


def check_ledger(fuzzer, ledger):
    """Nothing that no caller sent, nothing twice, nothing changed on the way."""
    seen = set()
    for entry in ledger:
        names = field(entry, "X-Fuzz")
        if len(names) != 1 or names[0] not in fuzzer.names:
            continue    # a mutation of the name itself, or of its field
        assert entry["complete"] and names[0] not in seen, entry
        seen.add(names[0])
        request = fuzzer.sent.get(names[0])
        if request:
            check_silent(json.dumps(entry), "what came to the upstream", KEYS)
            assert entry["target"] == request.target and entry["body_sha256"] == sha256(request.body), entry
    missing = [n for n, r in fuzzer.sent.items() if r.runs and r.status == 202 and n not in seen]
    assert not missing, missing[:5]


def check_endings(gateway):
    """Log, metrics and journal agree, and nothing is left waiting."""
    def counted():
        return sum(v for k, v in gateway.metrics().items() if k.startswith("jobgate_requests_total{"))
    wait_for(lambda: counted() == len(gateway.events("request")), what="one log line for each request counted")
    metrics = gateway.metrics()
    assert metrics['jobgate_queue_requests{identity="default"}'] == 0
    intents, outcomes = gateway.records("intent"), gateway.records("outcome")
    assert sorted(r["request_id"] for r in intents) == sorted(r["request_id"] for r in outcomes)
    assert len({e["request_id"] for e in gateway.events("request")}) == counted()


def test_front_survives_fuzzing(fleet):
    seed = int(os.environ.get("JOBGATE_SEED") or time.time())
    seconds = float(os.environ.get("JOBGATE_FUZZ_SECONDS") or 8)
    print(f"JOBGATE_SEED={seed}")
    sim = fleet.simulator()
    sim.mangled = True      # "X-API-Key" that has lost a letter is a field like any other, and goes upstream
    gateway = fleet.gateway(sim, limits={"head_timeout": "1s", "body_timeout": "1s", "idle_timeout": "2s"})
    fuzzer = Fuzzer(gateway, seed)
    deadline = time.monotonic() + seconds
    threads = [threading.Thread(target=fuzzer.thread, args=(i, deadline)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gateway.is_alive(), gateway.tail()
    assert not fuzzer.complaints, f"JOBGATE_SEED={seed}\n" + "\n".join(fuzzer.complaints[:5])
    time.sleep(1.2)     # the slowest body's time
    check_endings(gateway)
    check_ledger(fuzzer, sim.ledger())
    gateway.stop(timeout=10)
    print(fuzzer.counts)
