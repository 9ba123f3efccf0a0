"""
Clocks that disagree: the wall clocks of the instances are off by seconds, their monotonic ones days apart; and the clock of Redis
is stepped back and forth.
"""

import asyncio
import glob
import itertools
import os
import subprocess
import sys
import threading
import time

from bench import Experiment, arrivals, field, parse_time, share_used, show_quota, simulator, start_gateways
from harness import Redis
from load import Mix, offer

# Where Debian's libfaketime puts it, whatever the architecture.
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
APART = (0, 1000, 200000)   # seconds of the monotonic and boot-time clocks


def faketime():
    found = glob.glob(FAKETIME)
    assert found, f"{FAKETIME} is missing: install libfaketime"
    return found[0]


def own_time(seconds):
    """A command's prefix: monotonic and boot-time clocks that many SECONDS ahead. The command is not forked off."""
    user = [] if os.geteuid() == 0 else ["-r"]
    return ["unshare", *user, "-T", "--monotonic", str(seconds), "--boottime", str(seconds), "nsenter",
            "--time=/proc/self/ns/time_for_children", "--"]


def off_by(wall, monotonic):
    """What start_gateways takes for an instance whose clocks are off."""
    env = {"LD_PRELOAD": faketime(), "FAKETIME": f"{wall:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"} if wall else {}
    return {"env": env, "prefix": own_time(monotonic) if monotonic else ()}


def monotonic_of(pid):
    """Seconds that a process's monotonic clock is ahead of the machine's."""
    with open(f"/proc/{pid}/timens_offsets", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("monotonic"))


def show_clocks(e, gateways, ledger, wanted, ahead):
    """That they were off indeed: the records' times against those of the ledger, the kernel's word for the other clock."""
    arrived = {name: parse_time(entry["time"]) for entry in ledger for name in field(entry, "X-Request-Id")}
    for gateway, (wall, apart), is_ahead in zip(gateways, wanted, ahead):
        offs = sorted(parse_time(r["time"]) - arrived[r["request_id"]] for r in gateway.records("outcome")
                      if r["request_id"] in arrived)
        name = gateway.config["instance"]
        off = offs[len(offs) // 2] if offs else 99.0
        e.figure(f"{name}: its records' time less the ledger's, median", off, at_least=wall - 0.5, at_most=wall + 0.5, unit="s")
        e.figure(f"{name}: its monotonic clock is ahead by", is_ahead, exactly=apart, unit="s")


class SteppedRedis(Redis):
    """A redis-server whose wall clock can be stepped while it runs; its monotonic one is the machine's."""

    def __init__(self, folder):
        self.file, shim = f"{folder}/clock", f"{folder}/stepped_clock.so"
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stepped_clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", shim, source], check=True)
        self.step(0)
        super().__init__(folder, env={"LD_PRELOAD": shim, "STEPPED_CLOCK": self.file})

    def step(self, seconds):
        """From now on it is that many SECONDS off."""
        with open(self.file, "w" if not os.path.exists(self.file) else "r+", encoding="ascii") as file:
            file.write(f"{seconds:<20}")    # one write of one length: never half of it

    def seconds_off(self):
        """By its own word, against the machine's clock."""
        return int(self.command("TIME").split(b"\r\n")[2]) - time.time()


def step_by_turns(e, redis, done):
    """Step the clock back and forth until DONE; what it was then off by."""
    o, offs = e.options, []
    for off in itertools.cycle((-60, 30, -60, 0)):
        if done.wait(o.step_every):
            return offs
        redis.step(off)
        offs.append((off, redis.seconds_off()))


def show_served(e, ledger, fates):
    """That the quota was kept and used, and everybody answered."""
    o = e.options
    times = arrivals(ledger)
    show_quota(e, ledger, o.quota, o.window)
    used = share_used(times, times[0] / 1e6 + o.window, o.seconds - o.window, o.quota, o.window)
    e.shows("quota used from the second window on", used, at_least=o.least, unit="%")
    e.none("requests without an answer", [f for f in fates if f is None or not f.status], shows=True)


def run_store(e):
    o = e.options
    sim, redis = simulator(e, o.quota, o.window), e.fleet.redis(SteppedRedis)
    gateways = start_gateways(e, sim, redis, o.quota, o.window)
    done, offs = threading.Event(), []
    stepper = threading.Thread(target=lambda: offs.extend(step_by_turns(e, redis, done)))
    stepper.start()
    fates = asyncio.run(offer(o.times * o.quota / o.window, o.seconds, Mix(e, gateways)))
    done.set()
    stepper.join()
    for gateway in gateways:
        gateway.stop()
    e.figure("steps of its clock, by 60 to 90 s", len(offs), at_least=o.seconds / o.step_every - 2)
    e.figure("of them as wanted, by its own word", sum(abs(is_off - off) < 2 for off, is_off in offs), exactly=len(offs))
    ledger = sim.ledger()
    show_served(e, ledger, fates)
    e.chart("clocks-store", "the clock of Redis stepped by 60 to 90 s", ledger, o.quota, o.window)


def run_off(e, wanted):
    o = e.options
    sim, redis = simulator(e, o.quota, o.window), e.fleet.redis()
    gateways = start_gateways(e, sim, redis, o.quota, o.window, each=lambda n: off_by(*wanted[n]))
    ahead = [monotonic_of(g.pid) for g in gateways]
    fates = asyncio.run(offer(o.times * o.quota / o.window, o.seconds, Mix(e, gateways)))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    show_served(e, ledger, fates)
    for n, gateway in enumerate(gateways):
        share = sum(f.relayed for f in fates if f and f.port == gateway.port) / max(1, sum(f.relayed for f in fates if f))
        e.figure(f"served by gate{n}, of all", 100 * share, at_least=20.0, unit="%")
    show_clocks(e, gateways, ledger, wanted, ahead)
    e.chart(f"clocks-{e.title}", f"clocks off by {', '.join(f'{wall:+d}/{apart:+d} s' for wall, apart in wanted)}", ledger,
            o.quota, o.window)


def main():
    cases = {
        "wall": lambda e: run_off(e, [(5, 0), (-5, 0), (0, 0)]),
        "monotonic": lambda e: run_off(e, [(0, apart) for apart in APART]),
        "store": run_store,
        "both": lambda e: run_off(e, [(5, 200000), (-5, 0), (0, 1000)]),
    }
    subprocess.run([*own_time(1), "true"], check=True)      # says what is missing before the cases begin
    with Experiment("clocks: instances whose clocks disagree", cases, together=True, quota=200, window=60.0, times=5.0,
                    seconds=180.0, least=98.5, step_every=15.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
