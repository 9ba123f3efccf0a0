"""What the experiments share: real processes in a folder, a table of figures with bounds, sums over their records."""

import argparse
import bisect
import operator
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "system"))
# The experiments measure, so they take the optimised build unless told otherwise.
os.environ.setdefault("JOBGATE_BUILD", os.path.join(os.path.dirname(TESTS), "build-test"))

from certificates import Certificates  # noqa: E402
from chart import draw_arrivals  # noqa: E402
from conftest import Fleet  # noqa: E402
from harness import field, key_of, parse_time, sha256  # noqa: E402

CALLERS = ("etl", "reports", "finance", "adhoc")
_printing = threading.Lock()


def callers_config(names=CALLERS, **more):
    """The configuration's list of callers, each with one key."""
    return [{"name": name, "keys": [{"id": "k1", "sha256": sha256(key_of(name))}], **more} for name in names]


def ms(seconds):
    """Seconds as the configuration's durations are written."""
    return f"{round(seconds * 1000)}ms"


class Table:
    """Rows of figures; a missed bound is counted. Rows of `shows` stand in the summary too."""

    def __init__(self):
        self.failures, self.shown, self.held = 0, [], None

    def say(self, line):
        """Print a line, or keep it until the end where others print meanwhile."""
        if self.held is None:
            print(line, flush=True)
        else:
            self.held.append(line)

    def section(self, title):
        self.say(f"-- {title}")

    def figure(self, name, value, at_most=None, at_least=None, exactly=None, unit=""):
        """One row of the table; returns it."""
        bounds = ((at_most, "<=", operator.le), (at_least, ">=", operator.ge), (exactly, "=", operator.eq))
        bounds = [(limit, sign, holds) for limit, sign, holds in bounds if limit is not None]
        missed = not all(holds(value, limit) for limit, _, holds in bounds)
        self.failures += missed
        text = f"{value:.3f}" if isinstance(value, float) and abs(value) < 10 else \
            f"{value:.2f}" if isinstance(value, float) else str(value)
        bound = ", ".join(f"{sign} {limit if isinstance(limit, str) else f'{limit:g}'}" for limit, sign, _ in bounds)
        verdict = "" if not bound else "FAIL" if missed else "PASS"
        row = f"{name:<74} {text:>10} {unit:<3} {bound:<10} {verdict}".rstrip()
        self.say(f"   {row}")
        return row

    def shows(self, name, value, **bounds):
        """A figure that the experiment is made for."""
        self.shown.append(self.figure(name, value, **bounds))

    def examples(self, what, found):
        """Show a few of what should not be there."""
        for one in list(found)[:5]:
            self.say(f"      {what}: {one}")

    def none(self, name, found, shows=False):
        """A row for something of which there must be none; shows a few where there are."""
        (self.shows if shows else self.figure)(name, len(found), exactly=0)
        self.examples(name, found)

    def complain(self, what):
        """A fault that is no figure."""
        self.failures += 1
        self.shown.append(f"{what.splitlines()[0]:<74} {'':>10}     {'':<10} FAIL")
        self.say(f"   {what}")


class Bench(Table):
    """A table and the processes that it is about; ended with it."""

    def __init__(self, title, options):
        super().__init__()
        self.title, self.options, self.started = title, options, time.monotonic()
        self.random = random.Random(options.seed)

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="jobgate-experiment-")
        folder = Path(self.temporary.name)
        self.fleet = Fleet(folder, Certificates(folder / "certificates"))
        return self

    def __exit__(self, kind, value, _):
        """End all processes; what they have to complain about is a missed bound."""
        try:
            self.fleet.stop()
        except AssertionError as error:
            self.complain(f"a process ended badly: {error}")
        self.temporary.cleanup()

    def chart(self, name, title, times, quota, window, marks=()):
        """Draw arrivals (seconds or a ledger), where --out names a folder."""
        if not self.options.out:
            return
        if times and isinstance(times[0], dict):
            times = [parse_time(entry["time"]) for entry in times]
        os.makedirs(self.options.out, exist_ok=True)
        file = os.path.join(self.options.out, f"{name}.svg")
        draw_arrivals(file, title, times, quota, window, marks)
        self.say(f"      drawn: {file}")


class Experiment(Bench):
    """
    A run with a table: `with Experiment(...) as e`, then e.figure(...) or e.run_cases(); sys.exit(e.finish()).
    CASES are functions of a Bench by name; the command line may choose among them. OPTIONS: its numbers and their
    defaults at full size. TOGETHER: several cases run at the same time, because they mostly wait.
    """

    def __init__(self, title, cases=None, together=False, **options):
        parser = argparse.ArgumentParser(description=title)
        if cases:
            parser.add_argument("case", nargs="*", metavar="CASE", help=f"of {' '.join(cases)} (all)")
        parser.add_argument("--out", default="", help="folder for the drawings of arrivals (none are made)")
        for name, value in {"seed": random.SystemRandom().randrange(1 << 32), **options}.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value,
                                help=f"({value})" if name != "seed" else "of the run's random choices (a new one)")
        options = parser.parse_args()
        super().__init__(title, options)
        self.cases, self.together, self.done = cases or {}, together, []
        unknown = [name for name in getattr(options, "case", []) if name not in self.cases]
        if unknown:
            parser.error(f"no such case: {' '.join(unknown)}; there are {' '.join(self.cases)}")
        print(f"== {title}\n   seed {options.seed}", flush=True)

    def run_cases(self):
        """Run the chosen cases, each with processes of its own; one that breaks down has failed, and the others go on."""
        chosen = self.options.case or list(self.cases)
        together = self.together and len(chosen) > 1
        threads = [threading.Thread(target=self._run_case, args=(name, together)) for name in chosen]
        for thread in threads:
            thread.start()
            if not together:
                thread.join()
        for thread in threads:
            thread.join()
        self.done.sort(key=lambda bench: chosen.index(bench.title))

    def _run_case(self, name, hold):
        bench = Bench(name, self.options)
        bench.held = [] if hold else None
        bench.say(f"-- case {name}")
        with bench:
            try:
                self.cases[name](bench)
            except Exception as error:  # pylint: disable=broad-except
                what = str(error).splitlines() or [type(error).__name__]
                bench.complain(f"broke down: {what[0][-62:]}\n{traceback.format_exc()}")
        bench.seconds = time.monotonic() - bench.started
        with _printing:
            self.failures += bench.failures
            self.done.append(bench)
            for line in bench.held or ():
                print(line, flush=True)

    def finish(self):
        """The summary, and the exit code."""
        if self.done:
            print("-- what it shows")
        for bench in self.done:
            verdict = "FAIL" if bench.failures else "PASS"
            print(f"   {bench.title}: {verdict} ({bench.seconds:.0f} s, {bench.failures} bounds missed)")
            for row in bench.shown:
                print(f"      {row}")
        print(f"== {self.title}: {'every bound holds' if not self.failures else f'{self.failures} BOUNDS MISSED'}"
              f" ({time.monotonic() - self.started:.0f} s)", flush=True)
        return 1 if self.failures else 0


def quota_config(e, requests, window, **more):
    """`upstream.quota`; its burst is the default, three quarters."""
    return {"requests": requests, "window": ms(window), **more}


def start_gateways(e, sim, redis, requests, window, count=3, callers=None, wait=20.0, each=None, **changes):
    """
    COUNT instances gate0, gate1... in front of SIM that share a quota through REDIS (a server or a URL). EACH(n): what
    instance n alone has (configuration's keys, or `env`, `prefix`).
    """
    url = redis if isinstance(redis, str) else redis.url
    gateways = [e.fleet.gateway(sim, **{
        "instance": f"gate{n}", "callers": callers or callers_config(), "store": {"redis": url},
        "upstream": {"quota": quota_config(e, requests, window)}, "wait": {"max": ms(wait), "queue": 1000},
        "audit": {"directory": "audit", "refusals": 10000}, **changes, **(each(n) if each else {})}) for n in range(count)]
    for gateway in gateways:
        gateway.settle()
    return gateways


def simulator(e, requests, window, kind="sliding", *more):
    """An upstream that counts; its jobs outlive the run, since an item forgets ended instances beyond its last hundred."""
    return e.fleet.simulator("--quota", f"{requests}/{window:g}", "--window", kind, "--job-seconds", 3600, *more)


def percentile(values, share):
    """The value below which that share of the sorted values lies; 0 where there is none."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def jain(values):
    """Jain's index of fairness: 1 where all are equal, 1/n where one has all."""
    values = list(values)
    squares = sum(v * v for v in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def arrivals(ledger):
    """The times of all arrivals in whole microseconds, in order."""
    return sorted(round(parse_time(entry["time"]) * 1e6) for entry in ledger)


def count_between(times, begin, end):
    """How many of TIMES (sorted microseconds) lie in [BEGIN, END), seconds."""
    return bisect.bisect_left(times, end * 1e6) - bisect.bisect_left(times, begin * 1e6)


def share_used(times, begin, seconds, quota, window):
    """Per cent of the quota that arrived in SECONDS from BEGIN (seconds) on."""
    return 100 * count_between(times, begin, begin + seconds) * window / (quota * seconds)


def most_in_a_window(times, window):
    """The largest number of TIMES (sorted microseconds) in any half-open window of WINDOW seconds, however aligned."""
    most = first = 0
    for last, time_us in enumerate(times):
        while time_us - times[first] >= window * 1000000:
            first += 1
        most = max(most, last - first + 1)
    return most


def show_quota(e, ledger, quota, window):
    """P1: no upstream 429, and no window of any alignment with more than the quota."""
    e.shows("upstream answers 429", sum(entry["status"] == 429 for entry in ledger), exactly=0)
    most = most_in_a_window(arrivals(ledger), window)
    e.shows(f"most arrivals in any window of {window:g} s (quota {quota})", most, at_most=quota)


def outcomes_by_request(records):
    """The outcomes of each request id, in a list."""
    found = {}
    for record in records:
        if record["kind"] == "outcome":
            found.setdefault(record["request_id"], []).append(record)
    return found


def show_journal(e, records, ledger):
    """P2: each trigger that arrived has an earlier intent, each intent exactly one outcome, each outcome an intent."""
    intents = {r["request_id"]: r for r in records if r["kind"] == "intent"}
    outcomes = outcomes_by_request(records)
    triggers = [entry for entry in ledger if entry["method"] != "GET"]
    early = []
    for entry in triggers:
        intent = intents.get((field(entry, "X-Request-Id") or [""])[0])
        if intent is None or parse_time(intent["time"]) > parse_time(entry["time"]):
            early.append((entry, intent))
    e.figure("intents", len(intents))
    e.figure("triggers that arrived upstream", len(triggers))
    e.none("triggers that arrived without an earlier intent", early)
    e.none("intents without exactly one outcome", [i for i in intents if len(outcomes.get(i, ())) != 1])
    e.none("outcomes without an intent", [o for o in outcomes if o not in intents])
    e.none("request ids with two intents", [r for r in records if r["kind"] == "intent" and
                                            intents[r["request_id"]] is not r])


def twice(values):
    """Those that were there before."""
    seen, again = set(), []
    for value in values:
        if value in seen:
            again.append(value)
        seen.add(value)
    return again


def endings(records):
    """How each trigger ended, by the id that its client gave it: lists of "refusal ..." and "outcome ..."."""
    found = {}
    for record in records:
        mine = found.setdefault(record.get("client_request_id"), [])
        if record["kind"] == "refusal":
            mine.append(f"refusal {record['status']} {record['error_code']}")
        elif record["kind"] == "outcome":
            mine.append(f"outcome {record['result']}")
    return found

