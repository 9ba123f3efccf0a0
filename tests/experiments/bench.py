"""What the experiments share: real processes in a folder, a table of figures with bounds, sums over their records."""

import argparse
import operator
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "system"))
# The experiments measure, so they take the optimised build unless told otherwise.
os.environ.setdefault("JOBGATE_BUILD", os.path.join(os.path.dirname(TESTS), "build-test"))

from certificates import Certificates  # noqa: E402
from conftest import Fleet  # noqa: E402
from harness import field, parse_time, sha256  # noqa: E402

CALLERS = ("etl", "reports", "finance", "adhoc")


def key_of(caller):
    return f"key-of-{caller}"


def callers_config(**more):
    """The configuration's list of the callers above, each with one key."""
    return [{"name": name, "keys": [{"id": "k1", "sha256": sha256(key_of(name))}], **more} for name in CALLERS]


def ms(seconds):
    """Seconds as the configuration's durations are written."""
    return f"{round(seconds * 1000)}ms"


class Experiment:
    """A run with a table: `with Experiment(...) as e`, then e.figure(...); sys.exit(e.finish())."""

    def __init__(self, title, **options):
        """OPTIONS: the command line's numbers and their defaults at full size."""
        parser = argparse.ArgumentParser(description=title)
        for name, value in {"seed": random.SystemRandom().randrange(1 << 32), **options}.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value,
                                help=f"({value})" if name != "seed" else "of the run's random choices (a new one)")
        self.options = parser.parse_args()
        self.random = random.Random(self.options.seed)
        self.title, self.failures, self.started = title, 0, time.monotonic()
        print(f"== {title}\n   seed {self.options.seed}", flush=True)

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
            self.failures += 1
            print(f"   a process ended badly: {error}", flush=True)
        self.temporary.cleanup()

    def section(self, title):
        print(f"-- {title}", flush=True)

    def figure(self, name, value, at_most=None, at_least=None, exactly=None, unit=""):
        """One row of the table; a missed bound is counted."""
        bounds = ((at_most, "<=", operator.le), (at_least, ">=", operator.ge), (exactly, "=", operator.eq))
        bounds = [(limit, sign, holds) for limit, sign, holds in bounds if limit is not None]
        missed = not all(holds(value, limit) for limit, _, holds in bounds)
        self.failures += missed
        text = f"{value:.2f}" if isinstance(value, float) else str(value)
        bound = ", ".join(f"{sign} {limit if isinstance(limit, str) else f'{limit:g}'}" for limit, sign, _ in bounds)
        verdict = "" if not bound else "MISSED" if missed else "ok"
        print(f"   {name:<74} {text:>10} {unit:<3} {bound:<10} {verdict}".rstrip(), flush=True)

    def examples(self, what, found):
        """Show a few of what should not be there."""
        for one in list(found)[:5]:
            print(f"      {what}: {one}", flush=True)

    def none(self, name, found):
        """A row for something of which there must be none; shows a few where there are."""
        self.figure(name, len(found), exactly=0)
        self.examples(name, found)

    def finish(self):
        """The exit code, and the last line."""
        print(f"== {self.title}: {'every bound holds' if not self.failures else f'{self.failures} BOUNDS MISSED'}"
              f" ({time.monotonic() - self.started:.0f} s)", flush=True)
        return 1 if self.failures else 0


def percentile(values, share):
    """The value below which that share of the sorted values lies; 0 where there is none."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def arrivals(ledger):
    """The times of all arrivals in whole microseconds, in order."""
    return sorted(round(parse_time(entry["time"]) * 1e6) for entry in ledger)


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
    e.figure("upstream answers 429", sum(entry["status"] == 429 for entry in ledger), exactly=0)
    most = most_in_a_window(arrivals(ledger), window)
    e.figure(f"most arrivals in any window of {window:g} s (quota {quota})", most, at_most=quota)


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

