"""A fast quota, 20,000 per 10 s: a million grants at the full rate, and what the limiter adds at half of it."""

import asyncio
import os
import re
import subprocess
import sys
import time

from bench import CALLERS, Experiment, ms, percentile, quota_config, show_quota, simulator, start_gateways
from harness import BUILD
from load import Mix, offer


def run_full(e):
    """
    Three limiters with six workers against Redis, in one process without the HTTP on either side of them: a machine that can
    run this can do so at the full rate.
    """
    o = e.options
    program = os.path.join(BUILD, "unit", "test_limiter_load")
    done = subprocess.run([program, "--grants", str(o.grants)], capture_output=True, text=True, check=False,
                          timeout=o.grants / 500 + 60)
    line = next((line for line in done.stdout.splitlines() if "granted of" in line), "")
    e.say(f"      {line or done.stderr[-300:]}")
    numbers = re.search(r"(\d+) granted of .* most in a window (\d+), used ([\d.]+) %", line)
    assert numbers, "the program did not end well"
    e.shows("granted", int(numbers[1]), at_least=o.grants)
    e.shows(f"most in any window of {o.window:g} s", int(numbers[2]), at_most=o.quota)
    e.shows("quota used from the second window on", float(numbers[3]), at_least=98.5, unit="%")


def run_half(e):
    o = e.options
    sim, redis = simulator(e, o.quota, o.window), e.fleet.redis()
    quota = quota_config(e, o.quota, o.window, jitter=ms(o.jitter))
    gateways = start_gateways(e, sim, redis, o.quota, o.window, upstream={"quota": quota})
    time.sleep(1)           # an empty quota begins to fill
    rate = o.quota / o.window / 2
    fates = asyncio.run(offer(rate, o.seconds, Mix(e, gateways, callers=CALLERS[:2])))
    fates = [f for f in fates if f]
    for gateway in gateways:
        gateway.stop()
    show_quota(e, sim.ledger(), o.quota, o.window)
    begun, ended = min(f.sent for f in fates), max(f.sent + f.seconds for f in fates)
    e.figure("answered a second, of what half the quota is", 100 * len(fates) / (ended - begun) / rate, at_least=90.0, unit="%")
    e.none("other answers than 200 and 202", [f for f in fates if f.status not in (200, 202)])
    waits = [f.wait * 1000 for f in fates if f.sent >= begun + 2]
    e.shows("what the limiter adds, median (Server-Timing: wait)", percentile(waits, 0.5), at_most=o.adds, unit="ms")
    e.figure("  p99", percentile(waits, 0.99), unit="ms")
    e.figure("whole answer, median", percentile([f.seconds * 1000 for f in fates], 0.5), unit="ms")


def main():
    with Experiment("fast: a quota of 20,000 per 10 s", {"half": run_half, "full": run_full}, quota=20000, window=10.0,
                    jitter=0.05, seconds=20.0, grants=1000000, adds=1.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
