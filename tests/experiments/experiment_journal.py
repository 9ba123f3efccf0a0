"""What the journal costs and carries: records a second under group commit, and what it adds to a job at one connection.

One fdatasync is measured beside it, of a file in the same folder that grows by a record's bytes.
"""

import asyncio
import os
import sys
import time

from bench import Experiment, percentile
from harness import BASE, KEY
from load import Client

RUN = f"{BASE}/RunNotebook/instances"
RECORD = b"x" * 700


async def submit(clients, seconds):
    """Jobs one after the other on each connection; their fates."""
    ends, fates = time.monotonic() + seconds, []

    async def share(client):
        while time.monotonic() < ends:
            fates.append(await client.request("POST", RUN, b'{"executionData":{"number":%d}}' % len(fates)))
    await asyncio.gather(*(share(client) for client in clients))
    return fates


class Beside:
    """A file in the folder of the journal's, synced after every record's bytes."""

    def __init__(self, gateway):
        self.fd = os.open(os.path.join(gateway.folder, "beside"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.times = []

    def sync(self):
        os.write(self.fd, RECORD)
        begun = time.monotonic()
        os.fdatasync(self.fd)
        self.times.append(time.monotonic() - begun)


async def one_connection(gateway, count):
    """In turn a job, which waits for its record, a read, which has none, and one fdatasync; the medians in ms."""
    client, beside, jobs, reads = Client(gateway.port, KEY), Beside(gateway), [], []
    first = await client.request("POST", RUN, b"{}")
    instance = f"{BASE}/instances/{first.headers['x-ms-job-id']}"
    for number in range(count):
        jobs.append(await client.request("POST", RUN, b'{"executionData":{"number":%d}}' % number))
        reads.append(await client.request("GET", instance))
        beside.sync()
    assert all(f.status == 202 for f in jobs) and all(f.status == 200 for f in reads)
    return [percentile(times, 0.5) * 1000
            for times in ([f.seconds for f in jobs], [f.seconds for f in reads], beside.times)]


def written(gateway):
    """Records and syncs so far, and the seconds that the syncs took."""
    metrics = gateway.metrics()
    return (sum(value for name, value in metrics.items() if name.startswith("jobgate_audit_records_total")),
            metrics["jobgate_audit_sync_duration_seconds_count"], metrics["jobgate_audit_sync_duration_seconds_sum"])


def show_group(e, gateway, connections):
    before, begun = written(gateway), time.monotonic()
    fates = asyncio.run(submit([Client(gateway.port, KEY) for _ in range(connections)], e.options.seconds))
    took = time.monotonic() - begun
    records, syncs, seconds = (now - then for now, then in zip(written(gateway), before))
    e.section(f"{connections} connections")
    e.none("answers other than 202", [f for f in fates if f.status != 202])
    e.figure("jobs a second", len(fates) / took, unit="/s")
    e.shows(f"records a second at {connections} connections", records / took, unit="/s")
    e.figure("records for each fdatasync", records / syncs)
    e.figure("mean of an fdatasync, by the gateway", seconds / syncs * 1000, unit="ms")


def main():
    with Experiment("journal: what it carries and what it costs", seconds=10.0, count=2000, most=3.0) as e:
        gateway = e.fleet.gateway(e.fleet.simulator())
        job, read, sync = asyncio.run(one_connection(gateway, e.options.count))
        e.section("one connection, medians")
        e.figure("a job", job, unit="ms")
        e.figure("a read of one instance, which has no record", read, unit="ms")
        e.figure("one fdatasync beside it", sync, unit="ms")
        e.shows("what the record adds to a job", job - read, unit="ms")
        e.shows("in fdatasyncs", (job - read) / sync, at_most=e.options.most)
        for connections in (1, 16, 128):
            show_group(e, gateway, connections)
    sys.exit(e.finish())


main()
