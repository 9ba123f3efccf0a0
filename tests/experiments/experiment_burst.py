"""Idleness is worth something: 150 jobs at once after an idle minute; and an overload that follows one comes out evenly."""

import asyncio
import sys
import time

from bench import (CALLERS, Experiment, arrivals, count_between, percentile, show_journal, show_quota, simulator,
                   start_gateways)
from load import Mix, Stream, offer


async def burst(e, gateways, jobs, later):
    """JOBS submissions at once by all callers but the last, and one of that one LATER seconds after."""
    streams = [Stream(e, gateways, caller) for caller in CALLERS]
    begun = time.time()
    tasks = [asyncio.create_task(streams[n % (len(CALLERS) - 1)](n)) for n in range(jobs)]
    await asyncio.sleep(later)
    last = await streams[-1](jobs)
    return begun, [await task for task in tasks], last


def start_idle(e):
    """Three instances that nobody has asked for anything for a while."""
    o = e.options
    sim = simulator(e, o.quota, o.window)
    gateways = start_gateways(e, sim, e.fleet.redis(), o.quota, o.window)
    time.sleep(o.idle)      # the idleness is the experiment
    return sim, gateways


def run_burst(e):
    o = e.options
    e.section(f"after {o.idle:g} s of idleness {o.jobs} jobs at once, quota {o.quota} per {o.window:g} s")
    sim, gateways = start_idle(e)
    begun, fates, last = asyncio.run(burst(e, gateways, o.jobs, 5))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    times = arrivals(ledger)
    show_quota(e, ledger, o.quota, o.window)
    e.none("of the burst refused, or not accepted", [f for f in fates if f.status != 202], shows=True)
    e.shows("from the submission of the burst to its last arrival upstream", times[min(o.jobs, len(times)) - 1] / 1e6 - begun,
            at_most=2.0, unit="s")
    e.figure("slowest answer of the burst", max(f.seconds for f in fates), unit="s")
    e.figure("another caller, 5 s later: status", last.status, exactly=202)
    e.shows("another caller, 5 s later, waited", last.wait, at_most=2.0, unit="s")
    show_journal(e, [r for g in gateways for r in g.records()], ledger)
    e.chart("burst", f"{o.jobs} jobs at once after an idle minute, one 5 s later", ledger, o.quota, o.window)


def longest_of_its_queue(fates, rate, since):
    """
    The largest ratio of a wait to what the caller's queue explains: FATES are of one caller that is served at RATE;
    its queue is the largest number of its requests that were waiting at once during that wait. Those sent before SINCE
    are not looked at: while a burst is out the rate is that of the other tokens.
    """
    changes = sorted([(f.sent, 1) for f in fates] + [(f.sent + f.seconds, -1) for f in fates])
    counts, count = [], 0
    for at, change in changes:
        count += change
        counts.append((at, count))
    worst, first = 0.0, 0
    for fate in sorted((f for f in fates if f.relayed and f.sent >= since), key=lambda f: f.sent):
        while counts[first][0] < fate.sent:
            first += 1
        queue = 1
        for at, count in counts[first:]:
            if at > fate.sent + fate.wait:
                break
            queue = max(queue, count)
        # Half a second for what is no waiting.
        worst = max(worst, (fate.wait - 0.5) / (queue / rate))
    return worst


def show_evenness(e, times, begin, end):
    """Each 5 s of any alignment between BEGIN and END against their share."""
    o = e.options
    share = o.quota * 5 / o.window
    counts = [count_between(times, begin + n / 10, begin + n / 10 + 5) for n in range(int((end - begin - 5) * 10))]
    e.figure("spans of 5 s looked at, from the second window on", len(counts), at_least=1)
    e.shows("least in 5 s, of their share", 100 * min(counts, default=0) / share, at_least=90.0, unit="%")
    e.shows("most in 5 s, of their share", 100 * max(counts, default=0) / share, at_most=110.0, unit="%")


def run_overload(e):
    o = e.options
    e.section(f"after {o.idle:g} s of idleness {o.times:g} times the quota for {o.seconds:g} s")
    sim, gateways = start_idle(e)
    mix, begun, since = Mix(e, gateways, polls=0), time.time(), time.monotonic() + o.window
    fates = asyncio.run(offer(o.times * o.quota / o.window, o.seconds, mix))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    times = arrivals(ledger)
    show_quota(e, ledger, o.quota, o.window)
    # An offer of so many times the quota needs that long to ask for three quarters of it, and a third more.
    span = 0.75 * o.window / o.times * 1.33
    e.figure(f"arrived within the first {span:.1f} s, since idleness allows a burst", count_between(times, begun, begun + span),
             at_least=0.95 * 0.75 * o.quota)
    show_evenness(e, times, times[0] / 1e6 + o.window, begun + o.seconds)
    e.none("requests without an answer", [f for f in fates if f is None or not f.status])
    by_key = {client.key: [] for client in mix.clients}
    for fate in fates:
        by_key[fate.key].append(fate)
    rate = o.quota / (o.window + 0.25) / len(by_key)
    ratios = [longest_of_its_queue(mine, rate, since) for mine in by_key.values()]
    e.shows("longest wait of any caller from then on, to its queue / its rate", max(ratios), at_most=1.1)
    e.figure("wait of the served, p99", percentile([f.wait for f in fates if f.relayed], 0.99), unit="s")
    e.chart("burst-overload", f"{o.times:g} times the quota after an idle minute", ledger, o.quota, o.window)


def main():
    with Experiment("burst: idleness is worth something, and an overload after it comes out evenly",
                    {"burst": run_burst, "overload": run_overload}, together=True, quota=200, window=60.0, jobs=150,
                    idle=60.0, times=5.0, seconds=300.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
