"""The upstream's own word: one 429 stops its identity on every instance, and no other."""

import asyncio
import sys

from bench import Experiment, callers_config, field, parse_time, percentile, quota_config, simulator, start_gateways
from load import Mix, Stream, offer

# Each identity's callers bring a token of their own, by which the upstream meters.
IDENTITIES = {"blue": "Bearer of-blue", "green": "Bearer of-green"}


def identity_of(entry):
    token = field(entry, "Authorization")
    return next((name for name, its in IDENTITIES.items() if token == [its]), "")


def start_two_identities(e, sim):
    """Three instances with two identities, one caller each."""
    o = e.options
    quota = quota_config(e, o.quota, o.window)
    callers = [{**caller, "identity": caller["name"]} for caller in callers_config(IDENTITIES)]
    return start_gateways(e, sim, e.fleet.redis(), o.quota, o.window, callers=callers, wait=o.wait,
                          identities=[{"name": name, "quota": quota} for name in IDENTITIES])


async def load_both(e, gateways):
    o = e.options
    streams = [Stream(e, gateways, name, headers=[("Authorization", token)]) for name, token in IDENTITIES.items()]
    found = await asyncio.gather(*(s.offer(o.times * o.quota / o.window, o.seconds) for s in streams))
    return [fate for fates in found for fate in fates]


def show_pause(e, ledger, blocked):
    """What one 429 did: nothing of its identity until its Retry-After is over, and the other as before."""
    o = e.options
    identity, when = identity_of(blocked), parse_time(blocked["time"])
    mine = [parse_time(x["time"]) - when for x in ledger if identity_of(x) == identity and x is not blocked]
    others = [parse_time(x["time"]) - when for x in ledger if identity_of(x) != identity]
    e.section(f"a 429 to {identity}, Retry-After {o.pause}")
    e.figure("requests of that identity within the first 50 ms", sum(0 < t <= 0.05 for t in mine))
    e.none("requests of that identity from 50 ms after it until its time", [t for t in mine if 0.05 < t < o.pause], shows=True)
    e.figure("the next one of it came after", min((t for t in mine if t >= o.pause), default=999.0),
             at_most=o.pause + 2.0, unit="s")
    usual = o.quota / o.window * o.pause
    e.shows("requests of the other identity in that time, of its share",
            100 * sum(0 <= t < o.pause for t in others) / usual, at_least=o.least, at_most=110.0, unit="%")
    e.figure("of that identity in the second after it, of its share",
             100 * sum(o.pause <= t < o.pause + 1 for t in mine) * o.window / o.quota, unit="%")


def run_once(e):
    """The fault strikes one request of the Nth, so one identity at a time; both are overloaded."""
    o = e.options
    count = int(2 * o.quota / o.window * o.seconds)
    places = [int(count * share) for share in (0.4, 0.65)]
    sim = simulator(e, 10 * o.quota, o.window, "sliding", "--fault-retry-after", o.pause,
                    *(word for n in places for word in ("--fault", f"429:@{n}")))
    gateways = start_two_identities(e, sim)
    fates = asyncio.run(load_both(e, gateways))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    blocked = [entry for entry in ledger if entry["status"] == 429]
    e.shows("429 of the upstream, each meant for one request", len(blocked), exactly=len(places))
    for entry in blocked:
        show_pause(e, ledger, entry)
    again = [[x["status"] for x in ledger if field(x, "X-Request-Id") == field(entry, "X-Request-Id")] for entry in blocked]
    e.none("of them not sent again once, with success", [s for s in again if s != [429, 202]], shows=True)
    e.none("requests without an answer", [f for f in fates if f is None or not f.status])
    for name in IDENTITIES:
        e.chart(f"throttled-{name}", f"{name}, while a 429 with Retry-After {o.pause} comes to one of two identities",
                [x for x in ledger if identity_of(x) == name], o.quota, o.window,
                [(parse_time(x["time"]), f"429 to {identity_of(x)}") for x in blocked])


def show_pauses(e, ledger):
    """Where the window is fixed, Retry-After is what was left of it, in whole seconds rounded up: at least one is kept."""
    times = sorted(parse_time(entry["time"]) for entry in ledger)
    blocked = sorted(parse_time(entry["time"]) for entry in ledger if entry["status"] == 429)
    first = [t for i, t in enumerate(blocked) if i == 0 or t - blocked[i - 1] > 1]
    e.figure("upstream answers 429", len(blocked), at_least=1)
    e.figure("pauses", len(first), at_least=1)
    late = [min((t for t in times if t > start + 0.05), default=start + 9) - start for start in first]
    e.figure("least time from 50 ms after a 429 to the next request of any instance", min(late, default=9.0), at_least=1.0, unit="s")
    e.none("requests later than 50 ms after a pause began, within its first second",
           [t for t in times for start in first if start + 0.05 < t < start + 1], shows=True)
    return first


def run_smaller(e):
    o = e.options
    stated, real, window = 300, 60, 8.0
    e.section(f"the upstream permits {real} per {window:g} s where {stated} are stated: each 429 stops all instances")
    sim = simulator(e, real, window, "fixed")
    gateways = start_gateways(e, sim, e.fleet.redis(), stated, window, wait=60.0)
    fates = asyncio.run(offer(20, o.smaller_seconds, Mix(e, gateways, polls=0)))
    for gateway in gateways:
        gateway.stop()
    ledger = sim.ledger()
    show_pauses(e, ledger)
    e.none("requests without an answer", [f for f in fates if f is None or not f.status])
    relayed = [f for f in fates if f and f.status == 202]
    e.figure("accepted", len(relayed))
    e.figure("answered 429", sum(f.status == 429 for f in fates if f))
    e.figure("wait of the accepted, p99", percentile([f.seconds for f in relayed], 0.99), unit="s")
    again = {}
    for entry in ledger:
        again.setdefault(field(entry, "X-Request-Id")[0], []).append(entry["status"])
    e.none("requests sent more than three times, or again after anything but a 429",
           [s for s in again.values() if len(s) > 3 or any(status != 429 for status in s[:-1])], shows=True)
    e.figure("requests sent again after a 429", sum(len(s) > 1 for s in again.values()))


def main():
    with Experiment("throttled: one 429 stops its identity everywhere", {"once": run_once, "smaller": run_smaller}, quota=100,
                    window=10.0, times=2.0, seconds=40.0, pause=5, wait=40.0, smaller_seconds=20.0, least=90.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
