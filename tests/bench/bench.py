"""jobgate beside what people would use instead: the same work, interleaved and paired, as ratios of medians.

Every round runs every proxy once, in another order each time; a ratio is the median of the rounds' own ratios, so that what
disturbs the machine for a while disturbs both sides of it.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time

import report
from meter import Load, measure
from peers import PEERS, JobgateBefore
from work import OTHER_CORE, Upstream, body_of, write_json

from certificates import Certificates
from harness import Redis

FIGURES = ("cpu_us", "rps", "p50_us", "p99_us", "redis_us", "scripts", "new_connections")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="paired repetitions (9)")
    parser.add_argument("--seconds", type=int, default=5, help="of load for each (5)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--body", type=int, default=300, help="bytes of the request's body (300)")
    parser.add_argument("--tool", choices=("wrk", "h2load"), default="wrk")
    parser.add_argument("--only", nargs="*", default=[], help="names of the proxies; all")
    parser.add_argument("--before", default="", help="folder of another build of jobgate, which is compared too")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--out", default="", help="folder for the figures (JSON) and the chart (SVG)")
    return parser.parse_args()


class Comparison:
    """All proxies, side by side on one upstream and one Redis."""

    def __init__(self, options):
        self.options, self.random = options, random.Random(options.seed)
        self.folder = tempfile.mkdtemp(prefix="jobgate-bench-")
        certificates = Certificates(os.path.join(self.folder, "certificates"))
        self.redis = Redis(self.folder)
        os.sched_setaffinity(self.redis.pid, {OTHER_CORE})
        os.mkdir(os.path.join(self.folder, "upstream"))
        self.upstream = Upstream(os.path.join(self.folder, "upstream"), certificates)
        self.peers, self.rounds = [], {}
        JobgateBefore.build = options.before
        for number, kind in enumerate(PEERS + ((JobgateBefore,) if options.before else ())):
            if not options.only or kind.name in options.only:
                self.peers.append(kind(os.path.join(self.folder, str(number)), certificates, self.upstream, self.redis, options))
                self.rounds[kind.name] = []

    def stop(self):
        for peer in self.peers:
            peer.stop()
        self.upstream.stop()
        self.redis.stop()

    def _load(self, load, peer, seconds, connections):
        if self.options.tool == "wrk":
            return lambda: load.wrk(peer.port, connections, seconds)
        count = max(connections, round(self.rates.get(peer.name, 1000) * seconds))
        return lambda: load.h2load(peer.port, connections, count)

    def run(self):
        o, load = self.options, Load(self.folder, body_of(self.options.body))
        self.rates = {}
        for peer in self.peers:     # connections are opened, caches filled: not counted
            self.rates[peer.name] = measure(peer, self.redis, self.upstream, lambda p=peer: load.wrk(p.port, o.connections, 2))["rps"]
        for number in range(o.rounds):
            for peer in self.random.sample(self.peers, len(self.peers)):
                found = measure(peer, self.redis, self.upstream, self._load(load, peer, o.seconds, o.connections))
                self.rounds[peer.name].append(found)
            print(f"round {number + 1} of {o.rounds}", file=sys.stderr, flush=True)

    def medians(self):
        """For each proxy each figure's quartiles, and the quartiles of its ratio to every other proxy in the same round."""
        found = {}
        for name, rounds in self.rounds.items():
            found[name] = {figure: report.quartiles([r[figure] for r in rounds]) for figure in FIGURES}
            found[name]["ratio"] = {other: {figure: report.quartiles([a[figure] / b[figure] for a, b in zip(rounds, others) if b[figure]])
                                            for figure in FIGURES if all(b[figure] for b in others)}
                                    for other, others in self.rounds.items() if other != name}
        return found


def main():
    options = arguments()
    comparison = Comparison(options)
    try:
        comparison.run()
    finally:
        comparison.stop()
    found = comparison.medians()
    print(f"seed {options.seed}; {options.rounds} rounds of {options.seconds} s, {options.connections} connections, {options.workers} worker, "
          f"{options.body} bytes, {options.tool}")
    report.table(found, {kind.name: kind for kind in PEERS + (JobgateBefore,)})
    if "jobgate" in found:
        report.compare(found)
    missed = report.bounds(found) if options.connections == 64 and options.body == 300 and options.workers == 1 else 0
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        write_json(os.path.join(options.out, "bench.json"), {"options": vars(options), "time": time.strftime("%FT%TZ", time.gmtime()),
                                                             "rounds": comparison.rounds, "medians": found})
        report.chart(found, os.path.join(options.out, "bench.svg"))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
