"""What memory a connection, a waiting request and a long run cost: private bytes of the proxy's processes.

A connection's bytes are the difference between some connections and five times as many, so that what a proxy has anyway
is no part of it. Memory of the kernel for sockets is not counted, for none of the proxies.
"""

import argparse
import os
import re
import socket
import ssl
import sys
import time

import report
from gates import Gate, Shape
from meter import Load
from peers import Haproxy, NginxLua, NginxMap, NginxPlain
from stage import Stage
from work import KEY, LEGACY, body_of, write_json

KINDS = (Gate, NginxLua, Haproxy, NginxMap, NginxPlain)
# What a connection of jobgate may take once its request is answered, and what it aims at: bytes by plain and by TLS.
IDLE_MOST, IDLE_AIM = (3 << 10, 15 << 10), (2253, 11 << 10)
# Beyond its half-way mark a long run may need this much more: what chance puts into malloc's arenas.
STEADY_MOST = 1.02
REST = 1        # seconds after which a proxy has given back what it gives back


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=["idle", "waiting", "steady"], choices=("idle", "waiting", "steady"))
    parser.add_argument("--connections", type=int, default=5000, help="idle ones, and waiting requests (5000)")
    parser.add_argument("--requests", type=int, default=2000000, help="of the long run (2000000)")
    parser.add_argument("--points", type=int, default=20, help="at which the long run's memory is read (20)")
    parser.add_argument("--only", nargs="*", default=[], help="names of the proxies; all")
    parser.add_argument("--out", default="", help="folder for the figures (JSON) and the chart (SVG)")
    return parser.parse_args()


def private_bytes(pids):
    """Memory that the processes share with nobody."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", file.read(), re.M)))
    return total << 10


def resident_bytes(pids):
    """VmRSS of the processes."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            total += int(re.search(r"^VmRSS:\s+(\d+)", file.read(), re.M)[1])
    return total << 10


class Callers:
    """Connections of callers that stay open until close()."""

    REQUEST = (f"POST {LEGACY} HTTP/1.1\r\nHost: gate.example\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body_of(300))}\r\n\r\n{body_of(300)}").encode()

    def __init__(self, proxy):
        self.port, self.open = proxy.port, []
        self.trust = ssl.create_default_context(cafile=proxy.certificates.path("ca.pem")) if proxy.options.tls else None

    def connect(self, count):
        """Open COUNT more; returns them."""
        more = []
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            more.append(self.trust.wrap_socket(plain, server_hostname="gate.example") if self.trust else plain)
        self.open += more
        return more

    def ask(self, count):
        """Open COUNT more, each with one answered request, one after the other."""
        for one in self.connect(count):
            one.sendall(self.REQUEST)
            answer = one.recv(65536)
            if not answer.startswith(b"HTTP/1.1 202 "):
                raise RuntimeError(f"answered {answer[:300]}")

    def wait(self, count):
        """Open COUNT more, each with one request of which the answer is not read."""
        for one in self.connect(count):
            one.sendall(self.REQUEST)

    def close(self):
        for one in self.open:
            one.close()


def each(proxy, more, count):
    """Private bytes that MORE of something take each, from a fifth of COUNT on."""
    seen = []
    for part in (count // 5, count - count // 5):
        more(part)
        time.sleep(REST)
        seen.append(private_bytes(proxy.pids()))
    return (seen[1] - seen[0]) / part


def idle_of(stage, kind, tls, count):
    """Bytes of an idle connection of that KIND: never used, and after one request."""
    found = []
    for way in (Callers.connect, Callers.ask):
        proxy = stage.add(kind, Shape(tls=tls))
        callers = Callers(proxy)
        found.append(each(proxy, lambda n, c=callers, w=way: w(c, n), count))
        callers.close()
        stage.drop(proxy)
    return {"unused": found[0], "used": found[1]}


def idle(stage, options):
    """A row for each proxy, plain and TLS."""
    found = {}
    print(f"{f'bytes per idle connection, of {options.connections}':44} {'plain':>8} {'never used':>11} {'TLS':>8} {'never used':>11}")
    for kind in KINDS:
        if options.only and kind.name not in options.only:
            continue
        plain, tls = (idle_of(stage, kind, tls, options.connections) for tls in (False, True))
        found[kind.name] = {"plain": plain, "tls": tls}
        print(f"{kind.name:44} {plain['used']:8.0f} {plain['unused']:11.0f} {tls['used']:8.0f} {tls['unused']:11.0f}", flush=True)
    return found


def waiting(stage, options):
    """Bytes of one more waiting request, with its connection."""
    # So few are granted a second that nearly all still wait when they are counted, and none so long that it is refused.
    gate = stage.add(Gate, Shape(quota=max(2, options.connections // 200), wait="300s"))
    gate.settle()
    callers = Callers(gate)
    value = each(gate, callers.wait, options.connections)
    held = gate.waiting()
    callers.close()
    stage.drop(gate)
    print(f"{'bytes per waiting request, its connection with it':44} {value:8.0f}   ({held} of {options.connections} still waited); "
          f"none of the peers waits: each refuses", flush=True)
    return {"bytes": value, "held": held}


def steady(stage, options):
    """[requests so far, VmRSS, private bytes] at each point of a long run."""
    gate, found = stage.add(Gate, Shape()), []
    gate.settle()
    load, part = Load(stage.folder, body_of(300)), max(64, options.requests // options.points)
    print(f"{'requests so far':>16} {'VmRSS KB':>10} {'private KB':>11}")
    for number in range(options.points):
        said = load.h2load(gate.port, 64, part)
        if said["errors"] or said["not_2xx"]:
            raise RuntimeError(f"{said}: {gate.daemon.said()}")
        found.append([part * (number + 1), resident_bytes(gate.pids()), private_bytes(gate.pids())])
        print(f"{found[-1][0]:16} {found[-1][1] >> 10:10} {found[-1][2] >> 10:11}", flush=True)
    stage.drop(gate)
    return found


def bounds(found):
    """Print each bound; the number of those missed."""
    missed = 0
    if Gate.name in found.get("idle", {}):
        for words, name, most, aim in zip(("plain", "TLS"), ("plain", "tls"), IDLE_MOST, IDLE_AIM):
            missed += report.hold(f"bytes per idle {words} connection", found["idle"][Gate.name][name]["used"], most, False, aim)
    if found.get("steady"):
        points = found["steady"]
        half = points[(len(points) - 1) // 2]
        missed += report.hold("VmRSS at the end / half-way", points[-1][1] / half[1], STEADY_MOST, False, 1)
        print(f"   private bytes that a request of the second half left: {(points[-1][2] - half[2]) / max(1, points[-1][0] - half[0]):.3f}")
    return missed


def draw(found, folder):
    """Draw what an idle connection takes, and how the long run's memory went."""
    if found.get("idle"):
        draw_idle(found["idle"], os.path.join(folder, "memory.svg"))
    if found.get("steady"):
        rows = [(f"{requests:,} requests", [rss >> 10] * 3, report.COLORS["jobgate"], str(rss >> 10)) for requests, rss, _ in found["steady"]]
        report.bars(rows, "Resident memory of jobgate in a long run", "KB (VmRSS)", os.path.join(folder, "steady.svg"))


def draw_idle(found, path):
    rows = [(f"{name}, {words}", [row[key]["used"]] * 3, report.COLORS.get(name, report.GREY), f"{row[key]['used']:.0f}")
            for key, words in (("plain", "plain"), ("tls", "TLS")) for name, row in found.items()]
    report.bars(rows, "Private memory of the proxy per idle connection", "bytes, after one request; shorter is better", path)


def main():
    options, found = arguments(), {}
    with Stage("jobgate-memory-") as stage:
        for name, measure in (("idle", idle), ("waiting", waiting), ("steady", steady)):
            if name in options.parts:
                found[name] = measure(stage, options)
    missed = bounds(found)
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        write_json(os.path.join(options.out, "memory.json"), {"options": vars(options), "found": found,
                                                              "time": time.strftime("%FT%TZ", time.gmtime())})
        draw(found, options.out)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
