"""A store that dies, comes back empty or stale, forgets, stands still: no window beyond the quota, and the use comes back."""

import asyncio
import functools
import signal
import sys
import time

from bench import Experiment, arrivals, endings, percentile, share_used, show_quota, simulator, start_gateways
from harness import wait_for
from health import HealthProbes
from load import Mix, offer_while
from sentinels import Sentinel


class Store:
    """One Redis and what is done to it; .returned is the wall time of its last return, .marks what happened when."""

    def __init__(self, e):
        self.e, self.marks, self.returned = e, [], 0.0
        self.redis = e.fleet.redis()

    @property
    def url(self):
        return self.redis.url

    def mark(self, words):
        self.marks.append((time.time(), words))

    def back(self, words):
        self.mark(words)
        self.returned = time.time()

    def restart(self, away):
        self.redis.kill()
        self.mark("kill -9")
        time.sleep(away)
        self.redis = self.e.fleet.redis(port=self.redis.port)
        self.back("an empty one")

    def repeat(self, count, apart, *words):
        self.mark(f"{count} x {' '.join(words)}")
        for _ in range(count):
            answer = self.redis.command(*words)
            assert answer.startswith(b"+OK"), (words, answer)
            time.sleep(apart)
        self.back("the last one")

    def stop(self, seconds):
        self.redis.send_signal(signal.SIGSTOP)
        self.mark("SIGSTOP")
        time.sleep(seconds)
        self.redis.send_signal(signal.SIGCONT)
        self.back("SIGCONT")


def asked(server, *words):
    """The answer of a server that Sentinels reconfigure meanwhile, which cuts whoever is connected: then nothing."""
    try:
        return server.command(*words)
    except OSError:
        return b""


class Pair(Store):
    """A primary, a replica and three Sentinels."""

    def __init__(self, e):
        super().__init__(e)
        self.replica = e.fleet.redis()
        self.replica.command("REPLICAOF", "127.0.0.1", self.redis.port)
        folder = e.fleet.folder
        self.sentinels = []
        for _ in range(3):
            self.sentinels.append(Sentinel(folder, self.redis.port, 2))
            e.fleet.processes.append(self.sentinels[-1])
        self._agree()

    @property
    def url(self):
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/main"

    def _agree(self):
        """Wait until all Sentinels name the present primary and see its replica in good order."""
        for sentinel in self.sentinels:
            wait_for(lambda s=sentinel: s.primary() == self.redis.port and s.is_ready(2), timeout=60,
                     what="the Sentinels' agreement")

    def fail_over(self, stale, kill):
        """Freeze the replica, let it grow STALE, and make it the primary, by killing the old one or by asking."""
        self.replica.command("REPLICAOF", "127.0.0.1", 9)
        time.sleep(stale)
        old = self.redis
        if kill:
            old.kill()
        else:
            wait_for(lambda: asked(self.sentinels[0], "SENTINEL", "FAILOVER", "main") == b"+OK\r\n", timeout=30,
                     what="a Sentinel willing to fail over")
        self.mark("kill -9" if kill else "FAILOVER")
        wait_for(lambda: asked(self.replica, "ROLE").startswith(b"*3\r\n$6\r\nmaster"), timeout=30, what="the promotion")
        self.redis = self.replica
        self.replica = self.e.fleet.redis(port=old.port) if kill else old
        self.replica.command("REPLICAOF", "127.0.0.1", self.redis.port)
        wait_for(lambda: asked(self.redis, "CLIENT", "LIST").count(b"name=jobgate") == 3, timeout=30,
                 what="the gateways at the new primary")
        self.returned = time.time()
        self._agree()

    def fail_over_often(self, count, stale):
        for n in range(count):
            self.fail_over(stale, kill=n % 2 == 0)
        self.back("the last")


def course(o, store, act, before, spread):
    """Overload for BEFORE seconds, then ACT, then until the measured time is over, and a little."""
    time.sleep(before)
    act(store)
    store.measured = max(store.returned, store.marks[0][0] + spread) + o.settle
    time.sleep(max(0, store.measured + o.measured + 2 - time.time()))


def show_endings(e, fates, gateways):
    """Every request has an answer, and every trigger exactly one ending in a journal."""
    e.none("requests not offered since too many were under way", [f for f in fates if f is None])
    fates = [f for f in fates if f]
    e.none("requests without an ending: no answer", [f for f in fates if not f.status], shows=True)
    ended = {}
    for gateway in gateways:
        ended.update(endings(gateway.records()))
    triggers = [f for f in fates if f.method == "POST"]
    e.none("requests without an ending: not exactly one in the journal",
           [(f, ended.get(f.name)) for f in triggers if len(ended.get(f.name, ())) != 1], shows=True)
    counts = {}
    for fate in fates:
        what = "by the upstream" if fate.relayed else f"{fate.status} {fate.code}"
        counts[what] = counts.get(what, 0) + 1
    for what, count in sorted(counts.items()):
        e.figure(f"answered {what}", count)


def run_fault(e, act, kind=Store, requests=None, window=None, burst=False):
    """
    ACT under overload; BURST: a second after one that idleness has allowed, when most of the quota is out at once and a
    store that forgets it would give it again. The use is then measured when those tokens are back.
    """
    o = e.options
    requests, window = requests or o.quota, window or o.window
    sim, store = simulator(e, requests, window), kind(e)
    gateways = start_gateways(e, sim, store, requests, window, wait=o.wait)
    probes = HealthProbes(gateways)
    before, spread = (1, window + 0.25) if burst else (2 * window, 0)
    time.sleep(window if burst else 0)
    fates = asyncio.run(offer_while(o.times * requests / window, Mix(e, gateways),
                                    lambda: course(o, store, act, before, spread), requests * 3 // 4 if burst else 0))
    probes.finish()
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    times = arrivals(ledger)
    e.figure("from the first fault to the last return", store.returned - store.marks[0][0], unit="s")
    show_quota(e, ledger, requests, window)
    nxt = next((t / 1e6 for t in times if t / 1e6 > store.returned), float("inf"))
    e.figure("from the return to the next arrival", nxt - store.returned, unit="s")
    before = share_used(times, store.marks[0][0] - window, window, requests, window)
    e.figure("quota used in the last window before", before, unit="%")
    away = share_used(times, store.marks[0][0], store.returned - store.marks[0][0], requests, window)
    e.figure("quota used meanwhile", away, unit="%")
    if burst:
        e.figure("arrived before the fault", sum(t / 1e6 < store.marks[0][0] for t in times), at_least=0.7 * requests)
    e.shows(f"quota used in the {o.measured:g} s from {o.settle:g} s after the return on",
            share_used(times, store.measured, o.measured, requests, window), at_least=o.least, unit="%")
    show_endings(e, fates, gateways)
    e.figure("wait of the served, p99", percentile([f.wait for f in fates if f and f.relayed], 0.99), unit="s")
    probes.show(e, o.health)
    e.chart(f"store-{e.title}", f"{e.title}: {o.times:g} times overload", ledger, requests, window, store.marks)


def main():
    def often(store):
        store.repeat(store.e.options.flushes, 0.5, "FLUSHALL")

    def scripts(store):
        store.repeat(10, 0.5, "SCRIPT", "FLUSH")

    def failovers(store):
        store.fail_over_often(store.e.options.failovers, store.e.options.stale)

    def kill(store):
        store.restart(store.e.options.away)

    cases = {
        "kill": functools.partial(run_fault, act=kill),
        "empty": functools.partial(run_fault, act=lambda store: store.restart(0)),
        "flushall": functools.partial(run_fault, act=often),
        "scripts": functools.partial(run_fault, act=scripts),
        "failover": functools.partial(run_fault, act=failovers, kind=Pair),
        "stop": functools.partial(run_fault, act=lambda store: store.stop(5)),
        "burst-empty": functools.partial(run_fault, act=lambda store: store.restart(0), burst=True),
        "burst-flush": functools.partial(run_fault, act=lambda store: store.repeat(2, 0.2, "FLUSHALL"), burst=True),
        "unscaled": functools.partial(run_fault, act=kill, requests=200, window=60.0),
    }
    with Experiment("store: Redis dies, forgets, stands still, falls back", cases, quota=100, window=10.0, times=5.0,
                    away=20.0, flushes=50, failovers=10, stale=2.0, settle=5.0, measured=20.0, wait=20.0, least=95.0, health=20.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
