"""The gateway's own errors: status, errorCode, shape and headers of each row of the contract's table."""

import threading

import pytest

from harness import BASE, ITEM, KEY, WS, check_error, check_failed, elapsed, free_port, key_of, sha256
from wire import wait_for

RUN = f"{BASE}/DefaultJob/instances"


@pytest.fixture(scope="module")
def gate(module_fleet):
    sim = module_fleet.simulator()
    callers = [{"name": "etl", "keys": [{"sha256": sha256(KEY)}]},
               {"name": "narrow", "keys": [{"sha256": sha256(key_of("narrow"))}],
                "allow": [{"workspace": WS, "items": [ITEM], "job_types": ["RunNotebook"], "operations": ["run", "read"]}]},
               {"name": "reader", "keys": [{"sha256": sha256(key_of("reader"))}], "allow": [{"operations": ["read"]}]},
               {"name": "lax", "keys": [{"sha256": sha256(key_of("lax"))}], "validate": "off"}]
    return module_fleet.gateway(sim, callers=callers), sim


@pytest.mark.parametrize("headers", [[], [("X-API-Key", "unknown")], [("X-API-Key", "")], [("X-API-Key", KEY + " x")],
                                     [("X-API-Key", KEY), ("X-API-Key", "other")], [("X-API-Key", sha256(KEY))],
                                     [("Authorization", f"Bearer {KEY}")]],
                         ids=["none", "unknown", "empty", "longer", "two", "the-hash", "as-bearer"])
def test_401(gate, headers):
    gateway, sim = gate
    before = len(sim.ledger())
    answer = gateway.request("POST", RUN, headers, b"{}", key=None)
    body = check_error(answer, 401, "JobgateUnauthenticated", closes=False)
    assert answer.get("WWW-Authenticate") and body["isRetriable"] is False
    assert len(sim.ledger()) == before


@pytest.mark.parametrize("caller,method,target", [
    ("narrow", "POST", RUN), ("narrow", "POST", f"{BASE}/instances?jobType=Pipeline"),
    ("narrow", "POST", RUN.replace(WS, ITEM).replace("DefaultJob", "RunNotebook")),
    ("narrow", "POST", RUN.replace(ITEM, WS).replace("DefaultJob", "RunNotebook")),
    ("narrow", "POST", f"{BASE}/instances/{WS}/cancel"), ("narrow", "DELETE", f"{BASE}/RunNotebook/schedules/{WS}"),
    ("reader", "POST", RUN), ("reader", "POST", f"{BASE}/Pipeline/schedules")],
    ids=["job-type", "legacy", "workspace", "item", "cancel", "schedule", "reader-run", "reader-schedule"])
def test_403(gate, caller, method, target):
    gateway, sim = gate
    before = len(sim.ledger())
    body = check_error(gateway.request(method, target, key=key_of(caller)), 403, "InsufficientPrivileges", closes=False)
    assert body["isRetriable"] is False
    assert len(sim.ledger()) == before


def test_what_a_narrow_caller_may(gate):
    gateway, _ = gate
    assert gateway.request("POST", RUN.replace("DefaultJob", "runNOTEBOOK"), key=key_of("narrow")).status == 202
    assert gateway.request("POST", f"{BASE}/instances?jobType=RunNotebook".replace(WS, WS.upper()), key=key_of("narrow")).status == 202
    assert gateway.request("GET", f"{BASE}/instances", key=key_of("narrow")).status == 200
    assert gateway.request("GET", f"{BASE}/Pipeline/schedules", key=key_of("reader")).status == 200


@pytest.mark.parametrize("target", ["/", "/v1", "/v1/workspaces", f"{BASE}", f"{RUN}/x", f"{BASE}/instances/", "/metrics",
                                    f"/v1/workspaces/{WS}/reports/{ITEM}/jobs/instances", "/favicon.ico"])
def test_404(gate, target):
    check_error(gate[0].request("GET", target), 404, "EntityNotFound", closes=False)


@pytest.mark.parametrize("method,target,allow", [
    ("DELETE", f"{BASE}/instances", {"GET", "POST"}), ("GET", RUN, {"POST"}), ("PUT", RUN, {"POST"}),
    ("POST", f"{BASE}/instances/{WS}", {"GET"}), ("GET", f"{BASE}/instances/{WS}/cancel", {"POST"}),
    ("DELETE", f"{BASE}/Pipeline/schedules", {"GET", "POST"}), ("OPTIONS", RUN, {"POST"}),
    ("POST", f"{BASE}/Pipeline/schedules/{WS}", {"GET", "PATCH", "DELETE"})],
    ids=["instances", "run-get", "run-put", "instance", "cancel", "schedules", "options", "schedule"])
def test_405(gate, method, target, allow):
    answer = gate[0].request(method, target)
    check_error(answer, 405, "JobgateMethodNotAllowed", closes=False)
    assert {m.strip() for m in answer.get("Allow").split(",")} - {"HEAD"} == allow


@pytest.mark.parametrize("target", [f"{BASE}/instances", f"{BASE}/instances?jobType=", f"{BASE}/instances?jobType",
                                    f"{BASE}/instances?jobType=A&jobtype=A", f"{RUN}?jobType=Pipeline",
                                    f"{RUN}?JOBTYPE=DefaultJob&job%54ype=DefaultJob", f"{BASE}/a%20b/instances",
                                    f"{BASE}/instances?jobType=a/b"])
def test_bad_job_type(gate, target):
    gateway, sim = gate
    before = len(sim.ledger())
    check_error(gateway.request("POST", target, body=b"{}"), 400, "InvalidJobType")
    assert len(sim.ledger()) == before


PARAMETER = '{"parameters":[%s]}'
BODIES = {
    "no-json": "{", "array": "[]", "number": "1", "text": '"x"', "trailing": "{} {}", "duplicate-key": '{"a":1,"a":2}',
    "execution-data-list": '{"executionData":[]}', "parameters-object": '{"parameters":{}}', "deep": "[" * 40 + "]" * 40,
    "twice": PARAMETER % '{"name":"A","type":"Text","value":"x"},{"name":"a","type":"Text","value":"x"}',
    "long-name": PARAMETER % ('{"name":"%s","type":"Text","value":"x"}' % ("n" * 257)),
    "integer": PARAMETER % '{"name":"a","type":"Integer","value":"x"}',
    "boolean": PARAMETER % '{"name":"a","type":"Boolean","value":"yes"}',
    "date": PARAMETER % '{"name":"a","type":"DateTime","value":"2024-13-01T00:00:00Z"}',
    "guid": PARAMETER % '{"name":"a","type":"Guid","value":"{431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7}"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_body(gate, name):
    gateway, sim = gate
    before = len(sim.ledger())
    check_error(gateway.request("POST", RUN, body=BODIES[name].encode()), 400, "InvalidParameter", closes=False)
    assert len(sim.ledger()) == before


def test_every_offending_parameter_is_named(gate):
    bad = [f'{{"name":"p{i}","type":"{kind}","value":[]}}' for i, kind in
           enumerate(["Integer", "Number", "Text", "Boolean", "DateTime", "Guid"])]
    body = check_error(gate[0].request("POST", RUN, body=(PARAMETER % ",".join(bad)).encode()), 400, "InvalidParameter")
    said = " ".join(d["message"] for d in body["moreDetails"])
    assert len(body["moreDetails"]) == 6 and all(f"p{i}" in said for i in range(6)), body


@pytest.mark.parametrize("body", ["", '""', "{}", '{"executionData":{}}', '{"executionData":{"n":123456789012345678901234567890}}',
                                  PARAMETER % '{"name":"a","type":"NewType","value":{"x":[1]}}'])
def test_good_bodies_pass(gate, body):
    gateway, sim = gate
    assert gateway.request("POST", RUN, [("Content-Type", "application/json")], body.encode()).status == 202
    assert sim.ledger()[-1]["body_sha256"] == sha256(body)


def test_without_validation_the_upstream_judges_and_its_error_is_relayed(gate):
    gateway, sim = gate
    answer = gateway.request("POST", RUN, body=b"[]", key=key_of("lax"))
    assert answer.status == 400 and answer.json()["errorCode"] == "InvalidParameter"
    assert answer.get("Proxy-Status") is None and sim.ledger()[-1]["body_sha256"] == sha256(b"[]")
    assert answer.json()["requestId"] == answer.exact("RequestId") != answer.get("X-Request-Id")


def test_an_error_of_the_upstream_is_relayed_as_it_is(gate):
    answer = gate[0].request("GET", f"{BASE}/instances/{WS}")
    assert answer.status == 404 and answer.exact("x-ms-public-api-error-code") == "EntityNotFound"
    assert answer.get("Proxy-Status") is None and answer.get("Server-Timing")


def test_429_when_no_token_comes_in_time(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, upstream={"quota": {"requests": 20, "window": "10s"}}, wait={"max": "1s", "queue": 1000})
    answers, threads = [], []
    for _ in range(20):
        threads.append(threading.Thread(target=lambda: answers.append(elapsed(gateway.request, "POST", RUN, body=b"{}"))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    refused = [(a, t) for a, t in answers if a.status == 429]
    assert {a.status for a, _ in answers} == {202, 429} and len(refused) >= 10
    for answer, seconds in refused:
        body = check_error(answer, 429, "TooManyRequestsForJobs", closes=False)
        assert 1 <= int(answer.get("Retry-After")) <= 60 and body["isRetriable"] is True
        assert body["moreDetails"][0]["errorCode"] == "JobgateIdentityQuota"
        assert seconds < 3
    assert len(sim.ledger()) == len(answers) - len(refused)


def test_429_when_the_queue_is_full(fleet):
    gateway = fleet.gateway(fleet.simulator(), upstream={"quota": {"requests": 2, "window": "10s"}},
                            wait={"max": "60s", "queue": 1})
    first = gateway.connect()
    first.send(first.build("POST", RUN, [("X-API-Key", KEY)], b"{}"))
    wait_for(lambda: gateway.metrics().get('jobgate_queue_requests{identity="default"}') == 1)
    answer = gateway.request("POST", RUN, body=b"{}")
    body = check_error(answer, 429, "TooManyRequestsForJobs", closes=False)
    assert body["moreDetails"][0]["errorCode"] == "JobgateQueueFull" and int(answer.get("Retry-After")) >= 1
    first.close()


def test_502_when_the_upstream_is_away(fleet):
    gateway = fleet.gateway(free_port())
    for method, target in (("GET", f"{BASE}/instances"), ("POST", RUN), ("POST", f"{BASE}/instances/{WS}/cancel")):
        answer = gateway.request(method, target)
        body = check_error(answer, 502, "JobgateUpstreamUnavailable", closes=False)
        assert body["isRetriable"] is True
        if method == "POST":
            check_failed(gateway, answer)
    assert gateway.admin("/readyz").json()["status"] == "degraded"


def test_503_when_the_store_is_away_and_back_again(fleet):
    sim = fleet.simulator()
    port = free_port()
    gateway = fleet.gateway(sim, store={"redis": f"redis://127.0.0.1:{port}", "on_failure": "closed"},
                            wait={"max": "1s", "queue": 100})
    answer, seconds = elapsed(gateway.request, "POST", RUN, body=b"{}")
    body = check_error(answer, 503, "JobgateUnavailable", closes=False)
    assert int(answer.get("Retry-After")) >= 1 and body["isRetriable"] is True and seconds < 4
    assert sim.ledger() == [] and gateway.admin("/readyz").json()["status"] == "degraded"
    assert gateway.admin("/healthz").status == 200
    fleet.redis(port=port)
    wait_for(lambda: gateway.request("POST", RUN, body=b"{}").status == 202, 15, "recovery")
    wait_for(lambda: gateway.admin("/readyz").json()["status"] == "ok", 15)
