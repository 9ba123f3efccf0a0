"""Instances cut off from Redis, in every pattern, a second after a burst: shares are spent, never more than the quota.

The whole experiment runs in a network namespace of its own, in which each instance knows Redis by an address of its
own. A cut drops every packet from and to that address: nobody hears a reset.
"""

import asyncio
import functools
import os
import subprocess
import sys
import time

from bench import Experiment, arrivals, count_between, field, parse_time, show_quota, simulator, start_gateways
from load import Mix, offer_while

INSIDE = "JOBGATE_EXPERIMENT_INSIDE"


def enter_private_network():
    """Run this program again where the network is nothing but a loopback of its own; returns when it is there."""
    if not os.environ.get(INSIDE):
        user = [] if os.geteuid() == 0 else ["-r"]
        os.environ[INSIDE] = "yes"
        os.execvp("unshare", ["unshare", *user, "-n", "--", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def address(pattern, n):
    """Where instance N of a pattern finds Redis."""
    return f"127.1.{pattern}.{n + 10}"


def set_cut(pattern, cut):
    """Make (CUT) or mend the cuts of a pattern: its bits say which instances."""
    for n in range(3):
        if pattern >> n & 1:
            for direction in ("-d", "-s"):
                subprocess.run(["iptables", "-w", "-A" if cut else "-D", "OUTPUT", direction, address(pattern, n), "-j", "DROP"],
                               check=True)


class Course:
    """When the cut was made and mended."""

    def __init__(self, o, pattern):
        self.o, self.pattern = o, pattern
        self.cut = self.mended = 0.0

    def run(self):
        o = self.o
        time.sleep(1)
        self.cut = time.time()
        set_cut(self.pattern, True)
        # Longer than a silent member needs before it may spend its share.
        time.sleep(o.window + 0.25 + o.longer)
        set_cut(self.pattern, False)
        self.mended = time.time()
        time.sleep(o.after)


def by_instance(e, ledger, gateways):
    """{instance: sorted microseconds of its arrivals}, by its journal."""
    owners = {r["request_id"]: g.config["instance"] for g in gateways for r in g.records("intent")}
    found = {g.config["instance"]: [] for g in gateways}
    for entry in ledger:
        found[owners[field(entry, "X-Request-Id")[0]]].append(round(parse_time(entry["time"]) * 1e6))
    return {name: sorted(times) for name, times in found.items()}


def show_shares(e, times, course, pattern):
    """Who was cut off did not stand still for ever, and who was not went on."""
    o = e.options
    begin, end = course.cut + o.window + 0.25 + 5, course.mended
    for n in range(3):
        is_cut, mine = pattern >> n & 1, count_between(times[f"gate{n}"], begin, end)
        share = 100 * mine * o.window / (o.quota / 3 * (end - begin))
        # The formula of a third of the quota gives a little less than a third of the use.
        e.figure(f"gate{n} ({'cut off' if is_cut else 'connected'}): of a third of the quota, in the end of the cut", share,
                 at_least=o.share, unit="%")


def run_pattern(e, pattern):
    o = e.options
    sim = simulator(e, o.quota, o.window)
    redis = e.fleet.redis(also=[address(pattern, n) for n in range(3)])
    gateways = start_gateways(e, sim, redis, o.quota, o.window,
                              each=lambda n: {"store": {"redis": f"redis://{address(pattern, n)}:{redis.port}"}})
    time.sleep(o.idle)      # the idleness before the burst
    course = Course(o, pattern)
    rate = o.times * o.quota / o.window
    fates = asyncio.run(offer_while(rate, Mix(e, gateways, polls=0), course.run, o.jobs))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    times = arrivals(ledger)
    e.figure("arrived before the cut", count_between(times, 0, course.cut), at_least=0.95 * o.jobs)
    show_quota(e, ledger, o.quota, o.window)
    show_shares(e, by_instance(e, ledger, gateways), course, pattern)
    end = course.mended + o.after
    e.figure("quota used in the last window", 100 * count_between(times, end - o.window, end) / o.quota, unit="%")
    e.none("requests without an answer", [f for f in fates if f is None or not f.status], shows=True)
    e.chart(f"cuts-{e.title}", f"a burst of {o.jobs}, then cut off: {e.title}", ledger, o.quota, o.window,
            [(course.cut, "cut"), (course.mended, "mended")])


def name_of(pattern):
    return "+".join(f"gate{n}" for n in range(3) if pattern >> n & 1) or "nobody"


def main():
    cases = {name_of(pattern): functools.partial(run_pattern, pattern=pattern) for pattern in range(8)}
    with Experiment("cuts: every pattern of instances cut off from Redis, a second after a burst", cases, together=True,
                    quota=200, window=60.0, times=2.0, jobs=150, idle=61.0, longer=30.0, after=65.0, share=75.0) as e:
        e.run_cases()
    sys.exit(e.finish())


enter_private_network()
main()
