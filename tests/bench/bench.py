"""jobgate beside what people would use instead: the same work, interleaved and paired, as ratios of medians.

Every round runs every proxy once, in another order each time; a ratio is the median of the rounds' own ratios, so that what
disturbs the machine for a while disturbs both sides of it.
"""

import argparse
import os
import random
import sys
import time

import report
from disk import Disk
from meter import Load, measure
from peers import PEERS, Jobgate, JobgateBefore, JobgateDisk
from stage import Stage, warm_memory
from work import body_of, write_json

FIGURES = ("cpu_us", "rps", "p50_us", "p99_us", "redis_us", "scripts", "new_connections", "p50_1_us")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="paired repetitions (9)")
    parser.add_argument("--seconds", type=int, default=5, help="of load for each (5)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--body", type=int, default=300, help="bytes of the request's body (300)")
    parser.add_argument("--fleet", action="store_true", help="all jobgates are instances of one fleet; else each is its own")
    parser.add_argument("--tls", action="store_true", help="callers come by TLS")
    parser.add_argument("--single", type=int, default=2, help="seconds of load by one connection in each round, for its p50 (2); 0: none")
    parser.add_argument("--disk", default="/var/tmp", help="folder on a disk for the journal of 'jobgate, disk' (/var/tmp)")
    parser.add_argument("--syncs", type=int, default=200, help="fdatasyncs measured beside each round (200)")
    parser.add_argument("--tool", choices=("wrk", "h2load"), default="wrk")
    parser.add_argument("--only", nargs="*", default=[], help="names of the proxies; all")
    parser.add_argument("--before", default="", help="folder of another build of jobgate, which is compared too")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--out", default="", help="folder for the figures (JSON) and the chart (SVG)")
    return parser.parse_args()


class Comparison(Stage):
    """All proxies, side by side on one upstream and one Redis."""

    def __init__(self, options):
        JobgateBefore.build, JobgateDisk.journal = options.before, options.disk
        self.kinds = [kind for kind in PEERS + ((JobgateBefore,) if options.before else ())
                      if not options.only or kind.name in options.only]
        self.disk = Disk(options.disk) if JobgateDisk in self.kinds else None
        self.options, self.random, self.rates = options, random.Random(options.seed), {}
        self.rounds = {kind.name: [] for kind in self.kinds}
        super().__init__("jobgate-bench-")
        self.load = Load(self.folder, body_of(options.body), options.tls)

    def _load(self, peer, seconds, connections):
        if self.options.tool == "wrk":
            return lambda: self.load.wrk(peer.port, connections, seconds)
        count = max(connections, round(self.rates.get(peer.name, 1000) * seconds))
        return lambda: self.load.h2load(peer.port, connections, count)

    def _measure(self, peer, run):
        return measure(peer, self.redis, self.upstream, run)

    def _request_us(self):
        """What a request of one connection takes where the disk is not waited for, as last measured."""
        tmpfs = self.rounds.get(Jobgate.name)
        return tmpfs[-1]["p50_1_us"] if tmpfs and self.options.single else 300

    def _one_of(self, peer):
        """What PEER costs in this round; where it waits for the disk, what that costs is measured beside it."""
        o = self.options
        warm_memory()
        found = self._measure(peer, self._load(peer, o.seconds, o.connections))
        found["p50_1_us"] = self._measure(peer, lambda: self.load.wrk(peer.port, 1, o.single))["p50_us"] if o.single else 0
        if isinstance(peer, JobgateDisk):
            found["fdatasync_us"] = self.disk.sync_us(o.syncs, self._request_us())
        self.rounds[peer.name].append(found)

    def run(self):
        """Start and warm all up, uncounted (connections are opened, caches filled; a new bucket hears its members for 2 s), then the rounds."""
        for kind in self.kinds:
            peer = self.add(kind, self.options)
            self.rates[peer.name] = self._measure(peer, lambda p=peer: self.load.wrk(p.port, self.options.connections, 4))["rps"]
        for number in range(self.options.rounds):
            for peer in self.random.sample(self.proxies, len(self.proxies)):
                self._one_of(peer)
            print(f"round {number + 1} of {self.options.rounds}", file=sys.stderr, flush=True)

    def syncs(self):
        """Quartiles of an fdatasync, and of what one connection's p50 has on the disk beyond that and the p50 on a tmpfs."""
        disk, tmpfs = (self.rounds.get(kind.name, []) for kind in (JobgateDisk, Jobgate))
        beyond = [a["p50_1_us"] - b["p50_1_us"] - a["fdatasync_us"] for a, b in zip(disk, tmpfs) if self.options.single]
        fdatasyncs = [a["fdatasync_us"] for a in disk]
        return {"fdatasync_us": report.quartiles(fdatasyncs), "beyond_us": report.quartiles(beyond)}

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
    with Comparison(options) as comparison:
        comparison.run()
    found, syncs = comparison.medians(), comparison.syncs()
    print(f"seed {options.seed}; {options.rounds} rounds of {options.seconds} s, {options.connections} connections, {options.workers} worker, "
          f"{options.body} bytes, {'TLS, ' if options.tls else ''}{options.tool}")
    report.table(found, {kind.name: kind for kind in comparison.kinds})
    if comparison.disk:
        report.syncs(syncs, comparison.disk)
    if "jobgate" in found:
        report.compare(found)
    usual = (options.connections, options.body, options.workers, options.tls) == (64, 300, 1, False)
    missed = report.bounds(found, syncs) if usual else 0
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        write_json(os.path.join(options.out, "bench.json"), {"options": vars(options), "time": time.strftime("%FT%TZ", time.gmtime()),
                                                             "rounds": comparison.rounds, "medians": found, "syncs": syncs})
        report.chart(found, os.path.join(options.out, "bench.svg"))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
