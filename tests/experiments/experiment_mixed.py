"""A store that dies, returns empty, stands still, forgets, under overload: `closed` costs time, never quota."""

import asyncio
import sys
import time

from bench import Experiment, arrivals, show_journal, show_quota, simulator, start_gateways
from health import HealthProbes
from load import Mix, offer


class Faults:
    """What happens to the store, when; each with the time from which it should serve again."""

    def __init__(self, e, redis):
        self.e, self.redis = e, redis
        self.happened = []      # (name, wall time of its end)
        seconds, away = e.options.seconds, e.options.wait + 2
        self.plan = [
            (0.10, "SCRIPT FLUSH", lambda: self._command("SCRIPT", "FLUSH")),
            (0.18, "FLUSHALL", lambda: self._command("FLUSHALL")),
            (0.27, "CLIENT PAUSE 2 s", lambda: self._pause(2000, "ALL")),
            (0.40, f"SIGKILL, and {away:g} s later an empty one", lambda: self._restart(away)),
            (0.62, "FLUSHALL and SCRIPT FLUSH", self._flush_both),
            (0.70, "CLIENT PAUSE 1 s of writes", lambda: self._pause(1000, "WRITE")),
            (0.80, "SIGKILL, and at once an empty one", lambda: self._restart(0)),
        ]
        self.plan = [(share * seconds, name, act) for share, name, act in self.plan]

    def _command(self, *words):
        answer = self.redis.command(*words)
        assert answer.startswith(b"+OK"), (words, answer)

    def _flush_both(self):
        self._command("FLUSHALL")
        self._command("SCRIPT", "FLUSH")

    def _pause(self, milliseconds, what):
        self._command("CLIENT", "PAUSE", milliseconds, what)
        time.sleep(milliseconds / 1000)

    def _restart(self, seconds):
        self.redis.kill()
        time.sleep(seconds)
        self.redis = self.e.fleet.redis(port=self.redis.port)

    def run(self):
        begun = time.monotonic()
        for at, name, act in self.plan:
            time.sleep(max(0, begun + at - time.monotonic()))
            act()
            self.happened.append((name, time.time()))


def recovery(times, end):
    """Seconds from a fault's end to the next arrival upstream."""
    return next((t / 1e6 - end for t in times if t / 1e6 > end), float("inf"))


async def run_load(rate, seconds, mix, faults):
    fates, _ = await asyncio.gather(offer(rate, seconds, mix), asyncio.to_thread(faults.run))
    return fates


def show_answers(e, fates):
    o = e.options
    e.figure("requests offered", len(fates))
    e.none("requests not offered since too many were under way", [f for f in fates if f is None])
    fates = [f for f in fates if f]
    e.none("requests without an answer", [f for f in fates if not f.status])
    e.figure("answered by the upstream", sum(f.relayed for f in fates))
    e.none("  of them neither 200 nor 202", [f for f in fates if f.relayed and f.status not in (200, 202)])
    e.figure("refused 429", sum(f.status == 429 for f in fates))
    away = [f for f in fates if f.status == 503]
    e.figure("answered 503 JobgateUnavailable", sum(f.code == "JobgateUnavailable" for f in away), at_least=1)
    e.figure("  after, shortest", min((f.seconds for f in away), default=0.0), at_least=0.98 * o.wait, unit="s")
    e.figure("  after, longest", max((f.seconds for f in away), default=0.0), at_most=o.wait + o.slack, unit="s")
    e.none("  without Retry-After or not retriable",
           [f for f in away if not f.headers.get("retry-after") or f.json().get("isRetriable") is not True])
    e.none("other answers", [f for f in fates if f.status and not f.relayed and f.status not in (429, 503)])


def show_store(e, gateways):
    for gateway in gateways:
        name = gateway.config["instance"]
        metrics = gateway.metrics()
        e.figure(f"{name}: jobgate_store_up in the end", int(metrics["jobgate_store_up"]), exactly=1)
        for result in ("ok", "failed", "error"):
            value = metrics.get(f'jobgate_store_commands_total{{result="{result}"}}')
            if value is not None:
                e.figure(f"{name}: store commands {result}", int(value))
        ready = gateway.admin("/readyz")
        e.figure(f"{name}: /readyz in the end", ready.json()["status"], exactly="ok")


def main():
    with Experiment("mixed: a store that dies, returns empty, stands still and forgets", quota=100, window=10.0,
                    times=5.0, seconds=60.0, wait=4.0, back=4.5, health=100.0, slack=0.5) as e:
        o = e.options
        sim, redis = simulator(e, o.quota, o.window), e.fleet.redis()
        gateways = start_gateways(e, sim, redis, o.quota, o.window, 2, wait=o.wait,
                                  store={"redis": redis.url, "on_failure": "closed"})
        probes = HealthProbes(gateways)
        faults = Faults(e, redis)
        fates = asyncio.run(run_load(o.times * o.quota / o.window, o.seconds, Mix(e, gateways), faults))
        probes.finish()
        ledger = sim.ledger()
        times = arrivals(ledger)
        show_quota(e, ledger, o.quota, o.window)
        e.figure("quota used over the whole run", 100 * len(times) * o.window / (o.quota * o.seconds), unit="%")
        for name, end in faults.happened:
            e.figure(f"from the end of {name} to the next arrival", recovery(times, end), at_most=o.back, unit="s")
        show_answers(e, fates)
        probes.show(e, o.health)
        show_store(e, gateways)
        for gateway in gateways:
            gateway.stop()
        show_journal(e, [r for g in gateways for r in g.records()], sim.ledger())
    sys.exit(e.finish())


main()
