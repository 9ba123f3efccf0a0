"""P1 under overload: three instances on one Redis share a quota of the upstream's, offered several times over."""

import asyncio
import collections
import functools
import sys

from bench import Experiment, arrivals, percentile, share_used, show_journal, show_quota, simulator, start_gateways
from load import Mix, offer
from redis_count import commands_of_clients


def show_answers(e, fates, offered):
    """What the callers got."""
    e.figure("requests offered", offered)
    e.none("requests not offered since too many were under way", [f for f in fates if f is None])
    fates = [f for f in fates if f]
    e.none("requests without an answer", [f for f in fates if not f.status])
    relayed = [f for f in fates if f.relayed]
    e.figure("answered by the upstream", len(relayed))
    e.none("  of them neither 200 nor 202", [f for f in relayed if f.status not in (200, 202)])
    refused = collections.Counter((f.status, f.code) for f in fates if f.status and not f.relayed)
    for (status, code), count in sorted(refused.items()):
        e.figure(f"refused {status} {code}", count)
    e.none("refusals that are no 429", [f for f in fates if f.status and not f.relayed and f.status != 429])
    for method, name in (("POST", "submission"), ("GET", "poll")):
        waits = [f.wait for f in relayed if f.method == method]
        e.figure(f"served: {name}s", len(waits))
        e.figure(f"wait of a served {name}, median", percentile(waits, 0.5), unit="s")
        e.figure(f"wait of a served {name}, p99", percentile(waits, 0.99), unit="s")
    e.figure("the gate's own part of the time, p99 (answer's time less the wait)",
             percentile([(f.seconds - f.wait) * 1000 for f in relayed], 0.99), unit="ms")
    return relayed


def run_window(e, kind):
    o = e.options
    phase = round(e.random.uniform(0, o.window), 3)
    quota = f"{o.quota}/{o.window:g}"
    e.section(f"--quota {quota} --window {kind} --phase {phase}, offered {o.times:g} times that for {o.seconds:g} s")
    sim = simulator(e, o.quota, o.window, kind, "--phase", phase)
    redis = e.fleet.redis()
    gateways = start_gateways(e, sim, redis, o.quota, o.window, o.instances, wait=o.wait)
    rate = o.times * o.quota / o.window
    fates = asyncio.run(offer(rate, o.seconds, Mix(e, gateways)))
    commands = commands_of_clients(redis)
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    show_quota(e, ledger, o.quota, o.window)
    relayed = show_answers(e, fates, int(rate * o.seconds))
    times = arrivals(ledger)
    show_use(e, times)
    e.figure("Redis commands", sum(commands.values()))
    e.figure("Redis commands per admitted request", sum(commands.values()) / max(1, len(relayed)), unit="")
    e.say("      " + ", ".join(f"{name} {n}" for name, n in sorted(commands.items())))
    for gateway in gateways:
        share = [f for f in relayed if f.port == gateway.port]
        e.figure(f"served by {gateway.config['instance']}", len(share))
    show_journal(e, [r for g in gateways for r in g.records()], ledger)
    e.chart(f"quota-{kind}", f"{o.times:g} times overload of three instances, counted in {kind} windows", ledger, o.quota, o.window)


def show_use(e, times):
    """From one window after the first arrival, when the start is over, to the end of the offer."""
    o = e.options
    begin, seconds = times[0] / 1e6 + o.window, o.seconds - o.window
    used = share_used(times, begin, seconds, o.quota, o.window)
    e.shows("quota used from the second window on", used, at_least=o.least, unit="%")
    e.figure("  tokens that come back W + J after they were taken permit", 100 * o.window / (o.window + 0.25), unit="%")
    middle = [t for t in times if begin <= t / 1e6 < begin + seconds]
    e.figure("  least and most in a tenth of a window", *spread(middle, o.window))


def spread(times, window):
    """The evenness of arrivals: how many fall in each tenth of a window."""
    if not times:
        return ("none",)
    counts = collections.Counter((t - times[0]) // int(window * 1e5) for t in times)
    whole = [counts[n] for n in range((times[-1] - times[0]) // int(window * 1e5))]
    return (f"{min(whole)}..{max(whole)}" if whole else "none",)


def main():
    cases = {kind: functools.partial(run_window, kind=kind) for kind in ("fixed", "sliding")}
    with Experiment("quota: several instances, one quota, several times overloaded", cases, together=True, quota=200,
                    window=60.0, times=5.0, seconds=600.0, instances=3, wait=20.0, least=98.5) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
