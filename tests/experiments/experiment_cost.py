"""What it costs: Redis commands under overload, the processor's time of a refusal and of ten thousand callers."""

import asyncio
import os
import sys
import time

from bench import Experiment, callers_config, key_of, show_quota, simulator, start_gateways
from load import RUN, Client, Mix, offer
from redis_count import commands_of_clients, since

TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid):
    """User and system time of a process, all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def run_commands(e):
    o = e.options
    sim, redis = simulator(e, o.quota, o.window), e.fleet.redis()
    gateways = start_gateways(e, sim, redis, o.quota, o.window)
    before, begun = commands_of_clients(redis), time.monotonic()
    fates = asyncio.run(offer(o.times * o.quota / o.window, o.seconds, Mix(e, gateways)))
    commands, seconds = since(redis, before), time.monotonic() - begun
    told = sum(value for g in gateways for name, value in g.metrics().items() if name.startswith("jobgate_store_commands_total"))
    admitted = len(sim.ledger())
    show_quota(e, sim.ledger(), o.quota, o.window)
    e.figure("requests offered", len(fates))
    e.figure("requests admitted", admitted, at_least=0.9 * o.quota / o.window * o.seconds)
    e.none("requests without an answer", [f for f in fates if f is None or not f.status])
    e.figure("Redis commands", commands, at_least=1)
    # What the instances count themselves has to agree with what Redis counted; greetings and PINGs are not in their count.
    e.figure("  by the instances' own count", int(told), at_most=commands)
    e.shows("Redis commands per offered request", commands / len(fates), at_most=0.2)
    e.shows("Redis commands per admitted one, less 2 a second and instance",
            max(0.0, commands - 2 * seconds * len(gateways)) / admitted, at_most=1.2)


async def exchange(clients, count):
    """COUNT submissions on all connections, one after the other on each; their fates."""
    numbers, fates = iter(range(count)), []

    async def share(client):
        for number in numbers:
            fates.append(await client.request("POST", RUN, b'{"executionData":{"number":%d}}' % number))
    await asyncio.gather(*(share(client) for client in clients))
    return fates


class Meter:
    """Sums of what requests of one kind cost."""

    def __init__(self, gateway, redis, caller):
        self.gateway, self.redis = gateway, redis
        self.clients = [Client(gateway.port, key_of(caller)) for _ in range(8)]
        self.processor = self.seconds = 0.0
        self.commands, self.fates = 0, []

    async def run(self, count):
        before, spent, begun = commands_of_clients(self.redis), processor_seconds(self.gateway.pid), time.monotonic()
        self.fates += await exchange(self.clients, count)
        self.processor += processor_seconds(self.gateway.pid) - spent
        self.seconds += time.monotonic() - begun
        self.commands += since(self.redis, before)

    @property
    def each(self):
        return self.processor / len(self.fates) * 1e6


async def rounds(o, forwarding, refusing):
    """One kind after the other, several times, so that both meet the same machine."""
    await exchange(refusing.clients[:1], 4)      # the narrow quota is used up
    for _ in range(o.rounds):
        await forwarding.run(o.exchanges)
        await refusing.run(o.exchanges)


def run_refusing(e):
    o = e.options
    sim, redis = e.fleet.simulator("--job-seconds", 3600), e.fleet.redis()
    callers = [{**caller, "identity": caller["name"]} for caller in callers_config(("wide", "narrow"))]
    gateway, = start_gateways(e, sim, redis, 2, 3600, 1, callers=callers, wait=1.0, identities=[
        {"name": "wide", "quota": {"requests": 10000000, "window": "10s"}},
        {"name": "narrow", "quota": {"requests": 2, "window": "1h", "burst": 1}}], audit={"directory": "audit"})
    time.sleep(1)           # its greetings
    before, begun = commands_of_clients(redis), time.monotonic()
    time.sleep(o.idle)      # what an instance asks that has nothing to do
    idle = since(redis, before) / (time.monotonic() - begun)
    forwarding, refusing = Meter(gateway, redis, "wide"), Meter(gateway, redis, "narrow")
    asyncio.run(rounds(o, forwarding, refusing))
    for name, meter, status in (("forwarded", forwarding, 202), ("refused", refusing, 429)):
        e.none(f"{name}: other answers than {status}", [f for f in meter.fates if f.status != status])
        e.figure(f"{name}: requests", len(meter.fates))
        e.figure(f"{name}: requests a second", len(meter.fates) / meter.seconds)
        e.figure(f"{name}: processor time of the gateway, each", meter.each, unit="us")
        e.figure(f"{name}: Redis commands", meter.commands)
    e.figure("Redis commands a second of an idle instance, for each of its two identities", idle / 2, at_most=2.0)
    e.shows("processor time of a refusal, of a forwarded request's", refusing.each / forwarding.each, at_most=0.35)
    # An instance says once a second that it lives, whoever is refused; one more for the edges of each round.
    extra = refusing.commands - max(idle, 1.0) * refusing.seconds - o.rounds
    e.shows("Redis commands for refusals", max(0, int(extra)), exactly=0)


async def turns(o, meters):
    """Each in its turn, in the other order every time, so that all meet the same machine."""
    for n in range(o.rounds * 2):
        for meter in meters if n % 2 else reversed(meters):
            await meter.run(o.exchanges)


def run_callers(e):
    """Whether a request costs more where many callers are configured."""
    o = e.options
    redis = e.fleet.redis()
    meters = []
    for count in (1, o.callers):
        names = [f"caller{n}" for n in range(count)]
        sim = e.fleet.simulator("--job-seconds", 3600)
        gateway, = start_gateways(e, sim, redis, 10000000, 10, 1, callers=callers_config(names), audit={"directory": "audit"},
                                  store={"redis": redis.url, "prefix": f"with{count}"})
        meters.append(Meter(gateway, redis, names[-1]))
    few, many = meters
    asyncio.run(turns(o, meters))
    for name, meter in (("1 caller", few), (f"{o.callers} callers", many)):
        e.none(f"{name}: other answers than 202", [f for f in meter.fates if f.status != 202])
        e.figure(f"{name}: processor time of the gateway, each of {len(meter.fates)}", meter.each, unit="us")
    e.shows(f"processor time of a request with {o.callers} callers, of that with one", many.each / few.each, at_most=1.05)


def main():
    with Experiment("cost: commands, refusals, callers", {"commands": run_commands, "refusing": run_refusing, "callers": run_callers},
                    quota=200, window=10.0, times=10.0, seconds=40.0, idle=5.0, exchanges=3000, rounds=3, callers=10000) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
