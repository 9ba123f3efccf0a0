"""Asks ports for /healthz again and again, in a process of its own: `health.py PORT...` until its input ends."""

import json
import os
import select
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "system"))

from wire import Connection  # noqa: E402

INTERVAL = 0.03


def probe(port, ended, times, wrong):
    """On one connection, so that what is measured is the gateway's turn and no handshake."""
    with Connection(port) as connection:
        while not ended.wait(INTERVAL):
            begun = time.monotonic()
            answer = connection.request("GET", "/healthz")
            times.append((time.monotonic() - begun) * 1000)
            if answer.status != 200:
                wrong.append(repr(answer))


class HealthProbes:
    """The probes of some gateways' admin and callers' ports; `finish` ends them, then .times (ms) and .wrong are there."""

    def __init__(self, gateways):
        ports = [str(port) for g in gateways for port in (g.admin_port, g.port)]
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), *ports], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.times, self.wrong = [], []

    def finish(self):
        out, _ = self.process.communicate("", timeout=30)
        self.times, self.wrong = json.loads(out)

    def show(self, e, at_most):
        """The rows of a table; AT_MOST: of the 99th percentile, in milliseconds."""
        times = sorted(self.times)
        e.figure("health checks", len(times), at_least=1)
        e.none("  not answered 200", self.wrong)
        if times:
            e.figure("  median", times[len(times) // 2], unit="ms")
            e.shows("/healthz, p99", times[int(len(times) * 0.99)], at_most=at_most, unit="ms")
            e.figure("  longest", times[-1], unit="ms")


def main():
    ended, times, wrong = threading.Event(), [], []
    threads = [threading.Thread(target=probe, args=(int(port), ended, times, wrong)) for port in sys.argv[1:]]
    for thread in threads:
        thread.start()
    select.select([sys.stdin], [], [])
    ended.set()
    for thread in threads:
        thread.join()
    json.dump([times, wrong], sys.stdout)


if __name__ == "__main__":
    main()
