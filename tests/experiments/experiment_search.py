"""jobgate audit search over a large journal: how long it takes, and how much memory."""

import datetime
import os
import random
import select
import subprocess
import sys
import time
import uuid

from bench import Experiment
from harness import binary

ZEROS = "0" * 64
SEGMENT = 64 << 20


class Maker:
    """Writes a journal's files as a gateway would over many days; its hashes are zeros, which a search does not look at."""

    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.journal, self.seq, self.written, self.triggers = self.uuid(), 0, 0, 0
        self.time = datetime.datetime(2025, 11, 1)
        self.file, self.day, self.size = None, "", 0

    def uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    def record(self, kind, members):
        self.seq += 1
        return (f'{{"v":1,"journal":"{self.journal}","instance":"gate","seq":{self.seq},"time":"'
                f'{self.time.isoformat(timespec="microseconds")}Z","kind":"{kind}",{members},"prev":"{ZEROS}","hash":"{ZEROS}"}}\n')

    def open(self):
        day = self.time.strftime("%Y%m%d")
        if self.file and day == self.day and self.size < SEGMENT:
            return
        self.close()
        self.day, self.size = day, 0
        self.file = open(os.path.join(self.folder, f"{self.seq + 1:020d}-{day}.jsonl"), "w", encoding="ascii")

    def close(self):
        if self.file:
            self.file.close()

    def trigger(self):
        """An accepted run by one of fifty callers, 45 s after the one before."""
        self.open()
        job = self.uuid()
        common = (f'"request_id":"{self.uuid()}","client_request_id":null,"caller":"caller{self.random.randrange(50)}","key":"k1",'
                  '"identity":"default","peer":"127.0.0.1:40144","operation":"run"')
        text = self.record("intent", f'{common},"workspace":"{self.uuid()}","item":"{self.uuid()}","job_type":"RunNotebook",'
                           f'"legacy":false,"body_bytes":0,"body_sha256":"{ZEROS}"')
        text += self.record("outcome", f'{common},"result":"accepted","status":202,"answered":202,"error_code":null,"location":'
                            f'"https://api.fabric.microsoft.com/v1/workspaces/{self.uuid()}/items/{self.uuid()}/jobs/instances/{job}",'
                            f'"instance_id":"{job}","upstream_request_id":"{self.uuid()}","attempts":1,"wait_ms":2,"duration_ms":3')
        self.file.write(text)
        self.size += len(text)
        self.written += len(text)
        self.triggers += 1
        self.time += datetime.timedelta(seconds=45)
        return job


def most_memory(pid):
    """The most memory in MB that a running process has had; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next((int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM")), 0.0)
    except OSError:
        return 0.0


def measure(*arguments):
    """Run a search; its lines, seconds, and most memory in MB."""
    begun, memory, lines = time.monotonic(), 0.0, 0
    process = subprocess.Popen([binary("jobgate"), "audit", "search", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    while True:
        memory = max(memory, most_memory(process.pid))
        if not select.select([process.stdout], [], [], 0.05)[0]:
            continue
        chunk = os.read(process.stdout.fileno(), 1 << 20)
        lines += chunk.count(b"\n")
        if not chunk:
            break
    process.stdout.close()
    process.wait()
    return lines, time.monotonic() - begun, memory


def run_large(e):
    maker = Maker(e.fleet.folder, e.options.seed)
    while maker.written < e.options.bytes:
        job = maker.trigger()
    maker.close()
    folder = str(e.fleet.folder)
    e.figure("bytes of journal", maker.written, at_least=e.options.bytes)
    e.figure("triggers", maker.triggers)
    for name, wanted, arguments in (("the last job by its instance id", 1, ("--instance-id", job)),
                                    ("nothing", 0, ("--caller", "nobody")), ("all of them as JSON", maker.triggers, ("--json",))):
        lines, seconds, memory = measure(*arguments, folder)
        e.figure(f"{name}: triggers found", lines - (0 if "--json" in arguments else 1), exactly=wanted)
        e.shows(f"{name}: time", seconds, at_most=10.0, unit="s")
        e.shows(f"{name}: most memory", memory, at_most=32.0, unit="MB")


def main():
    with Experiment("search: a large journal", {"large": run_large}, bytes=1000000000) as e:
        e.run_cases()
    sys.exit(e.finish())


if __name__ == "__main__":
    main()
