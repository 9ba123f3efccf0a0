"""P2, P5 and P6 over an ill disk under the journal: full, failing and slow fdatasync; and well again.

Full: a small tmpfs, which needs root. Failing and slow: strace, attached to the journal's thread alone. What is not
permitted is said and left out.
"""

import asyncio
import os
import subprocess
import sys
import time

from bench import Experiment, percentile
from harness import BASE, KEY, field, parse_time, read_journal, verify_journal
from health import HealthProbes
from load import Client

RUN = f"{BASE}/RunNotebook/instances"


class Load:
    """Connections that submit one job after the other, a refused one's successor a little later."""

    def __init__(self, e, port):
        self.clients, self.fates, self.ended = [Client(port, KEY) for _ in range(e.options.connections)], [], False

    async def _submit(self, client):
        while not self.ended:
            fate = await client.request("POST", RUN, b'{"executionData":{"number":%d}}' % len(self.fates))
            self.fates.append(fate)
            await asyncio.sleep(0.02 if fate.status == 503 else 0)

    async def run(self, meanwhile):
        """Submit as long as MEANWHILE, a function of blocking steps, takes in its thread."""
        tasks = [asyncio.create_task(self._submit(client)) for client in self.clients]
        try:
            return await asyncio.to_thread(meanwhile)
        finally:
            self.ended = True
            await asyncio.gather(*tasks)


class Injected:
    """strace on the thread that writes the journal; it lets go when it is ended."""

    def __init__(self, gateway, fault):
        tasks = f"/proc/{gateway.process.pid}/task"
        self.thread = next(t for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm", encoding="ascii").read() == "audit\n")
        self.fault, self.process = fault, None

    def begin(self):
        self.process = subprocess.Popen(["strace", "-p", self.thread, "-o", "/dev/null", "-e", "trace=fdatasync", "-e",
                                         f"inject=fdatasync:{self.fault}"], stderr=subprocess.PIPE, text=True)
        said = self.process.stderr.readline()
        if "attached" not in said:
            self.process.wait()
            return said.strip() or "strace ended"
        return ""

    def end(self):
        self.process.terminate()
        self.process.wait()


class Full:
    """A file that takes all that is left of a file system."""

    def __init__(self, folder):
        self.ballast = os.path.join(folder, "ballast")

    def begin(self):
        try:
            with open(self.ballast, "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
        except OSError:
            return ""

    def end(self):
        os.unlink(self.ballast)


class Ill:
    """The disk is well, ill and well again, while jobs are submitted; .begun and .over are when."""

    def __init__(self, e, fault):
        self.e, self.fault, self.why = e, fault, ""
        self.begun = self.over = 0.0

    def run(self):
        time.sleep(1)                           # the load before, during and after is the experiment
        self.why = self.fault.begin()
        self.begun = time.monotonic()
        if self.why:
            return
        time.sleep(self.e.options.ill)
        self.fault.end()
        self.over = time.monotonic()
        time.sleep(6)


def show(e, ill, fates, sim, directory, refuses):
    during = [f for f in fates if ill.begun + 1 <= f.sent < ill.over]
    after = [f for f in fates if f.sent >= ill.over]
    e.figure("submissions while the disk was ill (from its second second on)", len(during), at_least=1)
    e.figure("  answered 202", sum(f.status == 202 for f in during))
    e.figure("  answered 503", sum(f.status == 503 for f in during))
    e.none("answers other than 202 and 503", [f for f in fates if f.status not in (202, 503)])
    if refuses:
        e.none("taken while the disk was ill", [f for f in during if f.status != 503])
        e.shows("longest until a 503", max(f.seconds for f in fates if f.status == 503), at_most=1, unit="s")
    else:
        e.none("refused because the disk was slow", [f for f in fates if f.status == 503])
        e.figure("median of an answer while it was slow", percentile([f.seconds for f in during], 0.5), unit="s")
    first = min((f.sent + f.seconds - ill.over for f in after if f.status == 202 and f.seconds < 0.4), default=99.0)
    e.shows("from the cause gone to a job taken at once", first, at_most=5, unit="s")
    show_records(e, [f.request_id for f in fates if f.status == 202], sim.ledger(), directory)


def show_records(e, accepted, ledger, directory):
    records = read_journal(directory)
    intents = {r["request_id"]: parse_time(r["time"]) for r in records if r["kind"] == "intent"}
    outcomes = {r["request_id"]: r["result"] for r in records if r["kind"] == "outcome"}
    names = [(field(entry, "X-Request-Id")[0], parse_time(entry["time"])) for entry in ledger]
    e.figure("requests that came to the upstream", len(names), at_least=1)
    e.none("of them without an earlier intent", [n for n, t in names if n not in intents or intents[n] > t], shows=True)
    e.none("202 without its outcome `accepted`", [n for n in accepted if outcomes.get(n) != "accepted"])
    e.none("intents without an outcome", [n for n in intents if n not in outcomes])
    e.figure("jobgate audit verify, exit code", verify_journal(directory).returncode, exactly=0)


def run_case(e, fault_of, refuses, audit="audit"):
    sim = e.fleet.simulator("--latency", 5)
    gateway = e.fleet.gateway(sim, audit={"directory": audit})
    ill, load, probes = Ill(e, fault_of(gateway)), Load(e, gateway.port), HealthProbes([gateway])
    asyncio.run(load.run(ill.run))
    probes.finish()
    gateway.stop()
    if ill.why:
        e.say(f"   left out: {ill.why}")
        return
    probes.show(e, e.options.health)
    show(e, ill, load.fates, sim, os.path.join(gateway.folder, audit), refuses)


def full(e):
    disk = os.path.join(e.fleet.folder, "disk")
    os.mkdir(disk)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        e.say(f"   left out: {done.stderr.strip()}")
        return
    try:
        run_case(e, lambda gateway: Full(disk), True, os.path.join(disk, "audit"))
    finally:
        subprocess.run(["umount", disk], check=False)


def failing(e):
    run_case(e, lambda gateway: Injected(gateway, "error=EIO"), True)


def slow(e):
    run_case(e, lambda gateway: Injected(gateway, "delay_enter=500000"), False)


def main():
    with Experiment("disk: full, failing and slow under the journal", {"full": full, "failing": failing, "slow": slow},
                    connections=8, ill=10.0, health=50.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
