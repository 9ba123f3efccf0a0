"""Callers share a quota by weight, whatever instance they come through and however much one of them asks for."""

import asyncio
import sys
import time

from bench import Experiment, callers_config, field, jain, parse_time, percentile, show_quota, simulator, start_gateways
from load import Stream

# What each caller offers, in shares of its own; who offers at most one is modest.
OFFERS = {"greedy": 50.0, "hungry": 3.0, "eager": 2.0, "full": 0.95, "steady": 0.95, "near": 0.9, "calm": 0.9, "mild": 0.8,
          "low": 0.7, "half": 0.5}
WEIGHTS = {"one": 1, "two": 2, "three": 3}


def entitled(capacity, offers, weights):
    """{caller: rate} by weight, where what one does not ask for goes to the others."""
    left, rates = dict(weights), {}
    while left:
        unit = capacity / sum(left.values())
        content = [name for name in left if offers[name] <= unit * left[name]]
        if not content:
            return {**rates, **{name: unit * weight for name, weight in left.items()}}
        for name in content:
            rates[name] = offers[name]
            capacity -= offers[name]
            del left[name]
    return rates


def uneven(n):
    """How often caller N goes to each of three instances: most to one, some to the next, few to none."""
    return [(8, 2, 0), (0, 7, 3), (1, 0, 9)][n % 3]


async def load(e, gateways, rates, guest):
    """Offer RATES; {caller: its Stream}. GUEST is there for the third quarter only."""
    streams = {name: Stream(e, gateways, name, (1, 2, 7) if name == "greedy" else uneven(n)) for n, name in enumerate(rates)}

    async def offer(name, stream):
        await asyncio.sleep(e.options.seconds / 2 if name == guest else 0)
        await stream.offer(rates[name], e.options.seconds / (4 if name == guest else 1))
    await asyncio.gather(*(offer(name, stream) for name, stream in streams.items()))
    return streams


def served_rates(e, ledger, streams, begin, end):
    """{caller: arrivals a second} between BEGIN and END."""
    callers = {fate.request_id: name for name, stream in streams.items() for fate in stream.fates if fate.request_id}
    counts = dict.fromkeys(streams, 0)
    for entry in ledger:
        if begin <= parse_time(entry["time"]) < end:
            name = callers.get(field(entry, "X-Request-Id")[0])
            if name:
                counts[name] += 1
    return {name: count / (end - begin) for name, count in counts.items()}


def run_shares(e, offers, weights, guest=None):
    """OFFERS in shares of their own by caller; the same weights are configured, where they differ."""
    o = e.options
    capacity = o.quota / (o.window + 0.25)
    unit = capacity / sum(weights.values())
    rates = {name: times * unit * weights[name] for name, times in offers.items()}
    sim = simulator(e, o.quota, o.window)
    callers = callers_config(offers)
    if len(set(weights.values())) > 1:
        callers = [{**caller, "weight": weights[caller["name"]]} for caller in callers]
    gateways = start_gateways(e, sim, e.fleet.redis(), o.quota, o.window, callers=callers)
    begun = time.time()
    streams = asyncio.run(load(e, gateways, rates, guest))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    show_quota(e, ledger, o.quota, o.window)
    # The first two windows are the start: an empty quota, then the queues fill.
    begin, end = begun + 2 * o.window, begun + o.seconds
    served = served_rates(e, ledger, streams, begin, end)
    e.figure("quota used from the third window on", 100 * sum(served.values()) * o.window / o.quota, at_least=95.0, unit="%")
    return rates, served, entitled(sum(served.values()), rates, weights), streams


def show_callers(e, rates, served, due, streams):
    for name in rates:
        fates = streams[name].fates
        waits = [f.wait for f in fates if f.relayed]
        e.figure(f"{name}: offered {rates[name]:.2f}/s, entitled to {due[name]:.2f}, served", served[name], unit="/s")
        e.figure(f"  refused, of {len(fates)}", sum(f.status == 429 for f in fates))
        e.figure("  wait of the served, p99", percentile(waits, 0.99), unit="s")


def run_equal(e):
    rates, served, due, streams = run_shares(e, OFFERS, dict.fromkeys(OFFERS, 1))
    show_callers(e, rates, served, due, streams)
    backlogged = [name for name, times in OFFERS.items() if times > 1]
    modest = [name for name, times in OFFERS.items() if times <= 1]
    e.shows("Jain index of served / entitled, of the backlogged", jain(served[n] / due[n] for n in backlogged), at_least=0.99)
    e.shows("Jain index of served / entitled, of all", jain(served[n] / due[n] for n in OFFERS), at_least=0.99)
    # What a modest caller offers is under its share, so all of it is due.
    e.shows("least served of what a modest caller offers", 100 * min(served[n] / rates[n] for n in modest), at_least=95.0, unit="%")
    e.none("refused of the modest", [f for n in modest for f in streams[n].fates if f.status == 429], shows=True)
    e.none("requests without an answer", [f for s in streams.values() for f in s.fates if not f.status])


def run_weights(e):
    rates, served, due, streams = run_shares(e, dict.fromkeys(WEIGHTS, 3.0), WEIGHTS)
    show_callers(e, rates, served, due, streams)
    e.shows("Jain index of served / entitled, weights 1, 2, 3", jain(served[n] / due[n] for n in WEIGHTS), at_least=0.99)
    worst = max(abs(served[n] / due[n] - 1) for n in WEIGHTS)
    e.shows("farthest from its share", 100 * worst, at_most=5.0, unit="%")
    e.none("requests without an answer", [f for s in streams.values() for f in s.fates if not f.status])


def run_guest(e):
    """The share of who asks for nothing goes to the others; when it comes it has it at once, however long their queues."""
    offers = {"greedy": 5.0, "eager": 5.0, "guest": 0.9}
    _, served, _, streams = run_shares(e, offers, dict.fromkeys(offers, 1), "guest")
    fates = streams["guest"].fates
    e.shows("Jain index of the two that always ask", jain(served[n] for n in ("greedy", "eager")), at_least=0.99)
    e.figure("requests of the guest", len(fates), at_least=1)
    e.none("refused of the guest", [f for f in fates if not f.relayed], shows=True)
    # Its own requests follow each other at 1.1 times its share's distance.
    longest = 3 * (e.options.window + 0.25) / e.options.quota * 2
    e.shows("wait of the guest, p90", percentile([f.wait for f in fates if f.relayed], 0.9), at_most=longest, unit="s")


def main():
    cases = {"equal": run_equal, "weights": run_weights, "guest": run_guest}
    with Experiment("fairness: callers share by weight across the fleet", cases, quota=200, window=10.0, seconds=80.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
