"""
Jobs that start once, whatever the clients repeat (no keys): clients that give up after 5 s, half of them behind a proxy that does,
before an upstream that takes 8 s; they retry as Airflow, azcore and sempy do, and a task-level retry repeats on every failure. Then honest
repeats of delivered jobs, a job at a steady pace one of whose clients is killed, and an upstream that fails after it has committed.
"""

import asyncio
import collections
import sys
import time

from bench import Experiment, ms
from harness import BASE, KEY, sha256

RUN = f"{BASE}/RunNotebook/instances"


class Kind:
    """How a well-known client repeats a POST (reference: fabric.md 5)."""

    def __init__(self, name, statuses, attempts, pause, transport):
        self.name, self.statuses, self.attempts, self.pause, self.transport = name, statuses, attempts, pause, transport


KINDS = (Kind("airflow", {408, 425, 429, 500, 502, 503, 504}, 5, 1.0, True),
         Kind("azcore", {408, 429, 500, 502, 503, 504}, 3, 0.8, True),
         Kind("sempy", {429, 502, 503, 504}, 10, 0.3, False))


async def post(port, body, patience, fault=None):
    """One POST on a connection of its own: status and Location; (0, None) where no whole answer came in time."""
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            lines = [f"POST {RUN} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"X-API-Key: {KEY}", "Content-Type: application/json",
                     f"Content-Length: {len(body)}", *([f"X-Fabricsim-Fault: {fault}"] if fault else [])]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:-2])}
            await reader.readexactly(int(fields["content-length"]))
            return int(head[0].split(" ")[1]), fields.get("location")
    except (TimeoutError, OSError, EOFError):
        return 0, None
    finally:
        if writer:
            writer.close()


class Proxy:
    """A proxy that gives up: its client gets 504, and the connection to the gateway is closed."""

    def __init__(self, ports, patience):
        self.ports, self.patience, self.turn, self.gave_up = ports, patience, 0, 0

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.turn += 1
        behind = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            answer, behind = await asyncio.open_connection("127.0.0.1", self.ports[self.turn % len(self.ports)])
            behind.write(head + body)
            came = asyncio.ensure_future(answer.readuntil(b"\r\n\r\n"))
            gone = asyncio.ensure_future(reader.read(1))
            await asyncio.wait({came, gone}, timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if came.done() and not came.exception():
                more = int(came.result().lower().split(b"content-length:")[1].split(b"\r\n")[0])
                writer.write(came.result() + await answer.readexactly(more))
            else:
                came.cancel()
                self.gave_up += 1
                writer.write(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except (OSError, EOFError):
            pass
        finally:
            if behind:
                behind.close()
            writer.close()


class Caller:
    """A client that repeats as its kind does, and a task that repeats the whole on every failure."""

    def __init__(self, kind, port, patience, tasks, scale, counts):
        self.kind, self.port, self.patience, self.tasks, self.scale, self.counts = kind, port, patience, tasks, scale, counts

    async def start_job(self, body, fault=None):
        """Its Location; None where it has given up."""
        for task in range(self.tasks):
            status, location = await self._submit(body, fault if task == 0 else None)
            if status == 202 and location:
                return location
            self.counts[f"tasks failed with {status}"] += 1
            await asyncio.sleep(self.scale)
        return None

    async def _submit(self, body, fault):
        for attempt in range(self.kind.attempts):
            status, location = await post(self.port, body, self.patience, fault if attempt == 0 else None)
            self.counts["requests"] += 1
            if status == 0:
                self.counts["requests given up or cut"] += 1
            if status not in self.kind.statuses and not (status == 0 and self.kind.transport):
                return status, location
            await asyncio.sleep(self.kind.pause * self.scale * min(2 ** attempt, 8))
        return status, location


async def all_of(makes, at_once):
    """The results of all coroutine functions, AT_ONCE at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(make):
        async with gate:
            return await make()
    return await asyncio.gather(*(one(make) for make in makes))


def executed(sim):
    """How often the upstream has started a job with each body."""
    return collections.Counter(entry["body_sha256"] for entry in sim.ledger() if entry["status"] not in (400, 401, 403, 404, 429))


def door(e, latency=0, undelivered=None, count=1, **changes):
    sim = e.fleet.simulator("--latency", round(latency * 1000), "--job-seconds", 36000)
    redis = e.fleet.redis()
    gateways = [e.fleet.gateway(sim, store={"redis": redis.url}, instance=f"gate{n}",
                                idempotency={"undelivered": undelivered} if undelivered else None, **changes) for n in range(count)]
    for gateway in gateways:
        gateway.settle()
    return sim, gateways


def case_impatient(e):
    """Everybody gives up before the upstream answers; all end with their Location, and every job was started once."""
    o = e.options
    sim, gateways = door(e, latency=8 * o.scale, count=o.instances)
    counts, bodies = collections.Counter(), [b'{"executionData":{"job":%d}}' % n for n in range(o.jobs)]

    async def course():
        proxy = Proxy([g.port for g in gateways], 5 * o.scale)
        await proxy.start()
        makes = []
        for n, body in enumerate(bodies):
            behind = n % 2
            caller = Caller(KINDS[n % 3], proxy.port if behind else gateways[n // 2 % len(gateways)].port, (60 if behind else 5) * o.scale, 6, o.scale, counts)
            makes.append(lambda caller=caller, body=body: caller.start_job(body))
        return await all_of(makes, o.at_once), proxy
    locations, proxy = asyncio.run(course())
    started = executed(sim)
    records = [r for g in gateways for r in g.records()]
    job_of = {r["request_id"]: r["body_sha256"] for r in records if r["kind"] == "intent"}
    made = {r["location"]: job_of[r["request_id"]] for r in records if r["kind"] == "outcome" and r["result"] == "accepted"}
    for name, count in sorted(counts.items()):
        e.figure(name, count)
    e.figure("requests that the proxy gave up", proxy.gave_up, at_least=1)
    e.shows("jobs asked for", len(bodies))
    e.shows("jobs started", sum(started.values()), exactly=len(bodies))
    e.none("jobs started twice", [b for b, n in started.items() if n > 1], shows=True)
    e.none("callers without a Location", [n for n, where in enumerate(locations) if not where], shows=True)
    e.none("callers with another job's Location", [n for n, where in enumerate(locations) if where and made.get(where) != sha256(bodies[n])], shows=True)
    e.figure("replay records", len([r for r in records if r["kind"] == "replay"]), at_least=1)


def case_honest(e):
    """The same run again and again, each delivered: each is a job."""
    sim, gateways = door(e, count=e.options.instances)
    makes = [lambda n=n: post(gateways[n % len(gateways)].port, b"{}", 30) for n in range(e.options.jobs)]
    answers = asyncio.run(all_of(makes, 8))
    e.shows("honest repeats of a delivered job", len(answers))
    e.shows("jobs started", len(sim.ledger()), exactly=len(answers))
    e.shows("different Locations", len({where for _, where in answers}), exactly=len(answers))


def case_steady(e):
    """The same job every 3 minutes (scaled); one client is killed in mid-flight: every later run starts."""
    scale = e.options.scale * e.options.pace
    sim, gateways = door(e, latency=10 * scale, undelivered=ms(120 * scale))
    fresh = 0

    async def course():
        nonlocal fresh
        for n in range(6):
            begun = time.monotonic()
            status, _ = await post(gateways[0].port, b"{}", 5 * scale if n == 1 else 60)
            fresh += status == 202
            await asyncio.sleep(180 * scale - (time.monotonic() - begun))
    asyncio.run(course())
    e.shows("runs at a steady pace, one client killed", 6)
    e.shows("runs answered", fresh, exactly=5)
    e.shows("jobs started", len(sim.ledger()), exactly=6)


def case_committed(e):
    """500, 504 and a reset after the commit, and a task that repeats on every failure: nothing is started twice."""
    o = e.options
    sim, gateways = door(e, count=o.instances)
    counts, faults = collections.Counter(), ("500", "504", "drop")
    bodies = [b'{"executionData":{"job":%d}}' % n for n in range(o.posts)]

    async def course():
        makes = [lambda n=n, body=body: Caller(KINDS[n % 3], gateways[n % len(gateways)].port, 30, 3, 0.01, counts).start_job(
            body, faults[n % 9] if n % 9 < 3 else None) for n, body in enumerate(bodies)]
        return await all_of(makes, 32)
    locations = asyncio.run(course())
    started = executed(sim)
    for name, count in sorted(counts.items()):
        e.figure(name, count)
    e.shows("POSTs asked for", len(bodies))
    e.figure("with a Location", sum(where is not None for where in locations), at_least=1)
    e.shows("jobs started", sum(started.values()), exactly=len(bodies))
    e.none("jobs started twice", [b for b, n in started.items() if n > 1], shows=True)


def main():
    with Experiment("retries: jobs that start once, whatever clients repeat", {
            "impatient": case_impatient, "honest": case_honest, "steady": case_steady, "committed": case_committed},
            jobs=1000, posts=10000, scale=1.0, pace=0.1, at_once=150, instances=3) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
