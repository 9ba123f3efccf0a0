"""The gateway calls the upstream as itself: each kind of credential, tokens that end, endpoints that are down, and what nobody may see."""

import base64
import glob
import os
import signal
import subprocess
import threading

import pytest

from entra_sim import CLIENT, TENANT, AppService, Entra, Imds
from harness import BASE, KEY, WS, check_error, elapsed, field, key_of, secret, sha256
from wire import wait_for

RUN, LIST = f"{BASE}/DefaultJob/instances", f"{BASE}/instances"
OTHER = key_of("other-one")
SECRET = secret("s3cr~t+/=&of the client")
OWN = "Bearer the-callers-own-token"


@pytest.fixture
def endpoints():
    """Endpoints to be stopped at the end."""
    started = []
    yield lambda endpoint: started.append(endpoint) or endpoint
    for endpoint in started:
        if endpoint.hold:
            endpoint.hold.set()
        endpoint.stop()


@pytest.fixture
def rsa(tmp_path):
    """A client's certificate and key."""
    cert, key = str(tmp_path / "client.pem"), str(tmp_path / "client.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj",
                    "/CN=jobgate"], capture_output=True, check=True)
    return cert, key


def secret_credential(fleet, entra, folder, secret=SECRET):
    file = folder / "client-secret"
    file.write_text(secret + "\n")
    return {"client_secret": {"tenant": TENANT, "client_id": CLIENT, "secret": {"file": str(file)}, "authority": entra.url,
                              "ca_file": fleet.certificates.path("ca.pem")}}


def start(fleet, sim, credential, ready=True, env=None, **changes):
    return fleet.gateway(sim, env=env, ready=ready, **{**settings(credential), **changes})


def settings(credential):
    return {"identities": [{"name": "default", "credential": credential}],
            "callers": [{"name": "etl", "keys": [{"id": "k1", "sha256": sha256(KEY)}], "allow": [{}]}]}


def authorizations(sim):
    return [field(entry, "Authorization") for entry in sim.ledger()]


def check_silence(gateway, *secrets):
    """None of them stands in logs, journal or metrics."""
    texts = ["\n".join(gateway.lines), gateway.admin("/metrics").body.decode(), gateway.admin("/readyz").body.decode(),
             gateway.admin("/status").body.decode()]
    for name in glob.glob(os.path.join(gateway.folder, "audit", "*")):
        with open(name, errors="replace", encoding="utf-8") as file:
            texts.append(file.read())
    for secret in secrets:
        assert not any(secret in text for text in texts), secret


def check_one_run(gateway, sim, endpoint):
    answer = gateway.request("POST", RUN, [("Authorization", OWN)], b"{}")
    assert answer.status == 202, (answer, endpoint.refused, gateway.tail())
    assert authorizations(sim) == [[f"Bearer {endpoint.tokens[0]}"]] and len(endpoint.requests) == 1 and endpoint.refused == []
    check_silence(gateway, *endpoint.tokens, KEY, OWN)


def test_client_secret(fleet, endpoints, tmp_path):
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    check_one_run(gateway, sim, entra)
    check_silence(gateway, SECRET, "s3cr")


def test_certificate(fleet, endpoints, rsa):
    entra, sim = endpoints(Entra(fleet.certificates, certificate=rsa[0])), fleet.simulator()
    gateway = start(fleet, sim, {"certificate": {"tenant": TENANT, "client_id": CLIENT, "cert_file": rsa[0], "key_file": rsa[1],
                                                 "authority": entra.url, "ca_file": fleet.certificates.path("ca.pem")}})
    check_one_run(gateway, sim, entra)


@pytest.mark.parametrize("client", [{}, {"client_id": CLIENT}], ids=["system", "user"])
def test_managed_identity(fleet, endpoints, client):
    imds, sim = endpoints(Imds()), fleet.simulator()
    gateway = start(fleet, sim, {"managed_identity": {"endpoint": imds.url, **client}})
    check_one_run(gateway, sim, imds)


def test_app_service(fleet, endpoints):
    app, sim = endpoints(AppService()), fleet.simulator()
    gateway = start(fleet, sim, {"managed_identity": {}}, env=app.environment)
    check_one_run(gateway, sim, app)
    check_silence(gateway, app.HEADER)


def test_workload_identity(fleet, endpoints, tmp_path):
    """The token file is read for each request, since the cluster replaces it."""
    entra, sim = endpoints(Entra(fleet.certificates, federated="eyJ.federated.2")), fleet.simulator()
    file = tmp_path / "federated"
    file.write_text("eyJ.federated.1\n")
    env = {"AZURE_AUTHORITY_HOST": entra.url + "/", "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT,
           "AZURE_FEDERATED_TOKEN_FILE": str(file)}
    gateway = start(fleet, sim, {"workload_identity": {"ca_file": fleet.certificates.path("ca.pem")}}, env=env)
    gateway.wait_event("credential unavailable")
    file.write_text("eyJ.federated.2\n")
    gateway.wait_event("credential back")
    assert gateway.request("POST", RUN, body=b"{}").status == 202
    assert authorizations(sim) == [[f"Bearer {entra.tokens[0]}"]]
    check_silence(gateway, "federated.1", "federated.2", *entra.tokens)


def test_workload_identity_without_its_environment(fleet):
    gateway = start(fleet, fleet.simulator(), {"workload_identity": {}}, ready=False)
    assert gateway.wait() == 1
    assert gateway.events()[-1]["message"] == 'identities[0] ("default").credential: environment variable AZURE_AUTHORITY_HOST: is not set'


def test_many_requests_at_start_make_one_token_request(fleet, endpoints, tmp_path):
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    entra.hold = threading.Event()
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    connections = [gateway.connect() for _ in range(1000)]
    for connection in connections:
        connection.send(connection.build("GET", LIST, [("X-API-Key", KEY)]))
    wait_for(lambda: entra.requests, what="the token request")
    entra.hold.set()
    statuses = [connection.response().status for connection in connections]
    for connection in connections:
        connection.close()
    assert set(statuses) == {200} and len(entra.requests) == 1


def test_while_there_is_no_token(fleet, endpoints, tmp_path):
    """Down: callers wait as long as they may, then hear 503; when it is back, all goes well by itself."""
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    entra.fail = (503, {"error": "temporarily_unavailable"}, [("Retry-After", "2")])
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    answer, seconds = elapsed(gateway.request, "POST", RUN, [("Prefer", "wait=1")], b"{}")
    check_error(answer, 503, "JobgateUnavailable")
    assert int(answer.get("Retry-After")) > 0 and 0.9 < seconds < 5
    reasons = gateway.admin("/readyz").json()
    assert reasons["status"] == "degraded" and "the credential of an identity gets no token" in reasons["reasons"]
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(gateway.request("POST", RUN, body=b"{}")))
    thread.start()
    entra.fail = None
    thread.join()
    assert waiting[0].status == 202 and gateway.admin("/readyz").json()["status"] == "ok"
    unavailable = gateway.events("credential unavailable")
    assert len(unavailable) == 1 and "identity default: the token endpoint answered 503" in unavailable[0]["why"]
    gateway.wait_event("credential back")       # the log gathers lines for a moment
    assert len(gateway.events("credential back")) == 1
    refusal, = gateway.wait_records("refusal", 1)
    assert (refusal["status"], refusal["error_code"]) == (503, "JobgateUnavailable")


def test_refused_secret(fleet, endpoints, tmp_path):
    """Entra says no: nobody waits for what will not come; a reload takes the new secret."""
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    credential = secret_credential(fleet, entra, tmp_path, "wrong-secret-value")
    gateway = start(fleet, sim, credential)
    gateway.wait_event("credential unavailable")
    answer = wait_for(lambda: (a := gateway.request("POST", RUN, body=b"{}")).status == 502 and a, what="502")
    check_error(answer, 502, "JobgateCredentialRefused")
    why = gateway.events("credential unavailable")[0]["why"]
    assert why == "identity default: the token endpoint answered 401 invalid_client (AADSTS7000215)"
    assert sim.ledger() == []
    check_silence(gateway, "wrong-secret-value")
    secret_credential(fleet, entra, tmp_path)
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("credential back")
    wait_for(lambda: gateway.request("POST", RUN, body=b"{}").status == 202, what="202")


def test_a_token_is_kept_while_the_endpoint_is_down(fleet, endpoints, tmp_path):
    """Half of a short life is over, another token is asked for in vain: the old one serves until its last seconds, then 503."""
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    entra.life = 12
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    assert gateway.request("GET", LIST).status == 200
    entra.stop()
    gateway.wait_event("credential unavailable", timeout=20)
    assert gateway.request("GET", LIST).status == 200
    answer = wait_for(lambda: (a := gateway.request("GET", LIST, [("Prefer", "wait=1")])).status != 200 and a, timeout=20, what="an end")
    check_error(answer, 503, "JobgateUnavailable")
    entra.life = 3600
    entra.start()
    wait_for(lambda: gateway.request("GET", LIST).status == 200, timeout=40, what="the endpoint back")
    assert {value for a in authorizations(sim) for value in a} == {f"Bearer {t}" for t in entra.tokens}


def test_a_request_that_waits_goes_with_the_token_of_its_time(fleet, endpoints, tmp_path):
    """A token of 10 s may be sent for 5 s and is replaced then: a request that waits for its turn meanwhile goes out with the new one."""
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    entra.life = 10
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path),
                    upstream={"quota": {"requests": 2, "window": "10s", "burst": 2}}, wait={"max": "30s", "queue": 10})
    for _ in range(2):
        assert gateway.request("GET", LIST).status == 200
    answer, seconds = elapsed(gateway.request, "GET", LIST)
    assert answer.status == 200 and seconds > 4.5
    assert authorizations(sim)[2] != authorizations(sim)[1]


def test_401_to_our_own_credential(fleet, endpoints, tmp_path):
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator("--fault", "401:@1")
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    answer = gateway.request("POST", RUN, body=b"{}")
    assert answer.status == 202
    first, second = sim.ledger()
    assert field(first, "X-Request-Id") == field(second, "X-Request-Id")
    assert authorizations(sim) == [[f"Bearer {entra.tokens[0]}"], [f"Bearer {entra.tokens[1]}"]] and len(entra.requests) == 2
    outcome, = gateway.wait_records("outcome", 1)
    assert (outcome["result"], outcome["status"], outcome["attempts"]) == ("accepted", 202, 2)
    assert gateway.metrics()['jobgate_upstream_responses_total{identity="default",code="401"}'] == 1


def test_401_again_and_again(fleet, endpoints, tmp_path):
    """Two tries, then 502 without the upstream's challenge; the endpoint is not asked for each request."""
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator("--fault", "401:1")
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    answer = gateway.request("POST", RUN, body=b"{}")
    check_error(answer, 502, "JobgateCredentialRefused")
    assert answer.get("WWW-Authenticate") is None and len(sim.ledger()) == 2
    outcome, = gateway.wait_records("outcome", 1)
    assert (outcome["result"], outcome["status"], outcome["answered"], outcome["attempts"]) == ("rejected", 401, 502, 2)
    for _ in range(5):
        check_error(gateway.request("POST", RUN, body=b"{}"), 502, "JobgateCredentialRefused")
    assert len(entra.requests) == 2 and len(sim.ledger()) == 7


def test_401_passes_through_where_the_token_is_the_callers(fleet):
    sim = fleet.simulator("--fault", "401:1")
    answer = fleet.gateway(sim).request("POST", RUN, [("Authorization", OWN)], b"{}")
    assert answer.status == 401 and answer.get("WWW-Authenticate") and authorizations(sim) == [[OWN]]


def basic(password, user="any"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


KEYS = [   # Authorization, X-API-Key, status
    (f"Bearer {KEY}", None, 200), (f"bearer {KEY}", None, 200), (basic(KEY), None, 200), (basic(KEY, ""), None, 200),
    (f"Bearer {KEY}", KEY, 200), (OWN, KEY, 200), (None, KEY, 200), (basic("x:" + KEY), None, 401), (f"Bearer {KEY}x", None, 401),
    ("Bearer ", None, 401), ("Basic ====", None, 401), (f"Digest {KEY}", None, 401), (OWN, None, 401), (None, None, 401),
    (f"Bearer {OTHER}", KEY, 401), (basic(OTHER), KEY, 401), (f"Bearer {KEY}", OTHER, 401), (f"Bearer {OTHER}", None, 403),
    (f"Bearer {key_of('passing')}", None, 401),
]


def test_keys_in_authorization(fleet, endpoints):
    """Where the identity has a credential a key may stand there; no key ever goes upstream, nor does the caller's own token."""
    imds, sim = endpoints(Imds()), fleet.simulator()
    gateway = fleet.gateway(sim, identities=[{"name": "default", "credential": {"managed_identity": {"endpoint": imds.url}}}, {"name": "own"}],
                            callers=[{"name": "etl", "keys": [{"sha256": sha256(KEY)}], "allow": [{"workspace": WS}]},
                                     {"name": "other-one", "keys": [{"sha256": sha256(OTHER)}], "allow": []},
                                     {"name": "passing", "identity": "own", "keys": [{"sha256": sha256(key_of("passing"))}]}])
    wrong = []
    for authorization, key, status in KEYS:
        headers = [("Authorization", authorization)] if authorization is not None else []
        answer = gateway.request("GET", LIST, headers, key=key)
        if answer.status != status:
            wrong.append((authorization, key, answer.status, status))
    assert wrong == []
    assert {tuple(a) for a in authorizations(sim)} == {(f"Bearer {imds.tokens[0]}",)}
    assert gateway.request("GET", LIST, [("Authorization", f"Bearer {key_of('passing')}")], key=key_of("passing")).status == 200
    assert authorizations(sim)[-1] == []
    assert gateway.request("GET", LIST, [("Authorization", OWN)], key=key_of("passing")).status == 200
    assert authorizations(sim)[-1] == [OWN]
    check_silence(gateway, KEY, OTHER, key_of("passing"), *imds.tokens)


def test_a_reload_to_another_principal_takes_the_old_token_away(fleet, endpoints, tmp_path):
    entra, imds, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), endpoints(Imds()), fleet.simulator()
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    assert gateway.request("GET", LIST).status == 200
    gateway.write_config({**gateway.config, **settings({"managed_identity": {"endpoint": imds.url}})})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    assert gateway.request("GET", LIST).status == 200
    assert authorizations(sim) == [[f"Bearer {entra.tokens[0]}"], [f"Bearer {imds.tokens[0]}"]]
    gateway.write_config({**gateway.config, "identities": [{"name": "default"}]})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded", 2)
    assert gateway.request("GET", LIST, [("Authorization", OWN)]).status == 200
    assert authorizations(sim)[-1] == [OWN]
    gateway.write_config({**gateway.config, **settings(secret_credential(fleet, entra, tmp_path))})
    os.unlink(tmp_path / "client-secret")
    gateway.send_signal(signal.SIGHUP)
    refused = gateway.wait_event("reload refused")
    assert 'identities[0] ("default").credential: ' in refused["message"] and "No such file" in refused["message"]


def test_a_reload_while_another_token_is_fetched(fleet, endpoints, tmp_path):
    """The upstream has said 401 and the endpoint has not answered yet when the credential changes: the request goes out with the new one."""
    entra, imds = endpoints(Entra(fleet.certificates, secret=SECRET)), endpoints(Imds())
    sim = fleet.simulator("--fault", "401:@1")
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path))
    wait_for(lambda: gateway.request("GET", "/healthz").status == 200 and entra.tokens, what="the first token")
    entra.hold = threading.Event()
    with gateway.connect() as connection:
        connection.send(connection.build("POST", RUN, {"X-API-Key": KEY}, b"{}"))
        wait_for(lambda: len(entra.requests) == 2, what="the endpoint asked again")
        gateway.write_config({**gateway.config, **settings({"managed_identity": {"endpoint": imds.url}})})
        gateway.send_signal(signal.SIGHUP)
        assert connection.response().status == 202
    entra.hold.set()
    assert authorizations(sim) == [[f"Bearer {entra.tokens[0]}"], [f"Bearer {imds.tokens[0]}"]]


def test_who_waits_for_the_first_token_stands_in_the_queue(fleet, endpoints, tmp_path):
    """wait.queue bounds them like all others; who finds no room hears so, and nobody is recorded twice."""
    entra, sim = endpoints(Entra(fleet.certificates, secret=SECRET)), fleet.simulator()
    entra.hold = threading.Event()
    gateway = start(fleet, sim, secret_credential(fleet, entra, tmp_path), wait={"max": "20s", "queue": 3})
    waiting = []
    for i in range(3):
        waiting.append(gateway.connect())
        waiting[-1].send(waiting[-1].build("POST", RUN, {"X-API-Key": KEY}, b"{}"))
        wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] == len(waiting), what="its place in the queue")
    for _ in range(2):
        body = check_error(gateway.request("POST", RUN, body=b"{}"), 429, "TooManyRequestsForJobs")
        assert body["moreDetails"][0]["errorCode"] == "JobgateQueueFull"
    assert gateway.records("intent") == []
    entra.hold.set()
    assert [connection.response().status for connection in waiting] == [202] * 3
    assert len(sim.ledger()) == 3 and len(gateway.records("refusal")) == 2
    for connection in waiting:
        connection.close()
