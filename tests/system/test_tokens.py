"""Callers with tokens, through the real gateway: who gets in, who does not and with what answer, and that no token is written down."""

import hashlib
import hmac
import json
import os
import signal
import time

import pytest

from harness import BASE, KEY, check_error, elapsed, field, free_port, key_of, sha256
from tokens import AUDIENCE, ETL, ISSUER, REPORTS, STRANGER, TENANT, KeyServer, SigningKey, base64url, write_jwks
from wire import wait_for

RUN = f"{BASE}/RunNotebook/instances"
CALLERS = [
    {"name": "etl", "keys": [{"id": "k1", "sha256": sha256(KEY)}], "tokens": [{"id": "t1", "tenant": TENANT, "object": ETL}]},
    {"name": "reports", "tokens": [{"tenant": TENANT, "application": REPORTS}]},
    {"name": "plain", "keys": [{"id": "p1", "sha256": sha256(key_of("plain"))}]},
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {kid: SigningKey(folder, kid) for kid in ("k1", "k2", "foreign")}


def start(fleet, keys, sim, **changes):
    file = os.path.join(str(fleet.folder), "jwks.json")
    write_jwks(file, keys["k1"])
    issuers = [{"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": file}}]
    gateway = fleet.gateway(sim, **{"issuers": issuers, "callers": CALLERS, **changes})
    gateway.jwks = file
    return gateway


class Door:
    """A gateway in front of a simulator, and every token that was shown to it."""

    def __init__(self, fleet, keys):
        self.keys, self.shown = keys, []
        self.sim = fleet.simulator()
        self.gateway = start(fleet, keys, self.sim)

    def show(self, token, key=None, target=RUN, method="POST", more=()):
        """The answer to TOKEN; each comes from an address of its own, since one that fails again and again is slowed."""
        self.shown.append(token)
        headers = [("Authorization", f"Bearer {token}"), *more, *([("X-API-Key", key)] if key else [])]
        with self.gateway.connect(source=f"127.1.{len(self.shown) // 250}.{len(self.shown) % 250 + 1}") as connection:
            return connection.request(method, target, headers)

    def refused(self, token, key=None, message="not accepted"):
        before = len(self.sim.ledger())
        answer = self.show(token, key)
        body = check_error(answer, 401, "JobgateUnauthenticated")
        assert answer.get("WWW-Authenticate") == 'Bearer error="invalid_token"', answer
        assert message in body["message"] and body["moreDetails"] == [] and not body["isRetriable"], body
        assert len(self.sim.ledger()) == before


@pytest.fixture(scope="module")
def door(module_fleet, keys):
    return Door(module_fleet, keys)


def test_a_token_alone_identifies(door):
    for claims, caller, entry in (({}, "etl", "t1"), ({"oid": STRANGER, "azp": REPORTS}, "reports", REPORTS[:8]),
                                  ({"oid": None, "azp": None, "appid": REPORTS}, "reports", REPORTS[:8])):
        token = door.keys["k1"].token(**claims)
        for _ in range(2):      # judged, and known
            answer = door.show(token)
            assert answer.status == 202, answer
            record = wait_for(lambda: [r for r in door.gateway.records("intent")    # pylint: disable=cell-var-from-loop
                                       if r["request_id"] == answer.get("X-Request-Id")])[0]
            assert (record["caller"], record["key"]) == (caller, entry)
            arrived = [e for e in door.sim.ledger() if field(e, "X-Request-Id") == [answer.get("X-Request-Id")]]
            assert field(arrived[0], "Authorization") == [f"Bearer {token}"]      # passed through


def test_a_key_and_a_token_that_agree(door):
    for claims in ({}, {"oid": STRANGER}):      # of the same caller, and of nobody who is configured
        answer = door.show(door.keys["k1"].token(**claims), KEY)
        assert answer.status == 202, answer
        record = [r for r in door.gateway.records("intent") if r["request_id"] == answer.get("X-Request-Id")][0]
        assert (record["caller"], record["key"]) == ("etl", "k1")


def test_a_key_and_a_token_that_disagree(door):
    answer = door.show(door.keys["k1"].token(), key_of("plain"))
    body = check_error(answer, 401, "JobgateUnauthenticated")
    assert "different callers" in body["message"]
    answer = door.show(door.keys["k1"].token(), "no key of ours")
    check_error(answer, 401, "JobgateUnauthenticated")
    assert answer.get("WWW-Authenticate") == 'ApiKey realm="jobgate"'


def test_what_its_signature_vouches_for_is_told(door):
    now, key = int(time.time()), door.keys["k1"]
    door.refused(key.token(exp=now - 1), message="expired")
    door.refused(key.token(nbf=now + 120), message="not valid yet")
    door.refused(key.token(aud="https://graph.microsoft.com"), message="another audience")
    door.refused(key.token(tid=STRANGER), message="issuer or tenant")
    door.refused(key.token(oid=STRANGER), message="no caller here")
    door.refused(key.token(exp=now - 1), KEY, message="expired")     # a good key does not help a bad token


def test_forgeries_are_refused_without_a_hint(door):
    now, key, foreign = int(time.time()), door.keys["k1"], door.keys["foreign"]
    good = key.token()
    head, claims, _ = good.split(".")

    def hs256(secret):
        text = f"{base64url({'alg': 'HS256', 'kid': 'k1'})}.{claims}"
        return f"{text}.{base64url(hmac.digest(secret, text.encode(), hashlib.sha256))}"

    for token in (
            key.token(header={"alg": "none"}), f"{base64url({'alg': 'none', 'kid': 'k1'})}.{claims}.",
            hs256(key.pem()), hs256(b"k1"), foreign.token(header={"kid": "k1"}), foreign.token(),
            foreign.token(header={"kid": "k1", "jwk": foreign.jwk()}), key.token(header={"jku": "https://evil.example"}),
            key.token(header={"crit": ["exp"]}), key.token(header={"alg": "PS256"}), key.token(header={"kid": "k2"}),
            key.token(signature=b""), key.token(signature=b"\0" * 256), key.token(signature=b"\0" * 255), good + "=",
            good + "A", good[:-8], f"{head}.{claims}", f"{head}.{claims[:-1]}.AA", foreign.token(exp=now - 1), "e30.e30.e30", "x",
            key.token(header={"typ": "JWE"}), key.token(iss=None), key.token(iss="https://sts.windows.net/"), key.token(exp="1")):
        door.refused(token)


def test_oversize_token(door):
    door.refused(door.keys["k1"].token(groups=["x" * 36] * 300))


def test_what_is_not_for_us_passes_by_the_key(door):
    """A token of another issuer, an opaque one, another scheme: the upstream judges, as it did without issuers."""
    for value in (f"Bearer {door.keys['foreign'].token(iss='https://sts.windows.net/other/')}", "Bearer opaque", "Basic eDp5"):
        door.shown.append(value.split()[1])
        answer = door.gateway.request("POST", RUN, [("Authorization", value)])
        assert answer.status == 202, answer
        arrived = [e for e in door.sim.ledger() if field(e, "X-Request-Id") == [answer.get("X-Request-Id")]]
        assert field(arrived[0], "Authorization") == [value]
    check_error(door.gateway.request("POST", RUN, [("Authorization", "Basic eDp5")], key=None), 401, "JobgateUnauthenticated")


def test_authorization_twice(door):
    token = door.keys["k1"].token()
    answer = door.show(token, more=[("Authorization", "Bearer opaque")])
    assert answer.status in (400, 401), answer


def test_scopes_of_users(door):
    """A user's run needs a scope for it; an application's does not, nor does a read. Nothing that is refused goes upstream."""
    notebook, pipeline = (RUN.replace("/items/", f"/{word}/") for word in ("Notebooks", "dataPipelines"))
    for scp, target, status in (
            ("Item.Execute.All", RUN, 202), ("Item.Read.All Item.Execute.All", notebook, 202), ("Notebook.Execute.All", notebook, 202),
            ("Notebook.Execute.All", RUN, 202), ("Warehouse.Execute.All", RUN, 202), ("Notebook.Execute.All", pipeline, 403),
            ("Item.ReadWrite.All", RUN, 403), ("Item.Execute", RUN, 403), ("xItem.Execute.Allx", RUN, 403), ("", notebook, 403),
            ("Warehouse.Execute.All", notebook, 403)):
        before = len(door.sim.ledger())
        answer = door.show(door.keys["k1"].token(scp=scp), target=target)
        assert answer.status == status, (scp, target, answer)
        assert len(door.sim.ledger()) - before == (status == 202)
        if status == 403:
            assert "Item.Execute.All" in check_error(answer, 403, "InsufficientPrivileges")["message"]
            assert answer.get("WWW-Authenticate") is None
    assert door.show(door.keys["k1"].token(scp="Item.Read.All"), method="GET", target=f"{BASE}/instances").status == 200
    assert door.show(door.keys["k1"].token(scp="Item.Read.All"), KEY).status == 403      # the token goes upstream, not the key


def test_reads_by_token(door):
    answer = door.show(door.keys["k1"].token(), method="GET", target=f"{BASE}/instances")
    assert answer.status == 200, answer


def test_nothing_of_a_token_is_written(door):
    """Neither log, journal, metrics nor answers have a part of any token that was shown."""
    key, foreign = door.keys["k1"], door.keys["foreign"]
    door.refused(foreign.token(header={"kid": "k1"}))
    answers = [door.show(token, shown) for shown in (None, KEY, key_of("plain"), "no key of ours") for token in (
        key.token(), key.token() + "=", key.token(exp=1), key.token(oid=STRANGER), foreign.token(header={"kid": "k1"}),
        key.token(header={"alg": "none"}), key.token(scp="Item.Read.All"))]
    texts = ["\n".join(door.gateway.lines), json.dumps(door.gateway.records()), door.gateway.admin("/metrics").body.decode(),
             door.gateway.admin("/status").body.decode(), *(answer.raw.decode("latin-1") for answer in answers)]
    parts = [part for token in door.shown for part in token.split(".") if len(part) > 20]
    assert len(parts) > 60
    for part in parts:
        assert not any(part in text for text in texts), part
    refused = door.gateway.events("token refused")
    assert any(e["token"] == "uti-of-this-token" and "signature" in e["why"] for e in refused)


def test_a_changed_file_is_taken_and_a_wrong_one_is_not(fleet, keys):
    sim = fleet.simulator()
    gateway = start(fleet, keys, sim)
    old, new = keys["k1"].token(), keys["k2"].token()

    def status(token):
        return gateway.request("POST", RUN, [("Authorization", f"Bearer {token}")], key=None).status

    assert (status(old), status(new)) == (202, 401)
    write_jwks(gateway.jwks, keys["k1"], keys["k2"])
    wait_for(lambda: status(new) == 202, what="the new key")
    write_jwks(gateway.jwks, keys["k2"])
    wait_for(lambda: status(old) == 401, what="the end of the old key, whose token was known")
    with open(gateway.jwks, "w", encoding="ascii") as out:
        out.write('{"keys": [')
    gateway.wait_event("issuer's keys unusable")
    assert status(new) == 202
    assert any("issuer's keys" in reason for reason in gateway.admin("/readyz").json()["reasons"])
    gateway.send_signal(signal.SIGHUP)
    assert gateway.jwks in gateway.wait_event("reload refused")["message"]
    write_jwks(gateway.jwks, keys["k1"], keys["k2"])
    gateway.wait_event("issuer's keys back")
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    wait_for(lambda: (status(old), status(new)) == (202, 202), what="both keys")


def test_a_start_without_keys_says_why(fleet, keys):
    sim = fleet.simulator()
    issuers = [{"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": "absent.json"}}]
    gateway = fleet.gateway(sim, ready=False, issuers=issuers, callers=CALLERS)
    assert gateway.wait() == 1
    assert "absent.json: No such file or directory" in gateway.tail()


def test_keys_from_a_url(fleet, keys, certificates):
    """Away at start: a token alone gets 503, a key works. There: they come by themselves. An unknown key does not ask again so soon."""
    port = free_port()
    issuers = [{"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"url": f"https://localhost:{port}/keys"},
                "ca_file": certificates.path("ca.pem")}]
    gateway = fleet.gateway(fleet.simulator(), issuers=issuers, callers=CALLERS)

    def answer(token, key=None):
        return gateway.request("POST", RUN, [("Authorization", f"Bearer {token}")], key=key)

    good, other = keys["k1"].token(), keys["k2"].token()
    body = check_error(answer(good), 503, "JobgateUnavailable")
    assert body["isRetriable"] and answer(good).get("Retry-After") == "5"
    assert answer(good, KEY).status == 202
    assert any("issuer's keys" in reason for reason in gateway.admin("/readyz").json()["reasons"])
    server = KeyServer(certificates, port)
    server.keys = [keys["k1"]]
    try:
        wait_for(lambda: answer(good).status == 202, what="the keys")
        for _ in range(5):
            check_error(answer(other), 401, "JobgateUnauthenticated")
        assert server.asked == 1
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded")
        assert answer(good).status == 202
        wait_for(lambda: server.asked == 2, what="the reload's question")
    finally:
        server.close()
    assert answer(good).status == 202


def test_reload_changes_who_is_known(fleet, keys):
    sim = fleet.simulator()
    gateway = start(fleet, keys, sim)
    token = keys["k1"].token(oid=STRANGER, azp=STRANGER)

    def answer():
        return gateway.request("POST", RUN, [("Authorization", f"Bearer {token}")], key=None)

    check_error(answer(), 401, "JobgateUnauthenticated")
    gateway.config["callers"] = [{"name": "etl", "scopes": "off", "tokens": [{"tenant": TENANT, "object": STRANGER}]}]
    gateway.write_config(gateway.config)
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    wait_for(lambda: answer().status == 202, what="the new caller")
    record = gateway.records("config")[-1]
    assert record["callers"] == [{"name": "etl", "keys": [STRANGER[:8]]}]
    token = keys["k1"].token(oid=STRANGER, scp="Item.Read.All")      # whose scopes are Fabric's business now
    assert answer().status == 202


def test_each_principal_has_the_quota_for_itself(fleet, keys):
    """per_token: four of them take four calls each at one a second in the time of one; what shows no verified token is the fourth."""
    sim = fleet.simulator()
    gateway = start(fleet, keys, sim, wait={"max": "20s", "queue": 100}, identities=[
        {"name": "default", "per_token": True, "quota": {"requests": 20, "window": "20s", "burst": 1}}],
        callers=[{"name": "app", "keys": [{"id": "k", "sha256": sha256(KEY)}], "tokens": [{"tenant": TENANT, "application": REPORTS}]}])
    users = [f"{n}0000000-0000-4000-8000-000000000000" for n in range(1, 4)]
    shown = [[("Authorization", f"Bearer {keys['k1'].token(oid=u, azp=REPORTS, scp='Item.Execute.All')}")] for u in users]
    connections = [gateway.connect() for _ in range(16)]

    def run():
        for n, connection in enumerate(connections):
            headers = (shown + [[("X-API-Key", KEY)]])[n % 4]
            connection.send(connection.build("POST", RUN, headers, b"{}"))
        return [connection.response().status for connection in connections]

    statuses, seconds = elapsed(run)
    assert statuses == [202] * 16 and 3 < seconds < 10, (statuses, seconds)
    assert gateway.metrics()['jobgate_grants_total{identity="default"}'] == 16


def test_a_bucket_of_ones_own_is_not_taken_back_by_a_reload(fleet, keys):
    """In one window a principal could spend its own bucket and then that of all."""
    gateway = start(fleet, keys, fleet.simulator(), identities=[{"name": "default", "per_token": True}])
    gateway.write_config({**gateway.config, "identities": [{"name": "default"}]})
    gateway.send_signal(signal.SIGHUP)
    refused = gateway.wait_event("reload refused")
    assert refused["message"] == "identities[].per_token cannot change without a restart"


@pytest.mark.parametrize("per_token, status", [(False, 202), (True, 503)])
def test_a_key_beside_a_token_whose_issuer_is_down(fleet, keys, per_token, status):
    """The key decides; but where the token chooses the bucket, none that cannot be verified passes by the identity's own."""
    url = f"https://127.0.0.1:{free_port()}/keys"
    issuers = [{"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"url": url}, "ca_file": fleet.certificates.path("ca.pem")}]
    sim = fleet.simulator()
    gateway = start(fleet, keys, sim, issuers=issuers, identities=[{"name": "default", "per_token": per_token}])
    answer = gateway.request("POST", RUN, [("Authorization", f"Bearer {keys['k1'].token()}")])
    assert (answer.status, len(sim.ledger())) == (status, int(status == 202)), answer
