"""Thirteen months of three instances: the auditor's six questions, from the journals and from PostgreSQL."""

import datetime
import json
import os
import subprocess
import sys
import time

from bench import Experiment
from experiment_search import most_memory
from harness import binary, verify_journal
from journals import Journal
from postgres import Collector, Postgres, ask, same

START = datetime.datetime(2025, 10, 1)
DAYS = 396
SECONDS = 10.0
RESULTS = ["accepted"] * 95 + ["rejected"] * 2 + ["refused"] * 2 + ["unknown"]
# What one trigger takes in the journal, intent and outcome together.
TRIGGER_BYTES = 1480


class World:
    """What the triggers are about: callers, workspaces with items, and bodies of which some are sent again and again."""

    def __init__(self, e):
        self.random, self.jobs, self.requests = e.random, [], []
        self.callers = [f"caller{n}" for n in range(50)]
        self.workspaces = [self.id() for _ in range(40)]
        self.items = [(self.random.choice(self.workspaces), self.id()) for _ in range(2000)]
        self.bodies = [f"{self.random.getrandbits(256):064x}" for _ in range(2000)]

    def id(self):
        return Journal.id(self)

    def fill(self, journal, days, bytes_each):
        """Triggers spread over so many days."""
        count = max(1, bytes_each // TRIGGER_BYTES)
        for n in range(count):
            workspace, item = self.random.choice(self.items)
            result = "accepted" if n == count // 2 else self.random.choice(RESULTS)
            request, job = journal.trigger(self.random.choice(self.callers), result, days * 86400 / count, workspace, item,
                                           self.random.choice(self.bodies))
            if n == count // 2:     # one that is asked for later
                self.requests.append(request)
                self.jobs.append(job)
        journal.close()


def make_journals(e):
    """Four directories of three instances: the third one's volume was replaced midway, which begins another journal."""
    world, folders = World(e), []
    for name, instance, days, after in (("gate1", "gate1", DAYS, 0), ("gate2", "gate2", DAYS, 0), ("gate3-old", "gate3", DAYS / 2, 0),
                                        ("gate3", "gate3", DAYS / 2, DAYS / 2)):
        folders.append(str(e.fleet.folder / name))
        journal = Journal(folders[-1], seed=e.random.getrandbits(64), instance=instance, start=START + datetime.timedelta(days=after))
        world.fill(journal, days, int(e.options.bytes / 3 * days / DAYS))
    return world, folders


def disk_bytes(folders):
    return sum(os.path.getsize(os.path.join(folder, name)) for folder in folders for name in os.listdir(folder))


def timed(call, *arguments, **more):
    begun = time.monotonic()
    result = call(*arguments, **more)
    return result, time.monotonic() - begun


def search(folders, *arguments):
    done = subprocess.run([binary("jobgate"), "audit", "search", "--json", *arguments, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def collect(e, server, name, folders):
    """All of it into the database: seconds, and the collector's memory."""
    begun, memory = time.monotonic(), 0.0
    collector = Collector(e.fleet.folder, server.environment(name), *folders, options=("--once",))
    while collector.is_alive():
        memory = max(memory, most_memory(collector.pid))
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    assert collector.wait() == 0, collector.tail()
    collector.check_sanitizers()
    return seconds, memory


def questions(world):
    """The six: what is asked, of SQL and of the search."""
    workspace, item = world.items[0]
    since, until = "2026-03-01", "2026-04-01"
    return [
        ("1. who started this job", {"instance_id": world.jobs[2]}, ("--instance-id", world.jobs[2])),
        ("2. what did a caller ask for in a month", {"caller": "caller7", "since": since, "until": until},
         ("--caller", "caller7", "--since", since, "--until", until)),
        ("3. what became of this request", {"request_id": world.requests[3]}, ("--request-id", world.requests[3])),
        ("4. what was done to an item in a workspace", {"workspace": workspace, "item": item}, ("--workspace", workspace, "--item", item)),
        ("4. what was done in a workspace in all the time", {"workspace": workspace}, ("--workspace", workspace)),
        ("5. which jobs may or may not run", {"unknown": "1"}, ("--result", "unknown")),
        ("6. who sent this body", {"body": world.bodies[1]}, ("--body", world.bodies[1])),
    ]


def show_questions(e, server, name, world, folders):
    for what, variables, flags in questions(world):
        triggers, searched = timed(search, folders, *flags)
        rows, queried = timed(ask, server, name, **variables)
        e.figure(f"{what}: triggers", len(triggers), at_least=0 if e.options.bytes < 100000000 else 1)
        e.figure(f"{what}: differ between journals and database", len(set(map(same, rows)) ^ set(map(same, triggers))) +
                 abs(len(rows) - len(triggers)), exactly=0)
        e.shows(f"{what}: from the journals", searched, at_most=SECONDS, unit="s")
        e.shows(f"{what}: from PostgreSQL", queried, at_most=SECONDS, unit="s")


def run_year(e):
    world, folders = make_journals(e)
    size = disk_bytes(folders)
    e.shows("journals", size / 1e6, unit="MB")
    for folder in folders:
        done, seconds = timed(verify_journal, folder)
        e.figure(f"{os.path.basename(folder)}: verified, seconds", seconds)
        e.figure(f"{os.path.basename(folder)}: verified, exit code", done.returncode, exactly=0)
    server = Postgres()
    try:
        name = server.database()
        seconds, memory = collect(e, server, name, folders)
        records = int(server.sql("SELECT count(*) FROM jobgate_audit", name)[0][0])
        e.shows("records collected", records)
        e.shows("collected in", seconds, unit="s")
        e.shows("records a second", records / seconds)
        e.shows("the collector's memory", memory, at_most=e.options.memory, unit="MB")
        e.figure("records missing", int(server.sql("SELECT count(*) FROM jobgate_gap", name)[0][0]), exactly=0)
        server.sql("VACUUM ANALYZE", name)
        e.shows("database", int(server.sql(f"SELECT pg_database_size('{name}')", name)[0][0]) / 1e6, unit="MB")
        show_questions(e, server, name, world, folders)
    finally:
        server.remove()


def main():
    with Experiment("year: thirteen months of three instances", {"year": run_year}, bytes=1500000000, memory=128.0) as e:
        e.run_cases()
    sys.exit(e.finish())


if __name__ == "__main__":
    main()
