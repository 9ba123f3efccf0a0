"""P1 under overload: three instances on one Redis share a quota of the upstream's, offered several times over.

Tokens go out evenly, Q in 257/256 of W + J: 97.2 % of 100 per 10 s.
"""

import asyncio
import collections
import sys

from bench import Experiment, arrivals, callers_config, ms, percentile, show_journal, show_quota
from load import Mix, offer

# What a script runs inside counts as calls too; so do the experiment's own look and the harness's PING.
INNER = {"get", "set", "time", "info", "ping", "config|resetstat"}


def redis_commands(redis):
    """Commands that clients sent, and how many of them ran the script."""
    calls = {}
    for line in redis.command("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_"):
            name, _, rest = line[len("cmdstat_"):].partition(":")
            calls[name] = int(rest.split(",")[0].removeprefix("calls="))
    return {name: n for name, n in calls.items() if name not in INNER}


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
    # Jobs that outlive the run: an item forgets ended instances beyond its last hundred.
    sim = e.fleet.simulator("--quota", quota, "--window", kind, "--phase", phase, "--job-seconds", 600)
    redis = e.fleet.redis()
    gateways = [e.fleet.gateway(sim, instance=f"gate{n}", callers=callers_config(), store={"redis": redis.url},
                                upstream={"quota": {"requests": o.quota, "window": ms(o.window)}},
                                wait={"max": ms(o.wait), "queue": 1000},
                                audit={"directory": "audit", "refusals": 10000}) for n in range(o.instances)]
    rate = o.times * o.quota / o.window
    fates = asyncio.run(offer(rate, o.seconds, Mix(e, gateways)))
    commands = redis_commands(redis)
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    show_quota(e, ledger, o.quota, o.window)
    relayed = show_answers(e, fates, int(rate * o.seconds))
    times = arrivals(ledger)
    # From one window after the first arrival, when the start is over, to the end of the offer.
    middle = [t for t in times if times[0] + o.window * 1e6 <= t < times[0] + o.seconds * 1e6]
    spans = (o.seconds - o.window) / o.window
    limit = 100 * o.window / ((o.window + 0.25) * 257 / 256)
    e.figure("quota used over the middle of the run", 100 * len(middle) / (o.quota * spans), at_least=o.least, unit="%")
    e.figure("  the arithmetic permits", limit, unit="%")
    e.figure("  least and most in a tenth of a window, in the middle", *spread(middle, o.window))
    e.figure("Redis commands", sum(commands.values()))
    e.figure("Redis commands per admitted request", sum(commands.values()) / max(1, len(relayed)), unit="")
    print("      " + ", ".join(f"{name} {n}" for name, n in sorted(commands.items())))
    for gateway in gateways:
        share = [f for f in relayed if f.port == gateway.port]
        e.figure(f"served by {gateway.config['instance']}", len(share))
    show_journal(e, [r for g in gateways for r in g.records()], ledger)


def spread(times, window):
    """The evenness of arrivals: how many fall in each tenth of a window."""
    if not times:
        return ("none",)
    counts = collections.Counter((t - times[0]) // int(window * 1e5) for t in times)
    whole = [counts[n] for n in range((times[-1] - times[0]) // int(window * 1e5))]
    return (f"{min(whole)}..{max(whole)}" if whole else "none",)


def main():
    with Experiment("quota: several instances, one quota, several times overloaded", quota=100, window=10.0, times=5.0,
                    seconds=60.0, instances=3, wait=20.0, least=94.0) as e:
        for kind in ("fixed", "sliding"):
            run_window(e, kind)
    sys.exit(e.finish())


main()
