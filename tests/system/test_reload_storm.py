"""Reloads in quick succession that change who is known and as whom the upstream is called, while requests of every kind come in."""

import json
import random
import signal
import threading
import time

from entra_sim import Imds
from harness import BASE, KEY, key_of, sha256
from tokens import AUDIENCE, ISSUER, REPORTS, TENANT, SigningKey, write_jwks
from wire import Closed

RUN, LIST = f"{BASE}/RunNotebook/instances", f"{BASE}/instances"
SP = key_of("the-service-principal")
SECONDS = 6
# By kind of request: what may come of it, whatever the configuration of the moment says.
EXPECTED = {"token": {202, 401, 503}, "key": {202, 503}, "bearer": {200, 401, 503}, "other": {404}, "refused": {200, 401, 502, 503}}


def settings(imds, file):
    quota = {"requests": 100000, "window": "1s"}
    return {"issuers": [{"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": file}}],
            "identities": [{"name": "default", "per_token": True, "quota": quota},
                           {"name": "own", "quota": quota, "credential": {"managed_identity": {"endpoint": imds.url}}}],
            "callers": [{"name": "app", "keys": [{"sha256": sha256(KEY)}], "tokens": [{"tenant": TENANT, "application": REPORTS}],
                         "other_routes": "all"},
                        {"name": "sp", "identity": "own", "keys": [{"sha256": sha256(SP)}], "allow": [{}]}]}


def requests(tokens):
    """What is asked, by its kind."""
    token, sp = ("Authorization", f"Bearer {random.choice(tokens)}"), ("X-API-Key", SP)
    return {"token": ("POST", RUN, [token], b"{}"), "key": ("POST", RUN, [sp], b"{}"),
            "bearer": ("GET", LIST, [("Authorization", f"Bearer {SP}")], None), "other": ("GET", "/v1/x", [("X-API-Key", KEY)], None),
            "refused": ("GET", LIST, [sp, ("X-Fabricsim-Fault", "401")], None)}


def ask(gateway, tokens, until, odd, counts):
    """Ask one thing after another; some connections are left in the middle."""
    while time.monotonic() < until:
        with gateway.connect() as connection:
            for kind in random.choices(list(EXPECTED), k=4):
                method, target, headers, body = requests(tokens)[kind]
                try:
                    connection.send(connection.build(method, target, headers, body))
                    if random.random() < 0.1:
                        break
                    answer = connection.response()
                except (Closed, OSError):
                    break
                counts[kind] = counts.get(kind, 0) + 1
                if answer.status not in EXPECTED[kind]:
                    odd.append((kind, answer.status, answer.body))


def storm(gateway, keys, until):
    """Reload, each time another configuration or another set of keys."""
    whole, count = gateway.config, 0
    while time.monotonic() < until:
        count += 1
        changed = json.loads(json.dumps(whole))
        if count % 4 == 0:
            del changed["identities"][1]["credential"]
        write_jwks(whole["issuers"][0]["jwks"]["file"], *(keys[:1] if count % 3 == 0 else keys))
        gateway.write_config(changed)
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded", count)
    return count


def test_a_storm_of_reloads(fleet, tmp_path):
    keys, imds = [SigningKey(tmp_path, "k1"), SigningKey(tmp_path, "k2")], Imds()
    imds.life = 20      # replaced every ten seconds
    try:
        file = str(tmp_path / "jwks.json")
        write_jwks(file, *keys)
        gateway = fleet.gateway(fleet.simulator(), **settings(imds, file))
        tokens = [keys[n % 2].token(oid=f"{n:08d}-0000-4000-8000-000000000000", azp=REPORTS, scp="Item.Execute.All") for n in range(20)]
        until, odd, counts = time.monotonic() + SECONDS, [], {}
        threads = [threading.Thread(target=ask, args=(gateway, tokens, until, odd, counts)) for _ in range(6)]
        for thread in threads:
            thread.start()
        reloads = storm(gateway, keys, until)
        for thread in threads:
            thread.join()
        assert not odd and set(counts) == set(EXPECTED) and reloads > 5, (odd[:10], counts, reloads)
        gateway.stop()
    finally:
        imds.stop()
    intents, outcomes = (sorted(r["request_id"] for r in gateway.records(kind)) for kind in ("intent", "outcome"))
    assert intents == outcomes and len(set(intents)) == len(intents)
