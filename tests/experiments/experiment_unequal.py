"""Instances of one fleet that state different quotas: nobody spends more than the smallest.

Three run with the same quota, then one is restarted with half of it and one with twice. What was granted before is
out, so the promise is about windows that begin when both run: no such window has more arrivals than the smallest
quota. Windows that began before are held to the quota that was the smallest until then.
"""

import asyncio
import functools
import sys
import time

from bench import (Experiment, arrivals, count_between, most_in_a_window, quota_config, share_used, show_quota, simulator,
                   start_gateways)
from load import Mix, offer_while


class Restarts:
    """Restarts one instance after the other with another quota; .both is the wall time from which both run."""

    def __init__(self, e, sim, gateways, steps):
        self.e, self.sim, self.gateways, self.steps = e, sim, gateways, steps
        self.marks, self.both = [], 0.0

    def run(self):
        o = self.e.options
        time.sleep(1.5 * o.window)
        for n, requests, words in self.steps:
            old = self.gateways[n]
            old.stop()
            config = {**old.config, "upstream": {**old.config["upstream"], "quota": quota_config(self.e, requests, o.window)}}
            self.gateways[n] = self.e.fleet.gateway(self.sim, folder=old.folder, config=config)
            self.both = time.time()
            self.marks.append((self.both, words))
            time.sleep(o.between)
        time.sleep(3 * o.window - o.between)


def run_order(e, steps):
    o = e.options
    smallest = o.quota // 2
    sim = simulator(e, o.quota, o.window)
    gateways = start_gateways(e, sim, e.fleet.redis(), o.quota, o.window)
    restarts = Restarts(e, sim, gateways, [(n, int(o.quota * times), words) for n, times, words in steps])
    fates = asyncio.run(offer_while(o.times * o.quota / o.window, Mix(e, gateways), restarts.run))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    times = arrivals(ledger)
    show_quota(e, ledger, o.quota, o.window)
    late = [t for t in times if t / 1e6 >= restarts.both]
    e.shows(f"most arrivals in any window that begins when both run (smallest quota {smallest})",
            most_in_a_window(late, o.window), at_most=smallest)
    e.figure("quota used before", share_used(times, times[0] / 1e6 + o.window / 2, o.window / 2, o.quota, o.window), unit="%")
    # A window for what is out from before, one more for the shares of those that were restarted.
    e.shows("of the smallest quota used in the third window", 100 * count_between(
        times, restarts.both + 2 * o.window, restarts.both + 3 * o.window) / smallest, at_least=90.0, unit="%")
    e.none("requests without an answer, but for those that met a restart",
           [f for f in fates if f is None or (not f.status and f.error == "no answer in time")])
    e.chart(f"unequal-{e.title}", "one instance restarted with half the quota, one with twice", ledger,
            [(times[0] / 1e6, o.quota), (restarts.both, smallest)], o.window, restarts.marks)


def main():
    half, twice = (1, 0.5, "one with half"), (2, 2.0, "one with twice")
    cases = {"half-first": functools.partial(run_order, steps=(half, twice)),
             "twice-first": functools.partial(run_order, steps=(twice, half))}
    with Experiment("unequal: instances that state different quotas", cases, together=True, quota=200, window=20.0, times=3.0,
                    between=5.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
