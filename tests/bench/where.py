"""Where jobgate's work for one request goes: processor time by thread, system calls by name, instructions by function.

Two builds (--build, --before) are loaded by turns, so that what disturbs the machine disturbs both. What counts least on a
busy machine are the clocks, most the counts: system calls (perf trace) and instructions (--callgrind, user space alone).
"""

import argparse
import functools
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time

from meter import Load, cpu_us
from peers import Jobgate
from report import quartiles
from stage import Stage, warm_memory
from work import Daemon, body_of, wait_open, write_json


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("JOBGATE_BUILD", ""), help="folder of the build (JOBGATE_BUILD)")
    parser.add_argument("--before", default="", help="folder of another build, loaded by turns with it")
    parser.add_argument("--rounds", type=int, default=5, help="of load for the processor time; 0: none")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--body", type=int, default=300)
    parser.add_argument("--tls", action="store_true", help="callers come by TLS")
    parser.add_argument("--calls", action="store_true", help="system calls per request, by perf trace")
    parser.add_argument("--callgrind", type=int, default=0, metavar="N", help="instructions per request over N requests, by valgrind")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="with --callgrind: the N functions that cost most")
    return parser.parse_args()


class Gate(Jobgate):
    """One build of jobgate, by itself or under valgrind."""

    wrapper = ()

    def __init__(self, build, *args):
        self.build = build
        super().__init__(*args)

    def start(self):
        if not self.wrapper:
            super().start()
            return
        self.audit = tempfile.mkdtemp(prefix="jobgate-bench-", dir="/dev/shm")
        self.admin_port = self.port + 1 if self.port < 65535 else self.port - 1
        path = os.path.join(self.folder, "jobgate.json")
        write_json(path, self.configuration())
        self.daemon = Daemon(self.folder, 0, [*self.wrapper, os.path.join(self.build, "jobgate"), "serve", "--config", path])
        wait_open(self.port, self.daemon, 60)


class Valgrind(Gate):
    wrapper = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=callgrind.out", "-q")

    def count(self, on):
        subprocess.run(["callgrind_control", "-i", "on" if on else "off", str(self.daemon.pid)], check=True, capture_output=True)


def threads(pid):
    """{name: [processor time in us, switches asked for, switches forced]} of all threads."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        folder = f"/proc/{pid}/task/{task}/"
        with open(folder + "comm", encoding="ascii") as file:
            name = file.read().strip()
        with open(folder + "schedstat", encoding="ascii") as file:
            used = int(file.read().split()[0]) / 1000
        with open(folder + "status", encoding="ascii") as file:
            switches = [int(n) for n in re.findall(r"ctxt_switches:\s*(\d+)", file.read())]
        row = found.setdefault(name, [0, 0, 0])
        for i, value in enumerate([used, *switches]):
            row[i] += value
    return found


def per_request(before, after, requests):
    return {name: [(b - a) / requests for a, b in zip(before.get(name, [0] * 3), row)] for name, row in after.items()}


def modes(pid):
    """Processor time in user and in kernel mode, in ticks."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]), int(fields[12])


class Bench(Stage):
    def __init__(self, options):
        super().__init__("jobgate-where-")
        self.options = options
        self.load = Load(self.folder, body_of(options.body), options.tls)

    def gate(self, kind, build):
        return self.add(functools.partial(kind, build), self.options)

    def wrk(self, gate, seconds):
        """Load GATE and return the number of requests; raises where one went wrong."""
        _, served = self.upstream.counts()
        said = self.load.wrk(gate.port, self.options.connections, seconds)
        if said["errors"] or said["not_2xx"]:
            raise RuntimeError(f"{said}: {gate.daemon.said()}")
        return self.upstream.counts()[1] - served, said


def cpu(bench, gates):
    """Rounds by turns: processor time per request."""
    rows = {name: [] for name, _ in gates}
    parts = {name: [] for name, _ in gates}
    for _, gate in gates:
        bench.wrk(gate, 1)
    for number in range(bench.options.rounds):
        for name, gate in gates if number % 2 else gates[::-1]:
            warm_memory()
            pid = gate.daemon.pid
            used, by_thread, mode = cpu_us([pid]), threads(pid), modes(pid)
            requests, said = bench.wrk(gate, bench.options.seconds)
            user, system = (b - a for a, b in zip(mode, modes(pid)))
            rows[name].append((cpu_us([pid]) - used) / requests)
            parts[name].append((per_request(by_thread, threads(pid), requests), user / max(1, user + system), said))
    for name, _ in gates:
        low, mid, high = quartiles(rows[name])
        share = statistics.median(p[1] for p in parts[name])
        rps = statistics.median(p[2]["requests"] / p[2]["duration_us"] * 1e6 for p in parts[name])
        print(f"{name}: {mid:.1f} us/request ({low:.1f} .. {high:.1f}), user {share:.0%}, {rps:.0f} requests/s")
        for thread in sorted(parts[name][0][0]):
            us, asked, forced = (statistics.median(p[0][thread][i] for p in parts[name]) for i in range(3))
            print(f"   {thread:16} {us:7.1f} us   switches asked {asked:.3f}, forced {forced:.3f}")
    if len(gates) == 2:
        ratios = [b / a for a, b in zip(rows[gates[0][0]], rows[gates[1][0]])]
        print("ratio {1:.3f} ({0:.3f} .. {2:.3f})".format(*quartiles(ratios)))
        if len(ratios) > 1:
            tenths = [statistics.quantiles(rows[name], n=10, method="inclusive")[0] for name, _ in gates]
            print(f"ratio of the undisturbed (first tenth): {tenths[1] / tenths[0]:.3f}")


def calls(bench, gates):
    """System calls per request by name."""
    found = {}
    for name, gate in gates:
        with open(os.path.join(bench.folder, "trace"), "w+", encoding="utf-8") as out:
            tracer = subprocess.Popen(["perf", "trace", "-s", "-p", str(gate.daemon.pid)], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
            time.sleep(1)       # perf says nowhere that it has begun
            requests, _ = bench.wrk(gate, bench.options.seconds)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
            out.seek(0)
            thread, rows = "", {}
            for line in out.read().splitlines():
                title = re.match(r"\s*(\S.*?) \(\d+\), \d+ events", line)
                row = re.match(r"\s+(\w+)\s+(\d+)\s+(\d+)\s+[\d.]+", line)
                if title:
                    thread = title[1]
                elif row:
                    rows[(thread, row[1])] = rows.get((thread, row[1]), 0) + int(row[2]) / requests
        found[name] = rows
    print(f"\n{'system calls per request':40}" + "".join(f"{name:>10}" for name, _ in gates))
    for key in sorted({key for rows in found.values() for key in rows}, key=lambda k: -max(r.get(k, 0) for r in found.values())):
        if max(rows.get(key, 0) for rows in found.values()) >= 0.002:
            print(f"   {key[0]:16} {key[1]:20}" + "".join(f"{found[name].get(key, 0):10.3f}" for name, _ in gates))
    print(f"   {'all':37}" + "".join(f"{sum(found[name].values()):10.3f}" for name, _ in gates))


def instructions(bench, builds):
    """Instructions per request in user space."""
    o = bench.options
    for name, build in builds:
        gate = bench.gate(Valgrind, build)
        bench.load.h2load(gate.port, o.connections, 4 * o.connections)
        gate.count(True)
        bench.load.h2load(gate.port, o.connections, o.callgrind)
        gate.count(False)
        gate.daemon.stop()
        said = subprocess.run(["callgrind_annotate", "--threshold=100", os.path.join(gate.folder, "callgrind.out")],
                              capture_output=True, text=True, check=False).stdout
        total = int(re.search(r"([\d,]+) .*PROGRAM TOTALS", said)[1].replace(",", ""))
        print(f"\n{name}: {total / o.callgrind:.0f} instructions per request")
        rows = re.findall(r"^ *([\d,]+) \([^)]*\)  (\S*?)([^/\s]+:\S+)(?: \[(.*)\])?", said, re.M)
        for count, _, function, library in rows[:o.functions]:
            print(f"   {int(count.replace(',', '')) / o.callgrind:9.0f}  {function[:60]:60} {os.path.basename(library)}")


def main():
    options = arguments()
    builds = ([("before", options.before)] if options.before else []) + [("build", options.build)]
    with Bench(options) as bench:
        gates = [(name, bench.gate(Gate, build)) for name, build in builds] if options.rounds or options.calls else []
        if options.rounds:
            cpu(bench, gates)
        if options.calls:
            calls(bench, gates)
        if options.callgrind:
            instructions(bench, builds)


if __name__ == "__main__":
    main()
