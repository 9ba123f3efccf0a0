"""Entra is down for ten minutes while the gateway calls as a service principal: nobody notices, and it is asked with patience."""

import asyncio
import sys
import threading
import time

from bench import Experiment, key_of
from entra_sim import CLIENT, TENANT, Entra
from harness import field, sha256
from load import Mix, offer

SECRET = "the secret of the service principal"


def outage(e, entra, readyz, notes):
    """Stop the endpoint at the time for it and start it again; what readyz said meanwhile."""
    o = e.options
    time.sleep(o.before)
    entra.stop()
    notes["down"] = time.monotonic()
    time.sleep(o.down)
    notes["reasons"] = readyz()["reasons"]
    entra.start()
    notes["up"] = time.monotonic()


def run_outage(e):
    o = e.options
    entra = Entra(e.fleet.certificates, secret=SECRET)
    entra.life = o.life
    file = e.fleet.folder / "secret"
    file.write_text(SECRET)
    sim = e.fleet.simulator("--job-seconds", 3600)
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], "allow": [{}]} for name in ("a", "b", "c", "d", "e")]
    gateway = e.fleet.gateway(sim, callers=callers, audit={"directory": "audit"}, identities=[{"name": "default", "credential": {
        "client_secret": {"tenant": TENANT, "client_id": CLIENT, "secret": {"file": str(file)}, "authority": entra.url,
                          "ca_file": e.fleet.certificates.path("ca.pem")}}}])
    notes = {}
    thread = threading.Thread(target=outage, args=(e, entra, lambda: gateway.admin("/readyz").json(), notes))
    thread.start()
    fates = asyncio.run(offer(o.rate, o.before + o.down + o.after, Mix(e, [gateway], callers=[c["name"] for c in callers])))
    thread.join()
    told = gateway.events("credential unavailable")
    gateway.stop()
    entra.stop()
    sent = [field(entry, "Authorization") for entry in sim.ledger()]
    e.figure("requests", len(fates), at_least=0.9 * o.rate * (o.before + o.down + o.after))
    e.shows("seconds that the endpoint was down", notes["up"] - notes["down"], at_least=o.down)
    e.none("requests not answered as ever", [f for f in fates if f is None or f.status not in (200, 202)], shows=True)
    e.figure("tokens that were used upstream", len({s[0] for s in sent if s}), exactly=2)
    e.figure("tokens made in all", len(entra.tokens), exactly=2)
    e.none("requests upstream with no token of ours, or an old one",
           [s for s in sent if len(s) != 1 or s[0] not in [f"Bearer {t}" for t in entra.tokens]])
    e.figure("reasons of readyz at the end of it", len(notes["reasons"]), at_least=1)
    e.say(f"      {notes['reasons']}")
    e.figure("times that the log says so, at most once a half minute", len(told), at_least=1, at_most=1 + o.down / 30)


def main():
    with Experiment("credential: the token endpoint is down for ten minutes", {"outage": run_outage}, life=800, before=60.0,
                    down=600.0, after=90.0, rate=5.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
