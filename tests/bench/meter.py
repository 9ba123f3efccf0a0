"""One measured run: load for some seconds, and what it cost the proxy, Redis and the upstream."""

import json
import os
import re
import subprocess

from work import KEY, LEGACY, OTHER_CORE, on_core


def cpu_us(pids):
    """Processor time of all threads of the processes, in microseconds."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
            except FileNotFoundError:
                pass        # a thread that ended meanwhile
    return total / 1000


def redis_figures(redis):
    """Commands that Redis has run, and its processor time in microseconds."""
    stats = redis.command("INFO", "commandstats").decode(errors="replace")
    calls = {name: int(n) for name, n in re.findall(r"cmdstat_([a-z|]+):calls=(\d+)", stats)}
    return calls.get("evalsha", 0), cpu_us([redis.pid])


class Load:
    """wrk or h2load on one core."""

    def __init__(self, folder, body, tls=False):
        self.scheme = "https" if tls else "http"
        self.folder, self.body = folder, os.path.join(folder, f"body-{len(body)}")
        with open(self.body, "w", encoding="ascii") as out:
            out.write(body)

    def start(self, port, connections, seconds, keys="", pause_ms=0):
        """wrk as a process. KEYS: a file of keys used in turn; PAUSE_MS: a connection's mean pause before each request."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "post.lua")
        more = {"BENCH_KEYS": keys} if keys else {}
        if pause_ms:
            more["BENCH_PAUSE_MS"] = str(pause_ms)
        return subprocess.Popen(on_core(OTHER_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s",
                                        script, f"{self.scheme}://127.0.0.1:{port}{LEGACY}"), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
                                env={**os.environ, "BENCH_BODY": self.body, "BENCH_KEY": KEY, **more})

    def wrk(self, port, connections, seconds):
        """Figures of one run of wrk."""
        process = self.start(port, connections, seconds)
        out, complaint = process.communicate(timeout=seconds + 60)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        if not lines:
            raise RuntimeError(f"wrk said nothing: {out} {complaint}")
        return json.loads(lines[-1])

    def h2load(self, port, connections, count):
        """The same by h2load in HTTP/1.1, which makes fewer system calls a request."""
        done = subprocess.run(on_core(OTHER_CORE, "h2load", "--h1", "-t1", f"-c{connections}", f"-n{count}", "-d", self.body, "-H",
                                      f"X-API-Key: {KEY}", "-H", "Content-Type: application/json", f"{self.scheme}://127.0.0.1:{port}{LEGACY}"),
                              capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        found = re.search(r"finished in ([0-9.]+)(m?s), .*?\n.*?(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout, re.S)
        codes = re.search(r"status codes: (\d+) 2xx", done.stdout)
        if not found or not codes:
            raise RuntimeError(f"h2load said {done.stdout} {done.stderr}")
        seconds = float(found[1]) * (0.001 if found[2] == "ms" else 1)
        return {"requests": count, "duration_us": round(seconds * 1e6), "errors": int(found[4]) + int(found[5]),
                "not_2xx": count - int(codes[1]), "p50_us": 0, "p99_us": 0}


def measure(peer, redis, upstream, run):
    """RUN() the load on PEER and return what it cost; raises where anything went wrong, so that no figure hides an error."""
    pids = peer.pids()
    accepts, served = upstream.counts()
    scripts, redis_us = redis_figures(redis)
    used = cpu_us(pids)
    said = run()
    used = cpu_us(pids) - used
    scripts_after, redis_after = redis_figures(redis)
    accepts_after, served_after = upstream.counts()
    requests = served_after - served
    if said["errors"] or said["not_2xx"] or requests <= 0:
        raise RuntimeError(f"{peer.name}: {said}, {requests} requests came to the upstream: {peer.daemon.said()}")
    return {"cpu_us": used / requests, "rps": said["requests"] / said["duration_us"] * 1e6, "p50_us": said["p50_us"], "p99_us": said["p99_us"],
            "redis_us": (redis_after - redis_us) / requests, "scripts": (scripts_after - scripts) / requests,
            "new_connections": accepts_after - accepts, "requests": requests}
