"""P2, P3 and P5 over a fleet that dies: three instances on one Redis, one of them killed -9 every few seconds under load.

What is compared is streamed from files, so that its size is bounded by nothing but the disk.
"""

import asyncio
import collections
import glob
import json
import os
import sys
import time

from bench import Experiment
from harness import BASE, KEY, field, parse_time, verify_journal
from load import Client

INSTANCES = 3


class Load:
    """Connections that submit one job after the other, each to an instance of its own; what of it is to be compared."""

    def __init__(self, ports, connections, count, seconds):
        self.clients = [Client(ports[n % len(ports)], KEY) for n in range(connections)]
        self.left, self.ends = count, time.monotonic() + seconds
        self.sent = self.cut = 0
        self.accepted, self.others = [], collections.Counter()

    async def _submit(self, client):
        while self.left > 0 and time.monotonic() < self.ends:
            self.left -= 1
            fate = await client.request("POST", f"{BASE}/RunNotebook/instances", b'{"executionData":{"n":%d}}' % self.left)
            if fate.error == "not connected":
                self.left += 1
                await asyncio.sleep(0.01)       # its instance is being started
                continue
            self.sent += 1
            self.cut += bool(fate.error)
            if fate.status == 202:
                self.accepted.append(fate.request_id)
            elif fate.status:
                self.others[f"{fate.status} {fate.code}"] += 1

    async def run(self):
        await asyncio.gather(*(self._submit(client) for client in self.clients))


class Killer:
    """Kills an instance at random again and again, and starts it on the same journal."""

    def __init__(self, e, sim, gateways):
        self.e, self.sim, self.gateways = e, sim, gateways
        self.kills, self.starts, self.ended = 0, [], False

    def run(self):
        while not self.ended:
            until = time.monotonic() + self.e.random.uniform(0.5, 1.5) * self.e.options.every
            while time.monotonic() < until and not self.ended:
                time.sleep(0.05)                # the moment of the crash is the experiment
            if not self.ended:
                self._kill(self.e.random.randrange(len(self.gateways)))

    def _kill(self, n):
        old = self.gateways[n]
        old.kill()
        self.e.fleet.processes.remove(old)      # else its whole journal is searched for secrets once per kill
        begun = time.monotonic()
        self.gateways[n] = self.e.fleet.gateway(self.sim, folder=old.folder, config=old.config)
        self.starts.append(time.monotonic() - begun)
        self.kills += 1


def lines(pattern):
    for name in sorted(glob.glob(pattern)):
        with open(name, encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


class Records:
    """What all journals say of each request id."""

    def __init__(self, folders):
        self.intents, self.results, self.kinds = {}, collections.defaultdict(list), collections.Counter()
        for folder in folders:
            for r in lines(os.path.join(folder, "audit", "*.jsonl")):
                self.kinds[r["kind"]] += 1
                if r["kind"] == "intent":
                    self.intents[r["request_id"]] = parse_time(r["time"])
                elif r["kind"] == "outcome":
                    self.results[r["request_id"]].append(r["result"])
                    self.kinds["outcome " + r["result"]] += 1


def show_ledger(e, sim, records):
    seen, late, unrecorded, twice = set(), [], [], []
    for entry in lines(sim.ledger_file):
        name = field(entry, "X-Request-Id")[0]
        if name not in records.intents:
            unrecorded.append(name)
        elif records.intents[name] > parse_time(entry["time"]):
            late.append(name)
        if name in seen:
            twice.append(name)
        seen.add(name)
    e.figure("requests in the upstream's ledger", len(seen))
    e.figure("  of them with the outcome `unknown`", sum(records.results[name] == ["unknown"] for name in seen))
    e.none("ledger entries without an intent", unrecorded)
    e.none("ledger entries earlier than their intent", late)
    e.none("request ids seen twice upstream", twice)


def main():
    with Experiment("kills: three instances on one Redis, killed -9 at random, under load", count=300000, seconds=3000,
                    connections=48, every=5.0, latency=5) as e:
        o = e.options
        sim, redis = e.fleet.simulator("--latency", o.latency), e.fleet.redis()
        gateways = [e.fleet.gateway(sim, store={"redis": redis.url}, instance=f"gate{n}") for n in range(INSTANCES)]
        load, killer = Load([g.port for g in gateways], o.connections, o.count, o.seconds), Killer(e, sim, gateways)

        async def both():
            kills = asyncio.create_task(asyncio.to_thread(killer.run))
            await load.run()
            killer.ended = True
            await kills
        begun = time.monotonic()
        asyncio.run(both())
        took = time.monotonic() - begun
        for gateway in killer.gateways:
            gateway.stop()
        e.figure("submissions sent", load.sent)
        e.figure("  a second", load.sent / took)
        e.figure("  answered 202", len(load.accepted), at_least=1)
        e.figure("  cut by a crash", load.cut)
        for answer, count in sorted(load.others.items()):
            e.figure(f"  answered {answer}", count)
        e.figure("kills", killer.kills, at_least=1)
        e.figure("from start to ready, longest", max(killer.starts, default=0.0) * 1000, unit="ms")
        records = Records([g.folder for g in gateways])
        for kind, count in sorted(records.kinds.items()):
            e.figure(f"records: {kind}", count)
        show_ledger(e, sim, records)
        e.none("202 that a client received without its one outcome `accepted`",
               [i for i in load.accepted if records.results.get(i) != ["accepted"]])
        e.none("intents without their one outcome in the end",
               [i for i in records.intents if len(records.results.get(i, ())) != 1])
        for gateway in gateways:
            e.figure("jobgate audit verify, exit code", verify_journal(os.path.join(gateway.folder, "audit")).returncode,
                     exactly=0)
    sys.exit(e.finish())


main()
