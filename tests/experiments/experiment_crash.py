"""P2 and P5 over crashes: an instance is killed again and again under load and started on the same journal.

Some of the starts are killed too, within their recovery. In the end every byte of the journal is worth something: any
one changed makes `jobgate audit verify` fail.
"""

import asyncio
import os
import shutil
import sys
import time

from bench import Experiment, outcomes_by_request, show_journal, twice
from harness import BASE, KEY, field, read_journal, verify_journal
from load import Client


class Submitters:
    """Connections that submit one job after the other, and go on where their instance went away under them."""

    def __init__(self, port, connections):
        self.clients = [Client(port, KEY) for _ in range(connections)]
        self.fates, self.count, self.ended = [], 0, False

    async def _submit(self, client):
        while not self.ended:
            self.count += 1
            fate = await client.request("POST", f"{BASE}/RunNotebook/instances",
                                        b'{"executionData":{"number":%d}}' % self.count)
            if fate.error == "not connected":
                await asyncio.sleep(0.005)
            else:
                self.fates.append(fate)

    async def run(self, meanwhile):
        """Submit as long as MEANWHILE, a function of blocking steps, takes in its thread."""
        tasks = [asyncio.create_task(self._submit(client)) for client in self.clients]
        try:
            return await asyncio.to_thread(meanwhile)
        finally:
            self.ended = True
            await asyncio.gather(*tasks)


class Crashes:
    """Kills the gateway and looks at what it left, before and after its successor has recovered."""

    def __init__(self, e, sim, gateway):
        self.e, self.sim, self.gateway = e, sim, gateway
        self.directory = os.path.join(gateway.folder, "audit")
        self.early = 0
        self.unrecorded, self.wrong, self.starts = [], [], []

    def run(self):
        for _ in range(self.e.options.kills):
            time.sleep(self.e.random.uniform(0.1, self.e.options.life))     # the moment of the crash is the experiment
            self.gateway.kill()
            self._look_at_the_dead()
            while self.e.random.random() < 0.25:
                self._start(ready=False)
                time.sleep(self.e.random.uniform(0, 0.03))
                self.gateway.kill()
                self.early += 1
            begun = time.monotonic()
            self._start(ready=True)
            self.starts.append(time.monotonic() - begun)
            self._look_at_the_risen()

    def _start(self, ready):
        old = self.gateway
        self.gateway = self.e.fleet.gateway(self.sim, folder=old.folder, config=old.config, ready=ready)

    def _look_at_the_dead(self):
        """What arrived upstream so far stands in the files, whatever the process still held in memory."""
        ledger = self.sim.ledger()
        self.intents = {r["request_id"] for r in read_journal(self.directory, "intent")}
        self.unrecorded += [entry for entry in ledger if field(entry, "X-Request-Id")[0] not in self.intents]

    def _look_at_the_risen(self):
        """All intents of the dead have their one outcome once the successor serves."""
        outcomes = outcomes_by_request(read_journal(self.directory, "outcome"))
        self.wrong += [i for i in self.intents if len(outcomes.get(i, ())) != 1]


class Damage:
    """Changes one byte at a time of a journal's copy and remembers the changes that verify did not notice."""

    def __init__(self, directory):
        self.copy = directory + "-copy"
        shutil.copytree(directory, self.copy)
        self.files = sorted(os.path.join(self.copy, name) for name in os.listdir(self.copy) if name.endswith(".jsonl"))
        self.sizes = [os.path.getsize(name) for name in self.files]
        self.size = sum(self.sizes)
        self.count, self.unnoticed = 0, []

    def last_line(self):
        """The positions of the last record's bytes, its newline included."""
        with open(self.files[-1], "rb") as file:
            return range(self.size - len(file.readlines()[-1]), self.size)

    def change(self, at, change):
        which = 0
        while at >= self.sizes[which]:
            at, which = at - self.sizes[which], which + 1
        with open(self.files[which], "r+b", buffering=0) as file:
            old = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([old[0] ^ change]), at)
            done = verify_journal(self.copy)
            os.pwrite(file.fileno(), old, at)
        self.count += 1
        if done.returncode != 1:
            self.unnoticed.append((os.path.basename(self.files[which]), at, old, change, done.returncode, done.stderr))


def show_damage(e, directory):
    damage = Damage(directory)
    e.figure("bytes of the journal", damage.size)
    e.figure("segments", len(damage.files))
    for number in range(e.options.bytes):
        # A third of the changes are a letter's case, which a lenient parser of hexadecimal would not see.
        damage.change(e.random.randrange(damage.size), 0x20 if number % 3 == 0 else e.random.randrange(1, 256))
    e.figure("single bytes changed, anywhere", damage.count)
    # No later record's `prev` vouches for the last one: each byte of it is tried, its newline among them.
    for at in damage.last_line()[::-e.options.stride]:
        damage.change(at, e.random.randrange(1, 256))
    e.figure("single bytes changed, with those of the last record", damage.count)
    e.none("changes that verify did not fail on", damage.unnoticed)
    e.figure("verify of the copy put right again, exit code", verify_journal(damage.copy).returncode, exactly=0)


def main():
    with Experiment("crash: kill -9 under load, again and again, on one journal", kills=20, life=0.8, connections=12,
                    latency=20, bytes=300, stride=1) as e:
        o = e.options
        sim = e.fleet.simulator("--latency", o.latency)
        gateway = e.fleet.gateway(sim)
        submitters, crashes = Submitters(gateway.port, o.connections), Crashes(e, sim, gateway)
        asyncio.run(submitters.run(crashes.run))
        crashes.gateway.stop()
        records, ledger = read_journal(crashes.directory), sim.ledger()
        fates = submitters.fates
        e.figure("kills under load", o.kills)
        e.figure("kills within a start", crashes.early)
        e.figure("from start to ready, longest", max(crashes.starts) * 1000, unit="ms")
        e.figure("starts that cut a torn tail", sum(r["kind"] == "recover" and bool(r["torn_bytes"]) for r in records))
        e.figure("submissions sent", len(fates))
        e.figure("  answered 202", sum(f.status == 202 for f in fates))
        e.figure("  cut by a crash", sum(bool(f.error) for f in fates), at_least=1)
        e.none("answers other than 202", [f for f in fates if f.status not in (0, 202)])
        e.none("arrived upstream, and not in the files when the gateway was dead", crashes.unrecorded)
        e.none("intents of the dead without one outcome when the successor was ready", crashes.wrong)
        show_journal(e, records, ledger)
        outcomes = outcomes_by_request(records)
        for result in ("accepted", "unknown", "cancelled", "failed", "refused", "rejected"):
            e.figure(f"outcomes: {result}", sum(r["kind"] == "outcome" and r["result"] == result for r in records))
        results = {name: [r["result"] for r in found] for name, found in outcomes.items()}
        e.none("202 that a client received without its outcome `accepted`",
               [f for f in fates if f.status == 202 and results.get(f.request_id) != ["accepted"]])
        e.none("request ids seen twice upstream", twice(field(entry, "X-Request-Id")[0] for entry in ledger))
        e.none("bodies seen twice upstream", twice(entry["body_sha256"] for entry in ledger))
        e.figure("jobgate audit verify, exit code", verify_journal(crashes.directory).returncode, exactly=0)
        show_damage(e, crashes.directory)
    sys.exit(e.finish())


main()
