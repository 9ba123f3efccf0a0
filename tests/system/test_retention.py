"""audit.retention and audit.warn_free: what is deleted of a journal, what holds it, and what everybody is told."""

import datetime
import hashlib
import json
import os
import signal
import subprocess
import uuid

import pytest

from harness import BASE, binary
from wire import wait_for

RUN = f"{BASE}/DefaultJob/instances"
JOURNAL = "0b8f7f0e-7a0d-4a3e-9d3c-2f0f6a1c5e11"
NOW = datetime.datetime.now(datetime.timezone.utc)


def record(head, when, members):
    """The line after HEAD, chained as the journal does it."""
    seq, prev = head
    text = json.dumps({"v": 1, "journal": JOURNAL, "instance": "old", "seq": seq + 1,
                       "time": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), **members, "prev": prev}, separators=(",", ":"))[:-1]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (seq + 1, digest), f'{text},"hash":"{digest}"}}\n'


def old_journal(folder, days=(5, 4, 3)):
    """Write a file of two triggers for each of so many days ago; the last seq."""
    os.makedirs(folder, mode=0o750)
    head = (0, "0" * 64)
    for day in days:
        when = NOW - datetime.timedelta(days=day)
        name = f"{head[0] + 1:020d}-{when:%Y%m%d}.jsonl"
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            for _ in range(2):
                request = str(uuid.uuid4())
                for members in ({"kind": "intent", "request_id": request, "caller": "etl", "operation": "run"},
                                {"kind": "outcome", "request_id": request, "result": "accepted"}):
                    head, line = record(head, when, members)
                    file.write(line)
    return head[0]


def audit(*arguments):
    return subprocess.run([binary("jobgate"), "audit", *arguments], capture_output=True, text=True, timeout=60, check=False)


def start(fleet, folder, **settings):
    sim = fleet.simulator()
    config = fleet.config(sim.port)
    config["audit"] = {"directory": str(folder), **settings}
    return fleet.gateway(1, config=config)


def files(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".jsonl"))


def reasons(gateway):
    return json.loads(gateway.admin("/readyz").body)["reasons"]


def test_old_files_go_and_everybody_says_why(fleet, tmp_path):
    folder = tmp_path / "audit"
    last = old_journal(folder)
    gateway = start(fleet, folder, retention={"age": "2d"})
    assert gateway.request("POST", RUN).status == 202
    wait_for(lambda: files(folder)[0].startswith(f"{9:020d}-"))     # the third is followed by a record of today
    gone = [r for r in gateway.records("retention")]
    assert [(r["first_seq"], r["last_seq"], r["reason"]) for r in gone] == [(1, 4, "age"), (5, 8, "age")]
    assert gateway.metrics()["jobgate_audit_retention_up"] == 1 and gateway.metrics()["jobgate_audit_free_bytes"] > 0
    done = audit("verify", str(folder))
    assert done.returncode == 0 and "begins at seq 9" in done.stdout, done.stdout
    done = audit("search", str(folder))
    assert done.returncode == 0 and "; 1 to 8 deleted by audit.retention" in done.stderr, done.stderr
    done = audit("search", "--since", "1h", str(folder))
    assert done.returncode == 0 and "1 to 8 deleted by audit.retention" in done.stderr, done.stderr
    gateway.stop()
    os.unlink(folder / files(folder)[0])                            # which no record says
    done = audit("verify", str(folder))
    assert done.returncode == 1 and "no retention record" in done.stdout
    done = audit("search", str(folder))
    assert done.returncode == 1 and f"1 to {last} missing: no record says" in done.stderr, done.stderr


@pytest.mark.parametrize("bad", [None, "{}", json.dumps({"journal": "00000000-0000-4000-8000-000000000000", "seq": 99})])
def test_what_the_collector_has_not_taken_stays(fleet, tmp_path, bad):
    folder, taken = tmp_path / "audit", tmp_path / "collected.json"
    old_journal(folder)
    if bad is not None:
        taken.write_text(bad)
    gateway = start(fleet, folder, retention={"age": "2d", "collected": str(taken)})
    said = gateway.wait_event("audit retention deletes nothing")["why"]
    assert str(taken) in said
    assert "audit.retention deletes nothing (the log says why)" in reasons(gateway)
    assert gateway.metrics()["jobgate_audit_retention_up"] == 0
    assert files(folder)[0].startswith(f"{1:020d}-") and gateway.request("POST", RUN).status == 202
    os.replace(write(tmp_path / "new", json.dumps({"journal": JOURNAL, "seq": 7})), taken)
    gateway.wait_event("audit retention back")
    wait_for(lambda: files(folder)[0].startswith(f"{5:020d}-"))     # 5 to 8 has a record that was not taken
    assert not any("audit.retention" in reason for reason in reasons(gateway))
    assert audit("verify", str(folder)).returncode == 0


def write(path, text):
    path.write_text(text)
    return path


def test_little_space_is_said_and_taken_back(fleet, tmp_path):
    gateway = start(fleet, tmp_path / "audit", warn_free="1024TB")
    gateway.wait_event("audit space low")
    assert gateway.admin("/readyz").status == 200
    assert any("audit.warn_free" in reason for reason in reasons(gateway))
    assert gateway.request("POST", RUN).status == 202
    config = json.loads(open(gateway.config_file, encoding="utf-8").read())
    config["audit"]["warn_free"] = "0KB"
    gateway.write_config(config)
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("audit space back")
    assert not any("audit.warn_free" in reason for reason in reasons(gateway))
