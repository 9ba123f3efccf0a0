"""jobgate audit search: who started what, over several instances' journals, while they are written."""

import csv
import hmac
import io
import json
import os
import shutil
import subprocess

import pytest

from harness import BASE, binary, key_of, sha256

RUN = f"{BASE}/RunNotebook/instances"
CALLERS = [{"name": name, "keys": [{"id": f"{name}-1", "sha256": sha256(key_of(name))}]} for name in ("etl", "reports")]


def search(*arguments, code=0):
    done = subprocess.run([binary("jobgate"), "audit", "search", *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def found(*arguments, code=0):
    return [json.loads(line) for line in search("--json", *arguments, code=code).stdout.splitlines()]


def ask(gateway, name, target=RUN, **headers):
    with gateway.connect() as c:
        return c.request("POST", target, [("X-API-Key", key_of(name)), *headers.items()], b'{"executionData": {}}')


def directory(gateway):
    return os.path.join(gateway.folder, "audit")


def digest(config, body, code=0):
    done = subprocess.run([binary("jobgate"), "audit", "digest", "--config", config], input=body, capture_output=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return (done.stdout or done.stderr).decode().strip()


def test_a_body_is_found_by_its_keyed_digest(fleet, tmp_path):
    """Before the file is renewed and after, each with the key of its time; the record of the configuration says that there is one."""
    file, body = tmp_path / "digest-key", b'{"executionData": {}}'
    file.write_text("first-key-0123456789\n")
    config = fleet.config(fleet.simulator().port, callers=CALLERS)
    config["audit"]["digest_key"] = {"file": str(file)}
    gateway = fleet.gateway(1, config=config)
    assert ask(gateway, "etl").status == 202
    first = digest(gateway.config_file, body)
    assert first == hmac.new(b"first-key-0123456789", body, "sha256").hexdigest()
    file.write_text("second-key-0123456789")
    gateway.wait_event("configuration reloaded")
    assert ask(gateway, "etl").status == 202
    second = digest(gateway.config_file, body)
    assert second == hmac.new(b"second-key-0123456789", body, "sha256").hexdigest()
    gateway.wait_records("outcome", 2)
    triggers = [found("--body", text, directory(gateway)) for text in (first, second, sha256(body.decode()))]
    assert [len(t) for t in triggers] == [1, 1, 0] and triggers[0][0]["seq"] < triggers[1][0]["seq"]
    assert [r["body_digest"] for r in gateway.records("config")] == ["hmac-sha256"] * 2
    file.write_text("too-short")
    assert "audit.digest_key: must be 16 bytes or more, is 9" in gateway.wait_event("reload refused")["message"]
    assert "must be 16 bytes or more" in digest(gateway.config_file, body, code=2)
    assert not any("-key-0123456789" in line for line in gateway.lines)


@pytest.fixture
def two(fleet):
    """Two instances that have taken six triggers in turn, one of them refused and one rejected."""
    sim = fleet.simulator()
    gateways = [fleet.gateway(sim, callers=CALLERS, instance=f"gate{n}") for n in range(2)]
    for n in range(4):
        assert ask(gateways[n % 2], ("etl", "reports")[n // 2], **{"X-Request-Id": f"mine-{n}"}).status == 202
    assert ask(gateways[0], "etl", f"{BASE}/instances").status == 400
    assert ask(gateways[1], "etl", **{"X-Fabricsim-Fault": "403"}).status == 403
    return gateways


def test_one_line_for_each_trigger_merged_by_time(two):
    triggers = found(*map(directory, two))
    assert [t["client_request_id"] for t in triggers] == ["mine-0", "mine-1", "mine-2", "mine-3", None, None]
    assert [t["result"] for t in triggers] == ["accepted"] * 4 + ["refused", "rejected"]
    assert [t["instance"] for t in triggers] == ["gate0", "gate1"] * 3
    assert triggers == sorted(triggers, key=lambda t: t["time"])
    by_request = {r["request_id"]: r for g in two for r in g.records("outcome")}
    for t in triggers:
        outcome = by_request.get(t["request_id"])
        if outcome:
            assert {k: t[k] for k in ("status", "answered", "location", "instance_id", "attempts", "wait_ms")} == {
                k: outcome[k] for k in ("status", "answered", "location", "instance_id", "attempts", "wait_ms")}
            assert t["outcome_seq"] == outcome["seq"] > t["seq"]


def test_every_filter(two):
    directories = [directory(g) for g in two]
    everything = found(*directories)
    for flag, member in (("caller", "caller"), ("key", "key"), ("operation", "operation"), ("result", "result"),
                         ("job-type", "job_type"), ("workspace", "workspace"), ("item", "item"), ("request-id", "request_id"),
                         ("client-request-id", "client_request_id"), ("instance-id", "instance_id"), ("body", "body_sha256"),
                         ("peer", "peer"), ("identity", "identity")):
        for value in {t[member] for t in everything if t[member] is not None}:
            assert found(f"--{flag}={value}", *directories) == [t for t in everything if t[member] == value], (flag, value)
    assert found("--job-type", "runnotebook", "--caller", "etl", "--result", "accepted", *directories) == everything[:2]
    third = everything[2]["time"]
    assert found("--since", third, *directories) == everything[2:]
    assert found("--until", third, *directories) == everything[:2]
    assert found("--since", "1h", *directories) == everything and not found("--until", "1h", *directories)
    assert not found("--since", "2099-01-01", *directories)


def test_csv_and_table_say_the_same(two):
    directories = [directory(g) for g in two]
    everything = found(*directories)
    rows = list(csv.DictReader(io.StringIO(search("--csv", *directories).stdout)))
    assert [row["request_id"] for row in rows] == [t["request_id"] for t in everything]
    assert list(rows[0]) == list(everything[0])
    table = search(*directories).stdout.splitlines()
    assert table[0].split()[:2] == ["TIME", "CALLER"]
    assert [line.split()[-1] for line in table[1:]] == [t["request_id"] for t in everything]


def test_what_is_missing_is_said(two, tmp_path):
    copy = tmp_path / "copy"
    two[0].stop()
    shutil.copytree(directory(two[0]), copy)
    name, = (f for f in os.listdir(copy) if f.endswith(".jsonl"))
    lines = (copy / name).read_text().splitlines(keepends=True)
    (copy / name).write_text("".join(lines[:2] + lines[4:5] + ["not a record\n"] + lines[5:]) + lines[0][:30])
    done = search("--json", copy, code=1)
    assert "missing 3 to 4" in done.stderr and "1 lines are no records" in done.stderr and f"{name}:4" in done.stderr
    assert "seq 1 to" in done.stderr and two[0].records()[0]["journal"] in done.stderr
    open_one = json.loads(done.stdout.splitlines()[0])
    assert open_one["result"] is None, "its outcome is among what is missing"
    assert " open " in search(copy, code=1).stdout
    assert "no-such" in search(copy, tmp_path / "no-such", code=1).stderr


def test_follow(two):
    process = subprocess.Popen([binary("jobgate"), "audit", "search", "--json", "--follow", "--caller=reports", *map(directory, two)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert [json.loads(process.stdout.readline())["client_request_id"] for _ in range(2)] == ["mine-2", "mine-3"]
        for n in range(10, 14):
            assert ask(two[n % 2], "etl").status == 202
            assert ask(two[n % 2], "reports", **{"X-Request-Id": f"mine-{n}"}).status == 202
            trigger = json.loads(process.stdout.readline())
            assert (trigger["client_request_id"], trigger["result"]) == (f"mine-{n}", "accepted")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("arguments", [[], ["--caller"], ["--caller=", "."], ["--sometimes", "."], ["--since", "yesterday", "."],
                                       ["--since=2026-13-01", "."], ["--json"]])
def test_usage(arguments):
    assert "usage: jobgate audit search" in search(*arguments, code=2).stderr


def test_help():
    assert "--since TIME" in search("--help").stdout


def test_a_replay_is_a_line_that_names_the_first(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, callers=CALLERS)
    answers = [ask(gateway, "etl", **{"Idempotency-Key": "k", "X-Request-Id": f"mine-{n}"}) for n in range(3)]
    gateway.wait_records("replay", 2)
    first, *again = found(directory(gateway))
    assert (first["result"], first["first_request_id"]) == ("accepted", None)
    assert [(t["result"], t["answered"], t["client_request_id"], t["first_request_id"]) for t in again] == [
        ("replayed", 202, f"mine-{n}", answers[0].get("X-Request-Id")) for n in (1, 2)]
    assert found("--first-request-id", first["request_id"].upper(), directory(gateway)) == again == found("--result", "replayed", directory(gateway))
    assert found("--result", "accepted", directory(gateway)) == [first]
    assert len(search("--csv", directory(gateway)).stdout.splitlines()) == 4
