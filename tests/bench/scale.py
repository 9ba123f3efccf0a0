"""Whether jobgate's cost grows faster than its work: workers, connections, callers, bodies, TLS, overload, waiting.

Every round runs every case once, in another order each time; a case's ratio is to its base case of the same round. The
processor's time is read while the load runs, so that connecting and ending are no part of it.
"""

import argparse
import dataclasses
import math
import os
import random
import signal
import sys
import time

import scale_report
from gates import BOTH_CORES, Gate, Reading, Shape, between
from meter import Load
from report import quartiles
from stage import Stage, warm_memory
from work import body_of, write_json

FIGURES = ("cpu_us", "rps", "redis_us", "scripts", "waiting", "new_connections")
# Paced load comes from more connections than the base's, so that their pauses are long beside the answers' time.
PACED_CONNECTIONS = 256
WARM_MOST = 10


@dataclasses.dataclass(frozen=True)
class Case:
    """A load on a gate of a shape; POSTs that differ from its BASE in one thing."""

    name: str
    base: str = ""
    shape: Shape = Shape()
    connections: int = 64
    body: int = 300
    callers: int = 0        # how many of the shape's callers send anything; 0: all
    pace: float = 0         # offered rate, as a share of what the base carries; 0: as fast as answers come
    quota: float = 0        # calls a second that are granted, likewise
    codes: tuple = (202,)
    strays: float = 0       # the share of answers that may have other codes

    @property
    def files(self):
        """Files that the gate needs: each request under way has a connection to the upstream, but not while it waits."""
        return self.connections + (0 if self.quota else self.connections) + 500


BASE, PACED, PACED_BOTH, WAIT = "base: 64 connections", "half the rate", "half the rate, two cores", "100 waiting"
FEW, REFUSING, TWO, TWO_BOTH = "1 connection", "refusing at 10 times overload", "2 workers, half the rate", "2 workers, half, two cores"
TWO_ALL = "2 workers, all at work, half, two cores"
FLOOD = "refusing as fast as it can"
SPENT, SPENT_FLOOD = "refusing, the quota used up", "refusing, used up, as fast as it can"
LIMITED = dataclasses.replace(Shape(), wait="10ms")
# A machine that stands still for longer than that wait makes 503s: the record of who was granted was not written in time.
STRAYS = 0.001
CASES = (
    Case(BASE),
    Case(FEW, BASE, connections=1),
    Case("512 connections", BASE, connections=512),
    Case("5000 connections", BASE, connections=5000),
    Case("100 callers", BASE, Shape(callers=100)),
    Case("10000 callers, 100 at work", BASE, Shape(callers=10000), callers=100),
    Case("10000 callers", BASE, Shape(callers=10000)),
    Case("bodies of 16 KB", BASE, body=16 << 10),
    Case("bodies of 256 KB", BASE, body=256 << 10),
    Case("TLS on the front", BASE, Shape(tls=True)),
    Case(PACED, connections=PACED_CONNECTIONS, pace=0.5),
    Case(TWO, PACED, Shape(workers=2), PACED_CONNECTIONS, pace=0.5),
    Case(PACED_BOTH, "", Shape(cores=BOTH_CORES), PACED_CONNECTIONS, pace=0.5),
    Case(TWO_BOTH, PACED_BOTH, Shape(workers=2, cores=BOTH_CORES), PACED_CONNECTIONS, pace=0.5),
    Case(TWO_ALL, PACED_BOTH, Shape(workers=2, cores=BOTH_CORES, spread="all"), PACED_CONNECTIONS, pace=0.5),
    Case(REFUSING, PACED, LIMITED, PACED_CONNECTIONS, pace=0.5, quota=0.05, codes=(202, 429), strays=STRAYS),
    # With much more granted all of the 64 would have a token within the wait.
    Case(FLOOD, BASE, LIMITED, quota=0.05, codes=(202, 429), strays=STRAYS),
    # What one refusal costs by itself: so few are granted that they count for nothing.
    Case(SPENT, PACED, LIMITED, PACED_CONNECTIONS, pace=0.5, quota=0.0005, codes=(202, 429), strays=STRAYS),
    Case(SPENT_FLOOD, BASE, LIMITED, quota=0.0005, codes=(202, 429), strays=STRAYS),
    Case(WAIT, "", connections=100, quota=0.2),
    Case("10000 waiting", WAIT, connections=10000, quota=0.2),
)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="paired repetitions (9)")
    parser.add_argument("--seconds", type=float, default=5, help="of measuring for each (5)")
    parser.add_argument("--warm", type=float, default=1, help="seconds of load before, again while upstream connections are opened (1)")
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of cases; all. Their base cases run too")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--out", default="", help="folder for the figures (JSON) and the chart (SVG)")
    return parser.parse_args()


def chosen(words):
    """The cases that are wanted, and those that they are compared with."""
    names = {case.name for case in CASES if not words or any(word in case.name for word in words)}
    names |= {case.base for case in CASES if case.name in names} | {BASE}
    return [case for case in CASES if case.name in names]


class Sweep(Stage):
    """All cases' gates on one upstream and one Redis."""

    def __init__(self, options):
        super().__init__("jobgate-scale-")
        self.options, self.random, self.cases = options, random.Random(options.seed), []
        self.skipped, self.failed = [], {}
        self.gates, self.rounds, self.carried = {}, {}, 0

    def start(self):
        """Start a gate for each shape; what the base carries comes first, since rates and quotas are shares of it."""
        for case in chosen(self.options.only):
            if case.files > self.files:
                self.skipped.append(f"{case.name}: this machine lets a process open {self.files} files only")
                continue
            self.cases.append(case)
            self.rounds[case.name] = []
            self._gate(case)
            if not self.carried:
                self._measure(case)     # the first one fills the bucket and the caches
                self.carried = self._measure(case)["rps"]

    def _gate(self, case):
        shape = case.shape
        if case.quota:
            shape = dataclasses.replace(shape, quota=max(2, round(case.quota * self.carried)))
        if shape not in self.gates:
            self.gates[shape] = self.add(Gate, shape)
            self.gates[shape].settle()
        return self.gates[shape]

    def _load(self, case, gate):
        """The load as a process that goes on until it is told to end."""
        pause = case.connections / (case.pace * self.carried) * 1000 if case.pace else 0
        load = Load(self.folder, body_of(case.body), gate.options.tls)
        keys = gate.keys(case.callers or gate.options.callers)
        return load.start(gate.port, case.connections, 3600, keys, max(1, round(pause)) if case.pace else 0)

    def _measure(self, case):
        """One case's cost in one round."""
        gate = self._gate(case)
        warm_memory()
        load = self._load(case, gate)
        try:
            self._wait(lambda: gate.connected() >= case.connections, f"{case.connections} connections", load)
            self._warm(gate)
            begun = Reading(gate, True)
            time.sleep(self.options.seconds)
            found = between(begun, Reading(gate, False))
        finally:
            load.send_signal(signal.SIGINT)
            load.communicate(timeout=60)
        self._wait(lambda: gate.connected() == 0, "the end of all connections")
        strays = sum(count for code, count in found["answers"].items() if code not in case.codes)
        if not found["requests"] or strays > case.strays * found["requests"]:
            raise RuntimeError(f"{case.name}: answers by status: {found['answers'] or 'none'} ({found['waiting']} waited)")
        return found

    def _warm(self, gate):
        """Let the load run until the gate opens no more connections to the upstream, WARM_MOST times at most."""
        accepts = -1
        for _ in range(WARM_MOST):
            before, accepts = accepts, gate.upstream.counts()[0]
            if accepts == before:
                break
            time.sleep(self.options.warm)

    @staticmethod
    def _wait(holds, what, load=None):
        deadline = time.monotonic() + 60
        while not holds():
            if time.monotonic() > deadline or load and load.poll() is not None:
                raise RuntimeError(f"{what}: not within 60 s, or the load has ended")
            time.sleep(0.05)

    def run(self):
        for number in range(self.options.rounds):
            for case in self.random.sample(self.cases, len(self.cases)):
                self._round(case)
            print(f"round {number + 1} of {self.options.rounds}", file=sys.stderr, flush=True)

    def _round(self, case):
        """Measure one case; one that goes wrong is told of, counts as a bound missed, and is not tried again."""
        if case.name in self.failed:
            return
        try:
            self.rounds[case.name].append(self._measure(case))
        except (RuntimeError, OSError) as error:        # also where the gate did not say its metrics in time
            print(error, file=sys.stderr, flush=True)
            self.failed[case.name] = str(error)[:120]

    def medians(self):
        """For each case its figures' quartiles, and those of its cost's ratio to its base in the same round."""
        found = {}
        for case in self.cases:
            if case.name in self.failed:
                continue
            rounds, bases = self.rounds[case.name], [] if case.base in self.failed else self.rounds.get(case.base, [])
            found[case.name] = {figure: quartiles([r[figure] for r in rounds]) for figure in FIGURES}
            if bases:
                ratios = [a["cpu_us"] / b["cpu_us"] for a, b in zip(rounds, bases)]
                found[case.name].update(base=case.base, ratio=quartiles(ratios))
        return found

    def derived(self):
        """Quartiles of what follows from several cases of one round."""
        whole = {name: rounds for name, rounds in self.rounds.items() if name not in self.failed}
        rows = [dict(zip(whole, row)) for row in zip(*whole.values())]
        found = {name: [value for row in rows if (value := make(row)) is not None] for name, make in DERIVED.items()}
        return {name: quartiles(values) for name, values in found.items() if values}


def cost(case, other):
    """CPU per request in CASE, of that in OTHER."""
    return lambda row: row[case]["cpu_us"] / row[other]["cpu_us"] if {case, other} <= row.keys() else None


def granted(mixed, spent, forwarding):
    """
    CPU of a request that is granted among refusals, of that of a forwarded one under the same load. Refusals cost in MIXED what they do in
    SPENT; the others come one by one, where FORWARDING has many at a time.
    """
    def make(row):
        if not {mixed, spent, forwarding} <= row.keys():
            return None
        share = row[mixed]["answers"].get(202, 0) / row[mixed]["requests"]
        used = row[mixed]["cpu_us"] - (1 - share) * row[spent]["cpu_us"]
        return used / max(share, 1e-9) / row[forwarding]["cpu_us"]
    return make


def overload(refusing):
    """How many requests came for each that was granted."""
    return lambda row: row[refusing]["requests"] / max(1, row[refusing]["answers"].get(202, 0)) if refusing in row else None


def body_slope(row):
    """CPU of a further KB from 16 to 256 KB, of that from 0.3 to 16 KB."""
    small, middle, large = (row.get(name, {}).get("cpu_us", math.nan) for name in (BASE, "bodies of 16 KB", "bodies of 256 KB"))
    value = ((large - middle) / 240) / max((middle - small) / 15.7, 1e-9)
    return None if math.isnan(value) else value


DERIVED = {"refusing CPU / forwarding CPU": cost(SPENT, PACED), "refusing CPU / forwarding CPU, as fast as both can": cost(SPENT_FLOOD, BASE),
           "10 times overload: a request / one forwarded": cost(REFUSING, PACED), "its overload, offered / granted": overload(REFUSING),
           "10 times overload: one granted / one forwarded": granted(REFUSING, SPENT, PACED),
           "as fast as it can: a request / one forwarded": cost(FLOOD, BASE), "its overload": overload(FLOOD),
           "1 worker / 2, half the rate, one core": cost(PACED, TWO),
           "1 worker / 2, half the rate, two cores": cost(PACED_BOTH, TWO_BOTH),
           "1 worker / 2 that both work, two cores": cost(PACED_BOTH, TWO_ALL),
           "a KB beyond 16 / a KB below": body_slope}


def main():
    options = arguments()
    with Sweep(options) as sweep:
        sweep.start()
        sweep.run()
    found, derived = sweep.medians(), sweep.derived()
    print(f"seed {options.seed}; {options.rounds} rounds of {options.seconds:g} s; "
          f"64 connections carried {sweep.carried:.0f} requests a second")
    scale_report.table(found, sweep.skipped)
    missed = scale_report.bounds(found, derived, sweep.failed)
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        write_json(os.path.join(options.out, "scale.json"), {
            "options": vars(options), "time": time.strftime("%FT%TZ", time.gmtime()), "rounds": sweep.rounds, "medians": found,
            "derived": derived, "skipped": sweep.skipped, "failed": sweep.failed})
        scale_report.chart(found, os.path.join(options.out, "scale.svg"))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
