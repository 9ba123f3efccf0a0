"""A primary, a replica and Sentinels, all real, on free loopback ports."""

import os

from harness import Process, Redis, free_port, wait_for


class Sentinel(Redis):
    """A redis-sentinel that watches a primary by the name `main`, quick to act."""

    def __init__(self, folder, primary, quorum, password=None):  # pylint: disable=super-init-not-called
        self.port = free_port()
        self.file = os.path.join(str(folder), f"sentinel-{self.port}.conf")
        with open(self.file, "w", encoding="ascii") as out:
            out.write(f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
                      f"sentinel monitor main 127.0.0.1 {primary} {quorum}\n"
                      "sentinel down-after-milliseconds main 700\nsentinel failover-timeout main 3000\n"
                      "sentinel parallel-syncs main 1\n")
            if password:
                out.write(f"requirepass {password}\nsentinel sentinel-pass {password}\nsentinel auth-pass main {password}\n")
        Process.__init__(self, ["redis-sentinel", self.file], str(folder))
        wait_for(self._listens, what="redis-sentinel")

    def _listens(self):
        try:
            return self.command("PING")[:1] in (b"+", b"-")
        except OSError:
            return False

    def primary(self):
        """The port of the primary that it names."""
        return int(self.command("SENTINEL", "get-master-addr-by-name", "main").split(b"\r\n")[-2])

    def is_ready(self, others=0):
        """Has it found the replica, and the other Sentinels?"""
        replicas = self.command("SENTINEL", "replicas", "main")
        sentinels = self.command("SENTINEL", "sentinels", "main")
        return replicas.startswith(b"*1") and b"master-link-status\r\n$2\r\nok" in replicas and \
            sentinels.startswith(b"*%d\r\n" % others)
