"""Damage in the middle of a journal: the start is refused, goes on after one act on record, and every reader tells of it."""

import glob
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

from harness import BASE, binary, verify_journal
from test_audit_search import directory, search
from test_collect import bench, server  # noqa: F401 (fixtures)

RUN = f"{BASE}/RunNotebook/instances"


def jobgate(*arguments, code=0, **more):
    done = subprocess.run([binary("jobgate"), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **more)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def journal_file(gateway):
    return sorted(glob.glob(os.path.join(directory(gateway), "*.jsonl")))[-1]


def spoil(file, line, text=b"garbage\n"):
    """Put TEXT in the place of a line; what stood there."""
    with open(file, "rb") as f:
        lines = f.read().splitlines(keepends=True)
    was, lines[line - 1] = lines[line - 1], text
    with open(file, "wb") as f:
        f.write(b"".join(lines))
    return was


@pytest.fixture
def damaged(fleet):
    """A stopped gateway that has taken four runs, and of whose journal the second intent was overwritten."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    for _ in range(4):
        assert gateway.request("POST", RUN).status == 202
    gateway.stop()
    intents = [r["seq"] for r in gateway.records("intent")]
    gateway.lost = json.loads(spoil(journal_file(gateway), intents[1]))
    gateway.line = intents[1]
    return gateway


def start(fleet, gateway, ready=True):
    return fleet.gateway(0, folder=gateway.folder, config=gateway.config, ready=ready)


def good_records(folder):
    """The records of the lines that are some."""
    found = []
    for name in sorted(glob.glob(os.path.join(str(folder), "*.jsonl"))):
        with open(name, "rb") as file:
            for line in file.read().split(b"\n"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    pass
    return found


def advice(fleet, gateway):
    """The command that a refused start names, as words."""
    refused = start(fleet, gateway, ready=False)
    assert refused.wait() == 1
    fleet.processes.remove(refused)
    words = re.search(r"jobgate (audit accept .* --reason) TEXT", refused.tail()).group(1)
    assert f"{journal_file(gateway)}:" in refused.tail()
    return shlex.split(words)


def test_refused_accepted_and_told_ever_after(fleet, damaged):
    words = advice(fleet, damaged)
    assert words[2] == directory(damaged) and words[4] == f"{os.path.basename(journal_file(damaged))}:{damaged.line}"
    with open(journal_file(damaged), "rb") as file:
        before = file.read()
    jobgate(*words, "bad sectors, ticket 17", "--by", "ana")
    assert open(journal_file(damaged), "rb").read().startswith(before), "the damage stays as it is"
    again = start(fleet, damaged)
    assert again.request("POST", RUN).status == 202
    again.stop()
    records = good_records(directory(damaged))
    record, = [r for r in records if r["kind"] == "repair"]
    assert (record["file"], record["line"]) == (os.path.basename(journal_file(damaged)), damaged.line)
    assert (record["by"], record["reason"], record["bytes"]) == ("ana", "bad sectors, ticket 17", len("garbage\n"))
    assert record["what"] == "it does not end as a record does"
    assert (record["before_seq"], record["after_seq"]) == (damaged.line - 1, damaged.line + 1)
    verdict = verify_journal(directory(damaged))
    assert verdict.returncode == 3 and "ACCEPTED DAMAGE at" in verdict.stdout and f":{damaged.line}, by" in verdict.stdout
    assert f"seq {record['seq']};" in verdict.stdout
    found = search("--json", directory(damaged), code=1)
    triggers = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(triggers) == 4 and triggers[-1]["result"] == "accepted" and damaged.lost["request_id"] not in {t["request_id"] for t in triggers}
    assert "1 lines are no records" in found.stderr and f"missing {damaged.line} to {damaged.line}" in found.stderr


def test_one_act_is_for_one_place(fleet, damaged):
    """A second damage is refused again, a running gateway's journal is not touched, and a good one has nothing to accept."""
    words = advice(fleet, damaged)
    jobgate(*words, "first")
    again = start(fleet, damaged)
    assert "is locked by process" in jobgate(*words, "while it runs", code=1)
    again.stop()
    assert "no start is refused over" in jobgate(*words, "again", code=1)
    spoil(journal_file(damaged), damaged.line + 3)
    more = advice(fleet, damaged)
    assert more[4].endswith(f":{damaged.line + 3}")
    assert verify_journal(directory(damaged)).returncode == 1
    jobgate(*more, "second")
    start(fleet, damaged).stop()
    verdict = verify_journal(directory(damaged))
    assert verdict.returncode == 3 and "2 such places" in verdict.stdout
    assert len([r for r in good_records(directory(damaged)) if r["kind"] == "repair"]) == 2


def test_what_is_wrong_is_said(fleet, damaged):
    place = f"{os.path.basename(journal_file(damaged))}:{damaged.line}"
    for wrong in (["--record", place], ["--reason", "x"], ["--record", "x", "--reason", "y"], ["--record", f"{place}0x", "--reason", "y"],
                  ["--record", place, "--reason", ""], ["--record", place, "--reason", "x", "--what", "y"]):
        assert "usage:" in jobgate("audit", "accept", directory(damaged), *wrong, code=2)
    assert "audit accept" in jobgate("audit", "accept", "--help")
    assert "No such file" in jobgate("audit", "accept", "/nowhere", "--record", place, "--reason", "x", code=1)
    assert "is damaged at" in jobgate("audit", "accept", directory(damaged), "--record", f"{place}1", "--reason", "x", code=1)
    assert verify_journal(directory(damaged)).returncode == 1


def test_root_leaves_files_to_their_owner(fleet, damaged):
    """Whoever is on call is root; what is written must be the gateway's own to write on."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    words = advice(fleet, damaged)
    folder = os.path.join(damaged.folder, "owned")
    shutil.copytree(directory(damaged), folder)
    for path in [folder, *glob.glob(os.path.join(folder, "*"))]:
        os.chown(path, 65534, 65534)
    at = damaged.folder
    while at != "/":
        os.chmod(at, os.stat(at).st_mode | 0o711)
        at = os.path.dirname(at)
    jobgate("audit", "accept", folder, *words[3:], "as root")
    assert {os.stat(path).st_uid for path in glob.glob(os.path.join(folder, "*"))} == {65534}
    assert verify_journal(folder).returncode == 3


def test_the_collector_goes_on_behind_it(fleet, damaged, bench):     # noqa: F811
    """It stops at the damage until that is accepted, then has all that is a record, the one that accepts among them."""
    stopped = bench.once(directory(damaged), code=1)
    assert f":{damaged.line}: " in stopped.events("collecting stopped")[0]["why"]
    jobgate(*advice(fleet, damaged), "known")
    passed = bench.once(directory(damaged)).events("accepted damage passed")[0]
    assert (passed["line"], passed["file"]) == (damaged.line, os.path.basename(journal_file(damaged)))
    assert bench.stored() == good_records(directory(damaged))
    assert bench.sql("SELECT first_seq, last_seq FROM jobgate_gap") == [[str(damaged.line)] * 2]
    again = start(fleet, damaged)
    again.request("POST", RUN)
    again.stop()
    bench.once(directory(damaged))
    assert bench.stored() == good_records(directory(damaged))
    spoil(journal_file(damaged), damaged.line, b"Garbage\n")
    assert bench.once(directory(damaged)).lines is not None     # it was passed before
    assert verify_journal(directory(damaged)).returncode == 1


@pytest.mark.parametrize("text", [b"", b"x" * 200000 + b"\n", b"a\nb\nc\n"], ids=["missing", "long", "lines"])
def test_the_collector_and_any_damage(fleet, damaged, bench, text):     # noqa: F811
    spoil(journal_file(damaged), damaged.line, text)
    jobgate(*advice(fleet, damaged), "known")
    bench.once(directory(damaged))
    assert bench.stored() == good_records(directory(damaged))
