"""The real jobgate, fabricsim and redis-server on free loopback ports in a temporary folder."""

import glob
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime

from silence import KEYS, check_keys, check_silent, key_of, learn_config, secret, sha256  # noqa: F401 (most tests take them from here)
from wire import Connection, Response, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("JOBGATE_BUILD") or os.path.join(ROOT, "build-asan")
UPSTREAM = "api.fabric.microsoft.com"
ORIGIN = f"https://{UPSTREAM}"
WS = "4b218778-e7a5-4d73-8187-f10824047715"
ITEM = "431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7"
BASE = f"/v1/workspaces/{WS}/items/{ITEM}/jobs"
KEY = key_of("etl")
TRIGGERS = ("run", "cancel", "schedule_create", "schedule_update", "schedule_delete")
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")


def binary(name):
    path = os.path.join(BUILD, name)
    assert os.access(path, os.X_OK), f"{path} is missing: build it, or set JOBGATE_BUILD"
    return path


# Listeners have SO_REUSEPORT, so two of one port would share it in silence: each test process has a range of its own,
# below the range from which the kernel takes ports for outgoing connections; each is taken again when all others were.
PORTS = 1300
_worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "0")) or 0)
_ports = itertools.cycle(random.sample(range(11000 + PORTS * (_worker % 15), 11000 + PORTS * (_worker % 15 + 1)), PORTS))


def free_port():
    """A TCP port of 127.0.0.1 on which nobody listens."""
    for port in itertools.islice(_ports, PORTS):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port left")


class Process:
    """A child process whose output is read as it comes; ended only by its own id."""

    def __init__(self, args, folder, env=None):
        full = {**os.environ, "ASAN_OPTIONS": "exitcode=99:detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1",
                "TSAN_OPTIONS": "exitcode=99", **(env or {})}
        self.lines, self.out = [], []
        self.process = subprocess.Popen(args, cwd=folder, env=full, text=True, errors="replace",
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.threads = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stderr, self.lines), (self.process.stdout, self.out))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def is_alive(self):
        return self.process.poll() is None

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=60):
        """The exit code, once it has ended and all it wrote is read."""
        code = self.process.wait(timeout)
        for thread in self.threads:
            thread.join(10)
        return code

    def stop(self, number=signal.SIGTERM, expect=0, timeout=60):
        """End it, and check its exit code and that no sanitizer spoke."""
        if self.is_alive():
            self.send_signal(number)
        try:
            code = self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait()
            raise AssertionError(f"did not end within {timeout} s of signal {number}: {self.tail()}") from None
        self.check_sanitizers()
        assert code == expect, f"exit code {code}, expected {expect}: {self.tail()}"

    def kill(self):
        """End it as a crash would."""
        if self.is_alive():
            self.process.kill()
        self.wait()

    def check_sanitizers(self):
        first = next((i for i, line in enumerate(self.lines) if SANITIZER.search(line)), None)
        assert first is None, "\n".join(self.lines[first:first + 60])

    def tail(self):
        return "\n".join(self.lines[-40:])


class Simulator(Process):
    """fabricsim with a ledger."""

    def __init__(self, folder, certificates, *options, certificate="upstream", port=0, ledger="ledger.jsonl"):
        cert, key = certificates.pair(certificate)
        self.mangled = False    # whether a test breaks requests' bytes, so that a key may stand in some other field
        self.ledger_file = os.path.join(str(folder), ledger)
        super().__init__([binary("fabricsim"), "--listen", f"127.0.0.1:{port}", "--cert", cert, "--key", key,
                          "--ledger", self.ledger_file, *map(str, options)], str(folder))
        wait_for(lambda: self.out or not self.is_alive(), what="fabricsim's first line")
        if not self.out:
            self.wait()     # all that it said is read
        assert self.out, self.tail()
        self.port = int(self.out[0].rsplit(":", 1)[1])

    def check_sanitizers(self):
        super().check_sanitizers()
        if os.path.exists(self.ledger_file) and not self.mangled:
            with open(self.ledger_file, encoding="utf-8") as file:
                check_silent(file.read(), "what came to the upstream", KEYS)

    def ledger(self):
        """All requests that arrived, oldest first; each a dict with its headers as pairs."""
        if not os.path.exists(self.ledger_file):
            return []
        with open(self.ledger_file, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def connect(self):
        return Connection(self.port, tls=True)


def field(entry, name):
    """The values of a ledger entry's fields of that name, case ignored."""
    return [v for n, v in entry["headers"] if n.lower() == name.lower()]


class Redis(Process):
    """A redis-server that keeps nothing on disk; ALSO: more loopback addresses that it listens on."""

    def __init__(self, folder, port=None, also=(), env=None):
        self.port = port or free_port()
        super().__init__(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", *also, "--save", "", "--appendonly",
                          "no", "--maxmemory-policy", "noeviction", "--dir", str(folder)], str(folder), env)
        wait_for(self._answers, what="redis-server")

    def _answers(self):
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, *words):
        """Send one command, return the first bytes of the reply."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            data = b"*%d\r\n" % len(words)
            for word in words:
                word = str(word).encode()
                data += b"$%d\r\n%s\r\n" % (len(word), word)
            s.sendall(data)
            return s.recv(65536)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


# Every other gate moves plain connections to its first worker, at the load of a test; the others leave them where they were accepted.
SPREADS = itertools.cycle(("few", "all"))


def make_config(certificates, upstream_port, /, **changes):
    """A configuration with a plain and a TLS listener, quota out of the way; CHANGES replace whole keys (None removes)."""
    cert, key = certificates.pair("front")
    config = {
        "listen": [{"address": f"127.0.0.1:{free_port()}"},
                   {"address": f"127.0.0.1:{free_port()}", "tls": {"cert_file": cert, "key_file": key}}],
        "admin": {"address": f"127.0.0.1:{free_port()}"},
        "upstream": {"url": f"https://127.0.0.1:{upstream_port}", "server_name": UPSTREAM,
                     "ca_file": certificates.path("ca.pem"), "quota": {"requests": 10000000, "window": "1s"}},
        "callers": [{"name": "etl", "keys": [{"id": "k1", "sha256": sha256(KEY)}]}],
        "audit": {"directory": "audit"},
        # Most tests count what comes to the upstream; those of polls say otherwise.
        "polls": {"refresh": "0s"},
        "workers": 2,
        "spread": next(SPREADS),
        "instance": "test",
        # Many tests repeat identical runs whose callers go, and mean each of them; what this does is test_undelivered.py's.
        "idempotency": {"undelivered": "0s"},
    }
    for name, value in changes.items():
        if value is None:
            config.pop(name, None)
        elif name == "upstream":
            config["upstream"] = {**config["upstream"], **value}
        else:
            config[name] = value
    return config


class Gateway(Process):
    """`jobgate serve` on a configuration written to its folder."""

    def __init__(self, folder, config, ready=True, env=None, prefix=()):
        self.folder, self.config = str(folder), config
        learn_config(config, self.folder, env)
        check_keys(config)
        self.config_file = os.path.join(self.folder, "jobgate.json")
        self.write_config(config)
        self.port = self.tls_port = None
        for listener in config["listen"]:
            number = int(listener["address"].rsplit(":", 1)[1])
            if "tls" in listener:
                self.tls_port = self.tls_port or number
            else:
                self.port = self.port or number
        self.admin_port = int(config["admin"]["address"].rsplit(":", 1)[1])
        super().__init__([*prefix, binary("jobgate"), "serve", "--config", self.config_file], self.folder, env)
        if ready:
            self.wait_event("jobgate ready")

    def check_sanitizers(self):
        super().check_sanitizers()
        self.check_silence()

    def check_silence(self):
        """No secret of the run stands in what it said or wrote."""
        check_silent("\n".join([*self.lines, *self.out]), "the log")
        for folder, _, names in os.walk(os.path.join(self.folder, "audit")):
            for name in names:
                with open(os.path.join(folder, name), errors="replace", encoding="utf-8") as file:
                    check_silent(file.read(), f"the journal's {name}")

    def write_config(self, config):
        learn_config(config, self.folder, None)
        with open(self.config_file, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)

    def events(self, name=None):
        """The parsed log lines, or those of one event."""
        found = []
        for line in list(self.lines):
            if line.startswith("{"):
                event = json.loads(line)
                if name is None or event["event"] == name:
                    found.append(event)
        return found

    def wait_event(self, name, count=1, timeout=60):
        """Wait for the COUNTth log line of that event; fails at once where the process ends before."""
        found = wait_for(lambda: len(self.events(name)) >= count or not self.is_alive(), timeout, f"the event {name}")
        if len(self.events(name)) < count:
            self.wait()
            raise AssertionError(f"ended with {self.process.returncode} before {name}: {self.tail()}")
        return found and self.events(name)[count - 1]

    def connect(self, tls=False, **more):
        if tls:
            return Connection(self.tls_port, tls=True, name="gate.example", **more)
        return Connection(self.port, **more)

    def request(self, method, target, headers=(), body=None, tls=False, key=KEY):
        """One request on a connection of its own."""
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        if key is not None:
            headers.append(("X-API-Key", key))
        with self.connect(tls) as connection:
            return connection.request(method, target, headers, body)

    def admin(self, target, headers=()):
        with Connection(self.admin_port) as connection:
            return connection.request("GET", target, headers)

    def settle(self):
        """Wait until its quota grants: in a store's new bucket the fleet's members are heard first, 2 s at least."""
        def is_settled():
            answer = self.admin("/readyz")
            return answer.status == 200 and not any("members" in reason for reason in answer.json()["reasons"])
        wait_for(is_settled, timeout=30, what="a settled quota")

    def metrics(self):
        """The samples of /metrics as {"name{labels}": value}."""
        samples = {}
        for line in self.admin("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def records(self, kind=None):
        return read_journal(os.path.join(self.folder, self.config["audit"]["directory"]), kind)

    def wait_records(self, kind, count, timeout=30):
        """The records of a kind once there are that many."""
        wait_for(lambda: len(self.records(kind)) >= count, timeout, f"{count} records of kind {kind}")
        return self.records(kind)


def check_failed(gateway, answer):
    """The one record of a trigger of which nothing could be sent: an outcome `failed`, or a refusal before any intent."""
    name = answer.get("X-Request-Id")
    mine = wait_for(lambda: [r for r in gateway.records() if r.get("request_id") == name and r["kind"] != "intent"],
                    what=f"the record of {name}")
    assert len(mine) == 1
    if mine[0]["kind"] == "outcome":
        assert (mine[0]["result"], mine[0]["status"], mine[0]["answered"]) == ("failed", 0, answer.status)
    else:
        assert (mine[0]["status"], mine[0]["error_code"]) == (answer.status, "JobgateUpstreamUnavailable")


def read_journal(directory, kind=None):
    """All whole records of a journal in their order."""
    records = []
    for name in sorted(glob.glob(os.path.join(directory, "*.jsonl"))):
        with open(name, "rb") as file:
            records += [json.loads(line) for line in file.read().split(b"\n")[:-1]]
    records.sort(key=lambda r: r["seq"])
    return [r for r in records if kind is None or r["kind"] == kind]


def verify_journal(directory):
    """Run `jobgate audit verify`; returns the finished process."""
    return subprocess.run([binary("jobgate"), "audit", "verify", str(directory)], capture_output=True, text=True,
                          timeout=120, check=False)


def parse_time(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def check_error(answer: Response, status, code, closes=None):
    """Check one of the gateway's own errors from head to end (contract, "Requests"); returns the parsed body."""
    assert answer.status == status, answer
    body = answer.json()
    assert body["errorCode"] == code, answer
    assert answer.exact("x-ms-public-api-error-code") == code, answer
    assert answer.get("Content-Type").split(";")[0] == "application/json"
    assert answer.get("Proxy-Status").startswith("jobgate; error="), answer
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                        answer.get("X-Request-Id")), answer
    assert answer.exact("RequestId") == answer.get("X-Request-Id") == body["requestId"], answer
    assert len(answer.all("Date")) == 1 and len(answer.all("Content-Length")) == 1, answer
    check_timing(answer)
    assert isinstance(body["message"], str) and len(body["message"]) > 10
    assert isinstance(body["isRetriable"], bool)
    if closes is not None:
        assert ("close" in (answer.get("Connection") or "")) == closes, answer
    return body


def check_timing(answer):
    """Check Server-Timing: wait and upstream in milliseconds."""
    timing = dict(re.fullmatch(r"\s*(\w+)\s*;\s*dur=([0-9.]+)\s*", part).groups()
                  for part in answer.get("Server-Timing").split(","))
    assert set(timing) >= {"wait", "upstream"}, answer
    return {name: float(value) for name, value in timing.items()}


def elapsed(call, *args, **more):
    """The result of a call and how many seconds it took."""
    start = time.monotonic()
    result = call(*args, **more)
    return result, time.monotonic() - start
