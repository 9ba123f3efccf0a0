"""P5 with a slow upstream, a full queue, a proxy in front that cuts connections, and clients that vanish.

Whoever is answered is answered in time, and whatever became of a client, its trigger has an ending in the journal and
its read one line in the log.
"""

import asyncio
import collections
import re
import socket
import struct
import sys
import time

from bench import CALLERS, Experiment, callers_config, endings, key_of, ms, percentile, show_journal, show_quota
from harness import BASE
from load import Client

LINGER_NOT = struct.pack("ii", 1, 0)
NAME = re.compile(rb"X-Request-Id: ([0-9a-f-]{36})\r\n")


class CuttingProxy:
    """Relays to a port, and cuts each connection a time after it was made, whatever is under way on it."""

    def __init__(self, target, seconds):
        self.target, self.seconds = target, seconds
        self.delivered = set()      # names of the requests that were handed to the gateway
        self.cuts = 0

    async def start(self):
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", 0, backlog=1000)
        return self.server.sockets[0].getsockname()[1]

    async def _relay(self, client, client_writer):
        gateway, gateway_writer = await asyncio.open_connection("127.0.0.1", self.target)
        pumps = [asyncio.create_task(self._pump(client, gateway_writer, True)),
                 asyncio.create_task(self._pump(gateway, client_writer, False))]
        done, _ = await asyncio.wait(pumps, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self.cuts += 1
            if self.cuts % 2:   # every other cut is a reset
                for writer in (client_writer, gateway_writer):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        for pump in pumps:
            pump.cancel()
        client_writer.close()
        gateway_writer.close()

    async def _pump(self, reader, writer, note):
        try:
            while data := await reader.read(65536):
                if note:
                    self.delivered.update(name.decode() for name in NAME.findall(data))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass


class Clients:
    """Many clients that submit and poll, come again when refused, and sometimes lose patience."""

    def __init__(self, e, port):
        self.e, self.port, self.fates, self.vanished = e, port, [], set()

    async def _one(self, number, until):
        client, random = Client(self.port, key_of(CALLERS[number % len(CALLERS)])), self.e.random
        latency = self.e.options.latency
        while time.monotonic() < until:
            vanish = random.random() < 0.15
            patience = random.uniform(0.001, 1.2 * latency / 1000) if vanish else 90
            headers = []
            if random.random() < 0.08:      # later than upstream.timeout: the job half reads on
                headers = [("X-Fabricsim-Latency", str(int(latency * 1.6)))]
            elif random.random() < 0.02:
                headers = [("X-Fabricsim-Fault", "stall")]
            poll = random.random() < 0.1
            what = ("GET", f"{BASE}/instances", None) if poll else ("POST", f"{BASE}/RunNotebook/instances", b"{}")
            fate = await client.request(*what, headers, patience, vanish)
            self.fates.append(fate)
            if fate.status == 429:
                await asyncio.sleep(random.uniform(0.5, 3))
        client.close()

    async def run(self, count, seconds):
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._one(number, until) for number in range(count)))


async def run_load(e, gateway):
    proxy = CuttingProxy(gateway.port, e.options.cut)
    clients = Clients(e, await proxy.start())
    await clients.run(e.options.clients, e.options.seconds)
    proxy.server.close()
    return proxy, clients.fates


def show_fates(e, proxy, fates):
    o = e.options
    e.figure("requests sent", len(fates))
    e.figure("connections that the proxy cut", proxy.cuts, at_least=1)
    e.figure("requests that were cut", sum(f.error.startswith("cut") for f in fates), at_least=1)
    e.figure("requests whose client vanished", sum(f.error == "vanished" for f in fates), at_least=1)
    e.none("requests without an answer that neither were cut nor vanished",
           [f for f in fates if f.error and f.error != "vanished" and not f.error.startswith("cut")])
    answered = [f for f in fates if f.status]
    for (status, code), count in sorted(collections.Counter((f.status, f.code) for f in answered).items()):
        e.figure(f"answered {status} {code}", count)
    e.figure("refused since the queue was full", sum(f.code == "JobgateQueueFull" for f in answered), at_least=1)
    served = [f for f in answered if f.relayed or f.status in (409, 504)]
    e.figure("answered by the upstream, or for it since it was late", len(served), at_least=1)
    e.figure("time to an answer, median", percentile([f.seconds for f in answered], 0.5), unit="s")
    e.figure("time to an answer, longest", max((f.seconds for f in answered), default=0.0), at_most=o.longest, unit="s")
    e.none(f"answers later than {o.longest:g} s", [f for f in answered if f.seconds > o.longest])


def show_endings(e, proxy, fates, gateway, records):
    """Each request that reached the gateway ended exactly once, whatever its client saw."""
    ended = endings(records)
    posts = [f for f in fates if f.method == "POST" and f.name in proxy.delivered]
    gets = [f for f in fates if f.method == "GET" and f.name in proxy.delivered]
    e.figure("triggers that reached the gateway", len(posts))
    e.none("  without exactly one ending in the journal", [(f, ended.get(f.name)) for f in posts
                                                           if len(ended.get(f.name, ())) != 1])
    lost = [f for f in posts if not f.status]
    e.figure("  of them cut or vanished", len(lost), at_least=1)
    for ending, count in sorted(collections.Counter(ended[f.name][0] for f in lost if f.name in ended).items()):
        e.figure(f"    their ending: {ending}", count)
    told = collections.Counter(event.get("client_request_id") for event in gateway.events("request"))
    e.figure("reads that reached the gateway", len(gets))
    e.none("  without exactly one line in the log", [f for f in gets if told[f.name] != 1])
    for result in ("accepted", "unknown", "cancelled", "failed", "refused", "rejected"):
        e.figure(f"outcomes: {result}", sum(r["kind"] == "outcome" and r["result"] == result for r in records))
    e.none("records that lump refusals together", [r for r in records if r["kind"] == "refusal" and r["count"] != 1])


def main():
    with Experiment("slow: a slow upstream, a full queue, cut connections, vanishing clients", clients=120,
                    seconds=150.0, latency=25000, cut=60.0, wait=20.0, quota=20, window=10.0, queue=30, timeout=30.0,
                    longest=55.0, drain=35.0) as e:
        o = e.options
        sim = e.fleet.simulator("--quota", f"{o.quota}/{o.window:g}", "--window", "sliding", "--latency", o.latency)
        gateway = e.fleet.gateway(
            sim, callers=callers_config(), wait={"max": ms(o.wait), "queue": o.queue}, drain={"timeout": ms(o.drain)},
            upstream={"quota": {"requests": o.quota, "window": ms(o.window)}, "timeout": ms(o.timeout)},
            audit={"directory": "audit", "refusals": 10000})
        proxy, fates = asyncio.run(run_load(e, gateway))
        begun = time.monotonic()
        gateway.stop()
        e.figure("SIGTERM to the end, with job halves still reading", time.monotonic() - begun, unit="s")
        records, ledger = gateway.records(), sim.ledger()
        show_fates(e, proxy, fates)
        show_endings(e, proxy, fates, gateway, records)
        show_quota(e, ledger, o.quota, o.window)
        show_journal(e, records, ledger)
    sys.exit(e.finish())


main()
