"""A folder on a real disk, and what one fdatasync costs there at the time of the measurement."""

import os
import statistics
import subprocess
import time

from work import PROXY_CORE

RECORD = b"x" * 900 + b"\n"     # about what the intent of one run takes in the journal
IN_MEMORY = ("tmpfs", "ramfs")


def kind_of(folder):
    """The kind of file system that the folder is on, as stat names it."""
    return subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()


class Disk:
    """The journal's file system, with a file beside the journal that is synced as the journal is."""

    def __init__(self, folder):
        self.folder, self.kind = folder, kind_of(folder)
        if self.kind in IN_MEMORY:
            raise SystemExit(f"{folder} is a {self.kind}, no disk: name a folder on one with --disk")

    def sync_us(self, count, pause_us):
        """
        The median time of an fdatasync after a record was appended, in microseconds: on the proxy's core (the other one may be the disk's
        interrupts', and hear sooner), and with nothing done for PAUSE_US between two of them, as between two of one connection's requests.
        """
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {PROXY_CORE})
        try:
            return self._sync_us(count, pause_us)
        finally:
            os.sched_setaffinity(0, before)

    def _sync_us(self, count, pause_us):
        path, found = os.path.join(self.folder, f"jobgate-bench-sync-{os.getpid()}"), []
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for _ in range(count):
            time.sleep(pause_us / 1e6)
            os.write(file, RECORD)
            begun = time.perf_counter()
            os.fdatasync(file)
            found.append((time.perf_counter() - begun) * 1e6)
        os.close(file)
        os.unlink(path)
        return statistics.median(found)
