"""
Idempotency-Keys raced over three instances on a Redis with a replica and a Sentinel, whose primary is killed midway: of each key one
request is sent, or it is refused.
"""

import asyncio
import collections
import sys
import threading
import time

from bench import Experiment, callers_config, start_gateways
from harness import BASE, KEY, Redis, field
from sentinels import Sentinel
from wire import wait_for

RUN = f"{BASE}/RunNotebook/instances"


async def post(port, key):
    """One POST with KEY on a connection of its own: status, errorCode or "", Location, whether it was a replay."""
    writer = None
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write("\r\n".join([f"POST {RUN} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"X-API-Key: {KEY}", f'Idempotency-Key: "{key}"',
                                      f"X-Experiment-Key: {key}", "Content-Length: 0", "", ""]).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:-2])}
            await reader.readexactly(int(fields["content-length"]))
            return int(head[0].split(" ")[1]), fields.get("x-ms-public-api-error-code", ""), fields.get("location"), "idempotency-replayed" in fields
    except (TimeoutError, OSError, EOFError):
        return 0, "cut", None, False
    finally:
        if writer:
            writer.close()


async def race(e, gateways, key, found):
    """Ask for one key at all instances at once, and again until it is answered or known to be lost."""
    for _ in range(e.options.rounds):
        answers = await asyncio.gather(*(post(g.port, key) for g in gateways for _ in range(2)))
        for answer in answers:
            found["all"][f"{answer[0]} {answer[1]}{' replayed' if answer[3] else ''}".strip()] += 1
        found[key].update(where for status, _, where, _ in answers if status == 202)
        if all(status == 202 or code == "JobgateOutcomeUnknown" for status, code, _, _ in answers):
            return
        await asyncio.sleep(0.5)


def main():
    with Experiment("idempotency: keys raced over three instances, a failover midway", keys=1000, at_once=20, rounds=40, latency=30) as e:
        redis = e.fleet.redis()
        replica = e.fleet.redis()
        replica.command("REPLICAOF", "127.0.0.1", redis.port)
        wait_for(lambda: b"master_link_status:up" in replica.command("INFO", "replication"), what="the replica to follow")
        sentinel = e.fleet.redis(Sentinel, primary=redis.port, quorum=1)
        wait_for(sentinel.is_ready, timeout=30, what="the Sentinel")
        sim = e.fleet.simulator("--latency", e.options.latency)
        gateways = start_gateways(e, sim, f"redis+sentinel://127.0.0.1:{sentinel.port}/main", 10000000, 1.0, callers=callers_config(["etl"]))
        found, done = collections.defaultdict(set), 0
        found["all"] = collections.Counter()

        async def course():
            nonlocal done
            gate = asyncio.Semaphore(e.options.at_once)

            async def one(n):
                nonlocal done
                async with gate:
                    if n == e.options.keys // 2:
                        threading.Thread(target=redis.kill).start()
                    await race(e, gateways, f"key-{n}", found)
                    done += 1
            await asyncio.gather(*(one(n) for n in range(e.options.keys)))
        begun = time.monotonic()
        asyncio.run(course())
        e.figure("seconds", time.monotonic() - begun)
        for answer, count in sorted(found.pop("all").items()):
            e.figure(f"answers {answer}", count)
        sent = collections.Counter(field(entry, "X-Experiment-Key")[0] for entry in sim.ledger())
        e.figure("primary after the failover is the former replica", int(sentinel.primary() == replica.port), exactly=1)
        e.shows("keys", e.options.keys)
        e.shows("keys of which a request was sent", len(sent))
        e.none("keys of which two requests were sent", [key for key, count in sent.items() if count > 1], shows=True)
        e.none("keys with two Locations", [key for key, where in found.items() if len(where) > 1], shows=True)
        e.shows("keys answered with a Location", sum(bool(where) for where in found.values()), at_least=e.options.keys * 0.9)
    sys.exit(e.finish())


main()
