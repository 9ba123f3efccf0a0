"""A disk that fails to sync takes records back that were never acknowledged: what the collector then has, and how it is put right."""

import glob
import os
import shutil
import subprocess

import pytest

from harness import read_journal, verify_journal
from test_audit_search import CALLERS, directory
from test_audit_search import ask as submit
from test_collect import bench, server  # noqa: F401 (fixtures)
from wire import wait_for

pytestmark = pytest.mark.timeout(170)


class Fault:
    """strace on the thread that writes the journal: its fdatasync fails as WHEN says, until this is ended."""

    def __init__(self, gateway, when):
        for file in glob.glob(f"/proc/{gateway.pid}/task/*/comm"):
            with open(file, encoding="ascii") as comm:
                if comm.read().strip() == "audit":
                    thread = file.split("/")[-2]
        self.process = subprocess.Popen(["strace", "-p", thread, "-e", "trace=fdatasync", "-e",
                                         f"inject=fdatasync:error=EIO:when={when}"], stderr=subprocess.PIPE, text=True)
        first = self.process.stderr.readline()
        if "attached" not in first:
            pytest.skip(f"strace: {first.strip()}")

    def end(self):
        """The injected failures that there were."""
        self.process.terminate()
        return sum("INJECTED" in line for line in self.process.stderr)


def first_disowned(stored, journal):
    """The seq from which on the journal has other records than are stored, or None."""
    by_seq = {r["seq"]: r["hash"] for r in journal}
    return next((r["seq"] for r in stored if by_seq.get(r["seq"]) != r["hash"]), None)


@pytest.mark.parametrize("when,stored", [("3+4", False), ("2+1", False), ("3+4:delay_enter=700000", True)])
def test_what_a_failing_fdatasync_takes_back(fleet, bench, when, stored):     # noqa: F811
    """Followed while its disk fails again and again: each time the file is cut to what was synced, and another is begun.

    What was cut before it was stored is read again. Where a record was stored all the same, nothing is stored on top of it:
    the collector stops and says so; a person puts it aside, and then all that the journal has is there, each record once.
    That it was stored (STORED) takes a disk that is long in failing.
    """
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, callers=CALLERS, workers=1)
    folder = directory(gateway)
    live = bench.collector(folder)
    bench.wait_count(1)
    fault = Fault(gateway, when)
    for _ in range(12):
        submit(gateway, "etl")
    failures = fault.end()
    assert failures > 0
    wait_for(lambda: submit(gateway, "etl").status == 202, what="recovery")
    gateway.stop()
    assert verify_journal(folder).returncode == 0
    wait_for(lambda: live.events("collecting stopped") or bench.count() == len(read_journal(folder)), what="all stored")
    if live.events("collecting stopped"):
        assert live.wait() == 1, "no other directory is left"
    else:
        live.stop(timeout=5)
    assert first_disowned(bench.stored(), read_journal(folder)) is not None or not stored
    while (seq := first_disowned(bench.stored(), read_journal(folder))) is not None:
        stopped, = bench.once(folder, code=1).events("collecting stopped")
        assert "was collected before" in stopped["why"] or "prev is not" in stopped["why"]
        journal = read_journal(folder)[0]["journal"]
        assert int(bench.sql(f"SELECT jobgate_disown('{journal}', {seq})")[0][0]) >= 1
    bench.once(folder)
    bench.check_all(folder)
    assert not any(os.path.getsize(name) == 0 for name in glob.glob(os.path.join(folder, "*.jsonl"))[:-1])
