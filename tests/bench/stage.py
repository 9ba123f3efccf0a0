"""Where proxies are measured: a folder, certificates, one Redis and one upstream on the other core."""

import os
import resource
import shutil
import sys
import tempfile

from work import OTHER_CORE, Upstream

from certificates import Certificates
from harness import Redis


def raise_files():
    """Let this process and its children open as many files as they may at all; that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


WARM_FILE, WARM_MB = "/dev/shm/jobgate-bench-warm", 512       # more than one proxy writes to logs and journal in a round


def warm_memory():
    """
    Use the memory that the next proxy's log and journal will be written to, and give it back. A virtual machine's host takes idle pages
    away, and each costs 10 us when it is used again: that is the machine's cost, and whoever writes first would bear it for all.
    """
    block = bytes(1 << 20)
    with open(WARM_FILE, "wb", buffering=0) as file:
        for _ in range(WARM_MB):
            file.write(block)
    os.unlink(WARM_FILE)


class Stage:
    """What all proxies of a run share; they are added, and ended with it."""

    def __init__(self, prefix):
        self.files = raise_files()
        self.folder = tempfile.mkdtemp(prefix=prefix)
        self.certificates = Certificates(os.path.join(self.folder, "certificates"))
        os.sched_setaffinity(0, {OTHER_CORE})
        self.redis = Redis(self.folder)
        os.mkdir(os.path.join(self.folder, "upstream"))
        self.upstream = Upstream(os.path.join(self.folder, "upstream"), self.certificates)
        self.proxies = []

    def add(self, kind, options):
        """Start a proxy of that KIND."""
        folder = os.path.join(self.folder, str(len(self.proxies)))
        self.proxies.append(kind(folder, self.certificates, self.upstream, self.redis, options))
        return self.proxies[-1]

    def drop(self, proxy):
        """End a proxy before the others."""
        self.proxies.remove(proxy)
        proxy.stop()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, _):
        """End all; what they said (hundreds of MB) is kept only where something went wrong."""
        self.stop()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"what the processes said is in {self.folder}", file=sys.stderr)

    def stop(self):
        for proxy in self.proxies:
            proxy.stop()
        self.upstream.stop()
        self.redis.stop()
