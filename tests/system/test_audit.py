"""The journal: what is recorded, in which order, chained, verified, bounded, and what a crash leaves."""

import glob
import hashlib
import json
import os
import random
import re
import shutil
import stat
import threading
import time

import pytest

from harness import BASE, ITEM, KEY, ORIGIN, TRIGGERS, WS, field, parse_time, sha256, verify_journal
from wire import Closed, wait_for

RUN = f"{BASE}/DefaultJob/instances"
ALWAYS = {"v", "journal", "instance", "seq", "time", "kind", "prev", "hash"}
REQUEST = {"request_id", "client_request_id", "caller", "key", "identity", "peer", "operation"}
ASKED = {"workspace", "item", "job_type", "legacy", "body_bytes", "body_sha256"}
OUTCOME = {"result", "status", "answered", "error_code", "location", "instance_id", "upstream_request_id", "attempts",
           "wait_ms", "duration_ms"}


def audit_directory(gateway):
    return os.path.join(gateway.folder, gateway.config["audit"]["directory"])


def check_chain(directory):
    """An independent look at the chain: each line's hash over its bytes before it, each prev the hash before."""
    lines = []
    for name in glob.glob(os.path.join(directory, "*.jsonl")):
        with open(name, "rb") as file:
            lines += file.read().splitlines()
    lines.sort(key=lambda line: json.loads(line)["seq"])
    previous = "0" * 64
    for number, line in enumerate(lines):
        record = json.loads(line)
        assert record["prev"] == previous, record
        body = line[:line.rindex(b',"hash":')]
        previous = hashlib.sha256(body).hexdigest()
        assert record["hash"] == previous, record
        assert number == 0 or record["seq"] == json.loads(lines[number - 1])["seq"] + 1
    return len(lines)


def test_a_run_has_one_intent_and_one_outcome(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    body = b'{"executionData":{"password":"hunter2"}}'
    answer = gateway.request("POST", f"{BASE}/instances?jobType=RunNotebook&beta=false",
                             [("Authorization", "Bearer secret-token"), ("x-ms-client-request-id", "mine")], body)
    outcome, = gateway.wait_records("outcome", 1)
    intent, = gateway.records("intent")
    assert set(intent) == ALWAYS | REQUEST | ASKED and set(outcome) == ALWAYS | REQUEST | OUTCOME
    common = {"request_id": answer.get("X-Request-Id"), "client_request_id": "mine", "caller": "etl", "key": "k1",
              "identity": "default", "operation": "run"}
    for record in (intent, outcome):
        assert {name: record[name] for name in common} == common
        assert record["v"] == 1 and record["instance"] == "test" and record["peer"].startswith("127.0.0.1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["time"])
    assert (intent["workspace"], intent["item"], intent["job_type"], intent["legacy"]) == (WS, ITEM, "RunNotebook", True)
    assert (intent["body_bytes"], intent["body_sha256"]) == (len(body), sha256(body))
    assert (outcome["result"], outcome["status"], outcome["answered"], outcome["attempts"]) == ("accepted", 202, 202, 1)
    assert outcome["location"] == answer.exact("Location") and outcome["error_code"] is None
    assert outcome["instance_id"] == answer.exact("x-ms-job-id")
    assert outcome["upstream_request_id"] == answer.exact("RequestId")
    assert outcome["duration_ms"] >= outcome["wait_ms"] >= 0
    assert parse_time(intent["time"]) <= parse_time(sim.ledger()[0]["time"]), "durable before the first upstream byte"
    gateway.stop()
    for name in glob.glob(os.path.join(audit_directory(gateway), "*")):
        with open(name, "rb") as file:
            text = file.read()
        assert not [s for s in (KEY, "secret-token", "hunter2") if s.encode() in text], name
    assert not [line for line in gateway.lines if KEY in line or "secret-token" in line or "hunter2" in line]


def test_reads_are_not_recorded_and_other_results_are(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    gateway.request("GET", f"{BASE}/instances")
    gateway.request("POST", f"{BASE}/Execute/instances")
    gateway.request("POST", f"{BASE}/instances/{WS}/cancel")
    gateway.request("POST", RUN, [("X-Fabricsim-Fault", "drop")])
    gateway.request("POST", RUN, [("X-Fabricsim-Fault", "500")])
    outcomes = gateway.wait_records("outcome", 4)
    assert [(o["operation"], o["result"], o["status"], o["answered"]) for o in outcomes] == [
        ("run", "accepted", 202, 202), ("cancel", "rejected", 404, 404), ("run", "unknown", 0, 409),
        ("run", "unknown", 500, 409)]
    assert outcomes[0]["location"].endswith("instances?jobType=Execute") and outcomes[0]["instance_id"]
    assert outcomes[1]["error_code"] == "EntityNotFound"
    assert {r["operation"] for r in gateway.records("intent")} <= set(TRIGGERS)


def test_config_and_stop_records_modes_and_chain(fleet):
    gateway = fleet.gateway(fleet.simulator())
    for _ in range(20):
        gateway.request("POST", RUN)
    gateway.stop()
    directory = audit_directory(gateway)
    kinds = [r["kind"] for r in gateway.records()]
    assert kinds[0] == "config" and kinds[-1] == "stop" and kinds.count("intent") == kinds.count("outcome") == 20
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o750
    for name in glob.glob(os.path.join(directory, "*.jsonl")):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o640
    assert check_chain(directory) == 42
    done = verify_journal(directory)
    assert done.returncode == 0, done.stderr
    assert sha256(KEY) not in json.dumps(gateway.records())


def test_refusals_are_recorded_within_their_bound(fleet):
    gateway = fleet.gateway(fleet.simulator(), audit={"directory": "audit", "refusals": 5})
    with gateway.connect() as c:
        start = time.monotonic()
        for _ in range(300):
            assert c.request("POST", f"{BASE}/instances?jobType=", [("X-API-Key", KEY)]).status == 400
        seconds = time.monotonic() - start
    gateway.stop()
    refusals = [r for r in gateway.records("refusal") if r["error_code"] == "InvalidJobType"]
    assert set(refusals[0]) == ALWAYS | REQUEST | ASKED | {"status", "error_code", "count"}
    assert refusals[0]["caller"] == "etl" and refusals[0]["status"] == 400
    assert sum(r["count"] or 1 for r in refusals) == 300
    assert 5 <= len(refusals) <= (seconds + 2) * 6, (len(refusals), seconds)


def test_verify_finds_any_changed_byte(fleet, tmp_path):
    gateway = fleet.gateway(fleet.simulator())
    for _ in range(5):
        gateway.request("POST", RUN)
    gateway.stop()
    source = audit_directory(gateway)
    name = os.path.basename(glob.glob(os.path.join(source, "*.jsonl"))[0])
    with open(os.path.join(source, name), "rb") as file:
        data = file.read()
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    assert verify_journal(copy).returncode == 0
    # Of the last byte, the newline, the contract lets a running gateway's journal be without; all others are tried by chance.
    for at in random.sample(range(len(data) - 1), 40):
        changed = data[:at] + bytes([data[at] ^ (1 << random.randrange(7))]) + data[at + 1:]
        (copy / name).write_bytes(changed)
        done = verify_journal(copy)
        assert done.returncode == 1, (at, data[max(at - 20, 0):at + 20], done.stdout + done.stderr)
    lines = data.splitlines(keepends=True)
    (copy / name).write_bytes(b"".join(lines[:3] + lines[4:]))
    assert verify_journal(copy).returncode == 1, "a record taken out"
    assert verify_journal(tmp_path / "nothing").returncode != 0


class Load:
    """Sends runs over and over until told to stop; keeps what was answered."""

    def __init__(self, gateway, threads=4):
        self.gateway, self.stopped, self.accepted = gateway, False, []
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        try:
            with self.gateway.connect() as c:
                while not self.stopped:
                    answer = c.request("POST", RUN, [("X-API-Key", KEY)], b"{}")
                    if answer.status == 202:
                        self.accepted.append(answer.get("X-Request-Id"))
        except (Closed, OSError):
            pass

    def join(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("round_", range(3))
def test_kill_under_load(fleet, round_):
    """Every request upstream has an earlier intent; after the restart every intent has one outcome and the chain holds."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    load = Load(gateway)
    wait_for(lambda: len(load.accepted) > 100 * (round_ + 1), 60)
    gateway.kill()
    load.join()
    again = fleet.gateway(sim, folder=gateway.folder, config=gateway.config)
    again.stop()
    intents = {r["request_id"]: r for r in again.records("intent")}
    outcomes = {}
    for record in again.records("outcome"):
        assert record["request_id"] not in outcomes, "two outcomes"
        outcomes[record["request_id"]] = record
    assert set(intents) == set(outcomes)
    for entry in sim.ledger():
        name, = field(entry, "X-Request-Id")
        assert parse_time(intents[name]["time"]) <= parse_time(entry["time"])
    assert all(outcomes[name]["result"] == "accepted" for name in load.accepted)
    assert {o["result"] for o in outcomes.values()} <= {"accepted", "unknown"}
    check_chain(audit_directory(again))
    assert verify_journal(audit_directory(again)).returncode == 0
    assert len({r["journal"] for r in again.records()}) == 1


def test_a_torn_tail_is_cut(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    gateway.request("POST", RUN)
    gateway.stop()
    name = sorted(glob.glob(os.path.join(audit_directory(gateway), "*.jsonl")))[-1]
    with open(name, "ab") as file:
        file.write(b'{"v":1,"journal":"torn')
    again = fleet.gateway(sim, folder=gateway.folder, config=gateway.config)
    assert again.request("POST", RUN).status == 202
    again.stop()
    check_chain(audit_directory(again))
    assert verify_journal(audit_directory(again)).returncode == 0


def test_a_changed_middle_refuses_the_start(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    for _ in range(3):
        gateway.request("POST", RUN)
    gateway.stop()
    name = sorted(glob.glob(os.path.join(audit_directory(gateway), "*.jsonl")))[-1]
    with open(name, "r+b") as file:
        data = file.read()
        at = data.index(b'"etl"', len(data) // 2)
        file.seek(at + 1)
        file.write(b"x")
    again = fleet.gateway(sim, folder=gateway.folder, config=gateway.config, ready=False)
    assert again.wait() == 1 and os.path.basename(name) in again.tail()


def test_a_caller_that_hangs_up_is_recorded(fleet):
    """While waiting: one refusal, nothing sent. After the first byte: the job is finished, answered 0."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, upstream={"quota": {"requests": 2, "window": "20s"}}, wait={"max": "50s", "queue": 10})
    c = gateway.connect()
    c.send(c.build("POST", RUN, [("X-API-Key", KEY)], b"{}"))
    wait_for(lambda: gateway.metrics().get('jobgate_queue_requests{identity="default"}') == 1)
    c.reset()
    refusal, = gateway.wait_records("refusal", 1)
    assert (refusal["status"], refusal["error_code"]) == (0, "JobgateCallerGone")
    assert sim.ledger() == [] and gateway.records("intent") == []

    other = fleet.gateway(sim)
    c = other.connect()
    c.send(c.build("POST", RUN, [("X-API-Key", KEY), ("X-Fabricsim-Latency", "500")], b"{}"))
    wait_for(lambda: len(sim.ledger()) == 1)
    c.reset()
    outcome, = other.wait_records("outcome", 1)
    assert (outcome["result"], outcome["status"], outcome["answered"]) == ("accepted", 202, 0)
    assert outcome["location"].startswith(ORIGIN)


def test_a_full_disk_refuses_triggers_and_nothing_else(fleet, tmp_path):
    """On a small file system of its own: 503 for triggers while it is full, reads go on, and it recovers by itself."""
    import subprocess
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False,
                                           capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        sim = fleet.simulator()
        gateway = fleet.gateway(sim, audit={"directory": str(disk / "audit")})
        assert gateway.request("POST", RUN).status == 202
        ballast = disk / "ballast"
        try:
            with open(ballast, "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
        except OSError:
            pass
        wait_for(lambda: gateway.request("POST", RUN).status == 503, 20, "503 on a full disk")
        refused = len(sim.ledger())
        answer = gateway.request("POST", RUN)
        assert answer.status == 503 and answer.json()["errorCode"] == "JobgateUnavailable"
        assert int(answer.get("Retry-After")) >= 1 and len(sim.ledger()) == refused
        assert gateway.request("GET", f"{BASE}/instances").status == 200
        assert gateway.admin("/healthz").status == 200
        assert gateway.metrics()["jobgate_audit_up"] == 0 and gateway.admin("/readyz").status == 503
        ballast.unlink()
        wait_for(lambda: gateway.request("POST", RUN).status == 202, 20, "recovery")
        gateway.stop()
        assert {r["request_id"] for r in gateway.records("intent")} == {r["request_id"] for r in gateway.records("outcome")}
        assert verify_journal(disk / "audit").returncode == 0
    finally:
        fleet.stop()
        subprocess.run(["umount", str(disk)], check=False)
