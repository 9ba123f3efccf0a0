"""jobgate as a case wants it: how many workers, callers and cores, which quota, TLS or not."""

import dataclasses
import http.client
import os
import re
import ssl
import time

from meter import cpu_us, redis_figures
from peers import Jobgate
from work import CALLER, KEY, LEGACY, PROXY_CORE, body_of

from harness import key_of, sha256

ONE_CORE, BOTH_CORES = str(PROXY_CORE), "0,1"
WINDOW = 10     # seconds in which the quota is counted; the longer, the less of it J and L take


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a gate is configured for; cases of one shape share a gate."""

    workers: int = 1
    callers: int = 1
    cores: str = ONE_CORE
    tls: bool = False
    quota: int = 0          # calls a second; 0: out of the way
    wait: str = "60s"
    spread: str = "few"


class Gate(Jobgate):
    """One gate of a Shape, and what it says of itself."""

    @property
    def core(self):
        return self.options.cores

    def names(self):
        return [CALLER, *(f"caller{n}" for n in range(1, self.options.callers))]

    def configuration(self):
        found, shape = super().configuration(), self.options
        found["callers"] = [{"name": name, "keys": [{"id": "k1", "sha256": sha256(key_of(name))}]} for name in self.names()]
        found["store"]["prefix"] = f"bench{self.port}"      # a fleet of its own
        found["spread"] = shape.spread
        found["wait"] = {"max": shape.wait, "queue": 100000}
        found["limits"]["connections"] = 20000
        found["audit"]["retention"] = {"size": "1GB"}       # millions of records on a tmpfs
        if shape.quota:
            # What may go at once after idleness would hide the quota for seconds.
            found["upstream"]["quota"] = {"requests": shape.quota * WINDOW, "window": f"{WINDOW}s", "burst": max(1, shape.quota // 4)}
        return found

    def keys(self, count):
        """A file with the keys of the first COUNT callers."""
        path = os.path.join(self.folder, f"keys-{count}")
        with open(path, "w", encoding="ascii") as out:
            out.writelines(f"{key_of(name)}\n" for name in self.names()[:count])
        return path

    def settle(self):
        """Wait until a run is answered with 202: in a new bucket the fleet's members are heard first."""
        deadline = time.monotonic() + 30
        while self._run() != 202:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no run was accepted: {self.daemon.said()}")
            time.sleep(0.1)

    def _run(self):
        trust = ssl.create_default_context(cafile=self.certificates.path("ca.pem"))
        trust.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=90, context=trust) if self.options.tls else \
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request("POST", LEGACY, body_of(300), {"X-API-Key": KEY, "Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status

    def metrics(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def waiting(self):
        """How many requests wait for a token."""
        return waiting_of(self.metrics())

    def connected(self):
        """How many connections of callers are established."""
        wanted = f":{self.port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = (line.split() for line in file)
            return sum(row[1].endswith(wanted) and row[3] == "01" for row in rows)


def answers_of(metrics):
    """{status: how many requests were answered with it}."""
    found = {}
    for code, count in re.findall(r'^jobgate_requests_total\{[^}]*code="(\d+)"[^}]*\} (\d+)', metrics, re.M):
        found[int(code)] = found.get(int(code), 0) + int(count)
    return found


def waiting_of(metrics):
    """How many requests wait for a token."""
    return sum(map(int, re.findall(r"^jobgate_queue_requests\{[^}]*\} (\d+)", metrics, re.M)))


class Reading:
    """What a gate, its Redis and the upstream have spent and done until now."""

    def __init__(self, gate, begins):
        # Asking costs the gate something too: the processor's time is read last where it begins, and first where it ends.
        used = 0 if begins else cpu_us(gate.pids())
        self.scripts, self.redis_us = redis_figures(gate.redis)
        self.accepts, _ = gate.upstream.counts()
        self.at, metrics = time.monotonic(), gate.metrics()
        self.answers, self.waiting = answers_of(metrics), waiting_of(metrics)
        self.cpu_us = cpu_us(gate.pids()) if begins else used


def between(begun, ended):
    """The cost per request between two readings; the load goes on before and after, so that connecting is no part of it."""
    answers = {code: count - begun.answers.get(code, 0) for code, count in ended.answers.items()}
    answers = {code: count for code, count in answers.items() if count}
    requests = sum(answers.values())
    each = max(1, requests)
    return {"cpu_us": (ended.cpu_us - begun.cpu_us) / each, "rps": requests / (ended.at - begun.at),
            "redis_us": (ended.redis_us - begun.redis_us) / each, "scripts": (ended.scripts - begun.scripts) / each,
            "new_connections": ended.accepts - begun.accepts, "waiting": ended.waiting, "requests": requests, "answers": answers}
