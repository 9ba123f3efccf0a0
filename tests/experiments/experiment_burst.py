"""Bursts and the upstream's own word: 150 jobs at once after an idle minute, and one 429 that stops every instance."""

import asyncio
import sys

from bench import CALLERS, Experiment, arrivals, callers_config, field, key_of, ms, parse_time, percentile, show_journal, show_quota
from load import Client, Mix, offer

from harness import BASE

RUN = f"{BASE}/RunNotebook/instances"


def gateways_of(e, sim, redis, requests, window, count, wait="20s"):
    return [e.fleet.gateway(sim, instance=f"gate{n}", callers=callers_config(), store={"redis": redis.url},
                            upstream={"quota": {"requests": requests, "window": ms(window), "burst": max(1, requests * 3 // 4)}},
                            wait={"max": wait, "queue": 1000}) for n in range(count)]


async def burst(gateways, jobs, later):
    """JOBS submissions at once, and one LATER seconds after."""
    clients = [Client(g.port, key_of(caller)) for g in gateways for caller in CALLERS]

    def run(number):
        return clients[number % len(clients)].request("POST", RUN, b'{"executionData":{"number":%d}}' % number)

    tasks = [asyncio.create_task(run(number)) for number in range(jobs)]
    await asyncio.sleep(later)
    last = await run(jobs)
    return [await task for task in tasks], last


def run_burst(e):
    o = e.options
    e.section(f"after {o.idle:g} s of idleness {o.jobs} jobs at once, quota {o.quota} per {o.window:g} s, {o.instances} instances")
    sim = e.fleet.simulator("--quota", f"{o.quota}/{o.window:g}", "--window", "sliding", "--job-seconds", 600)
    gateways = gateways_of(e, sim, e.fleet.redis(), o.quota, o.window, o.instances)
    asyncio.run(asyncio.sleep(o.idle))
    fates, last = asyncio.run(burst(gateways, o.jobs, 5))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    times = arrivals(ledger)
    show_quota(e, ledger, o.quota, o.window)
    e.none("of the burst not accepted", [f for f in fates if f.status != 202])
    e.figure("from the burst's first arrival upstream to its last", (times[o.jobs - 1] - times[0]) / 1e6, at_most=2, unit="s")
    e.figure("slowest answer of the burst", max(f.seconds for f in fates), unit="s")
    e.figure("who came 5 s later was accepted", last.status, exactly=202)
    e.figure("  and waited", last.wait, at_most=2, unit="s")
    show_journal(e, [r for g in gateways for r in g.records()], ledger)


def run_throttled(e):
    o = e.options
    stated, real, window = 300, 60, 8.0
    e.section(f"the upstream permits {real} per {window:g} s where {stated} are stated: each 429 stops all {o.instances} instances")
    sim = e.fleet.simulator("--quota", f"{real}/{window:g}", "--window", "fixed", "--job-seconds", 600)
    gateways = gateways_of(e, sim, e.fleet.redis(), stated, window, o.instances, wait="60s")
    fates = asyncio.run(offer(20, 20, Mix(e, gateways, polls=0)))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    blocked = sorted(parse_time(entry["time"]) for entry in ledger if entry["status"] == 429)
    first = [t for i, t in enumerate(blocked) if i == 0 or t - blocked[i - 1] > 1]
    e.figure("upstream answers 429", len(blocked), at_least=1)
    e.figure("pauses", len(first), at_least=1)
    # The window is fixed: Retry-After is what was left of it, in whole seconds rounded up, so at least one is kept.
    late = []
    for start in first:
        nxt = [parse_time(entry["time"]) for entry in ledger if parse_time(entry["time"]) > start + 0.05]
        if nxt:
            late.append(min(nxt) - start)
    e.figure("least time from 50 ms after a 429 to the next request of any instance", min(late, default=9.0), at_least=1.0, unit="s")
    e.none("requests later than 50 ms after a pause began, within its first second",
           [entry for entry in ledger for start in first if start + 0.05 < parse_time(entry["time"]) < start + 1])
    e.none("requests without an answer", [f for f in fates if f is None or not f.status])
    relayed = [f for f in fates if f and f.status == 202]
    e.figure("accepted", len(relayed))
    e.figure("answered 429", sum(f.status == 429 for f in fates if f))
    e.figure("wait of the accepted, p99", percentile([f.seconds for f in relayed], 0.99), unit="s")
    again = {}
    for entry in ledger:
        again.setdefault(field(entry, "X-Request-Id")[0], []).append(entry["status"])
    e.none("requests sent more than three times, or again after anything but a 429",
           [s for s in again.values() if len(s) > 3 or any(status != 429 for status in s[:-1])])
    e.figure("requests sent again after a 429", sum(len(s) > 1 for s in again.values()))


def main():
    with Experiment("burst: idleness is worth something, and a 429 stops everyone", quota=200, window=60.0, jobs=150, idle=62.0,
                    instances=3) as e:
        run_throttled(e)
        run_burst(e)
    sys.exit(e.finish())


main()
