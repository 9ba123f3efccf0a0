"""P3 under an upstream that fails: nothing is sent twice, and what is not known is said and recorded to be unknown."""

import asyncio
import collections
import sys

from bench import Experiment, outcomes_by_request, show_journal, twice
from harness import BASE, KEY, field
from load import Client

# To a run or the making of a schedule; fabricsim's 503 says isRetriable, so that nothing was started.
AMBIGUOUS = {"drop", "garbage", "half", "500"}
# `close` ends connections without a word, so that the next request may meet one that is gone.
SECTIONS = (("drop:0.2",), ("500:0.2",), ("half:0.1", "garbage:0.1", "503:0.1"), ("close:0.3",))
SCHEDULE = b'{"enabled":true,"configuration":{"type":"Cron","interval":10,"number":%d}}'


async def exchanges(e, port, count, connections):
    """COUNT runs in both URL forms and schedules, each with a body of its own."""
    clients, numbers, fates = [Client(port, KEY) for _ in range(connections)], iter(range(count)), []

    async def share(client):
        for number in numbers:
            kind = e.random.choice(("run", "run", "legacy", "legacy", "schedule"))
            target, body = {
                "run": (f"{BASE}/RunNotebook/instances", b'{"executionData":{"number":%d}}' % number),
                "legacy": (f"{BASE}/instances?jobType=Pipeline", b'{"executionData":{"number":%d}}' % number),
                "schedule": (f"{BASE}/Pipeline/schedules", SCHEDULE % number),
            }[kind]
            fates.append(await client.request("POST", target, body))
    await asyncio.gather(*(share(client) for client in clients))
    return fates


def check_exchange(fate, entry, outcomes):
    """What is wrong with one exchange, or nothing."""
    outcome = outcomes.get(fate.request_id, [{}])[0]
    ended = (fate.status, outcome.get("result"), outcome.get("answered"))
    if entry is None or entry["fault"] in AMBIGUOUS:
        body = fate.json() if fate.answer else {}
        said = body.get("errorCode"), body.get("isRetriable")
        if ended != (409, "unknown", 409) or said != ("JobgateOutcomeUnknown", False):
            return f"ambiguous and ended as {ended} {fate}"
        if not fate.headers.get("location", "").endswith(f"{BASE}/instances"):
            return f"no list of instances to look at: {fate.headers}"
    elif entry["fault"] == "503":
        if ended != (503, "rejected", 503) or not fate.relayed:
            return f"refused by the upstream and ended as {ended} {fate}"
    elif ended != (entry["status"], "accepted", entry["status"]) or outcome["location"] != fate.headers["location"]:
        return f"accepted and ended as {ended} {fate}"
    elif entry["status"] == 202 and outcome["instance_id"] != fate.headers["x-ms-job-id"]:
        return f"another's answer: {outcome} {fate}"
    return ""


def run_faults(e, number, faults):
    o = e.options
    e.section(f"{o.exchanges} exchanges with " + " ".join(faults))
    sim = e.fleet.simulator("--seed", o.seed + number, *(word for fault in faults for word in ("--fault", fault)))
    gateway = e.fleet.gateway(sim)
    fates = asyncio.run(exchanges(e, gateway.port, o.exchanges, o.connections))
    gateway.stop()
    ledger, records = sim.ledger(), gateway.records()
    outcomes = outcomes_by_request(records)
    seen = {field(entry, "X-Request-Id")[0]: entry for entry in ledger}
    e.figure("exchanges", len(fates), exactly=o.exchanges)
    e.none("without an answer", [f for f in fates if not f.status])
    missing = [f for f in fates if f.request_id not in seen]
    e.figure("requests seen upstream", len(ledger), exactly=o.exchanges - len(missing))
    e.figure("requests lost with a connection that the upstream had closed", len(missing),
             exactly=None if "close:0.3" in faults else 0)
    e.none("request ids seen twice upstream", twice(field(entry, "X-Request-Id")[0] for entry in ledger))
    e.none("bodies seen twice upstream", twice(entry["body_sha256"] for entry in ledger))
    for fault, count in sorted(collections.Counter(entry["fault"] for entry in ledger).items()):
        e.figure(f"fault {fault}", count)
    ambiguous = {name for name, entry in seen.items() if entry["fault"] in AMBIGUOUS}
    expected = len(ambiguous) + len(missing)
    e.figure("ambiguous", expected)
    e.figure("  answered 409 JobgateOutcomeUnknown", sum(f.status == 409 for f in fates), exactly=expected)
    e.figure("  recorded `unknown`", sum(r["kind"] == "outcome" and r["result"] == "unknown" for r in records),
             exactly=expected)
    e.none("exchanges that ended in another way than theirs", [
        wrong for wrong in (check_exchange(f, seen.get(f.request_id), outcomes) for f in fates) if wrong])
    e.none("outcomes with more than one attempt", [r for r in records if r["kind"] == "outcome" and r["attempts"] != 1])
    show_journal(e, records, ledger)


def main():
    with Experiment("faults: an upstream that drops, fails, halves and garbles", exchanges=1000, connections=8) as e:
        for number, faults in enumerate(SECTIONS):
            run_faults(e, number, faults)
    sys.exit(e.finish())


main()
