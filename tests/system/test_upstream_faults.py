"""An upstream that misbehaves: the contract's answers, nothing sent twice, nothing mixed up, no byte to the wrong one."""

import threading

import pytest

from harness import BASE, KEY, ORIGIN, WS, check_error, check_failed, elapsed, field
from wire import wait_for

RUN = f"{BASE}/DefaultJob/instances"
UNKNOWN = ["drop", "garbage", "half", "early-close", "408", "500", "502", "504"]


@pytest.fixture(scope="module")
def gate(module_fleet):
    sim = module_fleet.simulator()
    return module_fleet.gateway(sim, upstream={"timeout": "2s"}), sim


def check_unknown(gateway, answer, status, code):
    """409 with isRetriable false, the item's list of instances as Location, and what the upstream said."""
    body = check_error(answer, 409, "JobgateOutcomeUnknown", closes=False)
    assert body["isRetriable"] is False
    assert answer.exact("Location").endswith(f"{BASE}/instances")
    if status:
        said = str(body["moreDetails"])
        assert str(status) in said and code in said, body
    name = answer.get("X-Request-Id")
    wait_for(lambda: [o for o in gateway.records("outcome") if o["request_id"] == name])
    outcome, = [o for o in gateway.records("outcome") if o["request_id"] == name]
    assert (outcome["result"], outcome["status"], outcome["answered"]) == ("unknown", status, 409)
    assert outcome["attempts"] == 1


@pytest.mark.parametrize("fault", UNKNOWN)
@pytest.mark.parametrize("target", [RUN, f"{BASE}/instances?jobType=DefaultJob", f"{BASE}/Pipeline/schedules"],
                         ids=["run", "legacy", "schedule"])
def test_unknown_outcomes(gate, fault, target):
    gateway, sim = gate
    before = len(sim.ledger())
    body = b'{"enabled":true,"configuration":{"type":"Cron"}}' if "schedules" in target else b"{}"
    answer = gateway.request("POST", target, [("X-Fabricsim-Fault", fault)], body)
    status = int(fault) if fault.isdigit() else 0
    check_unknown(gateway, answer, status, "InvalidRequest" if status == 408 else "InternalError")
    assert len(sim.ledger()) == before + 1, "seen once"


@pytest.mark.parametrize("fault,status", [("drop", 502), ("garbage", 502), ("half", 502), ("early-close", 502)])
@pytest.mark.parametrize("method,target", [("GET", f"{BASE}/instances"), ("POST", f"{BASE}/instances/{WS}/cancel"),
                                           ("DELETE", f"{BASE}/Pipeline/schedules/{WS}")], ids=["get", "cancel", "delete"])
def test_no_answer_to_another_request(gate, fault, status, method, target):
    gateway, sim = gate
    before = len(sim.ledger())
    answer = gateway.request(method, target, [("X-Fabricsim-Fault", fault)])
    check_error(answer, status, "JobgateUpstreamUnavailable", closes=False)
    assert len(sim.ledger()) == before + 1 or method == "GET"


@pytest.mark.parametrize("fault", ["500", "503", "400", "403", "404"])
def test_errors_that_are_relayed(gate, fault):
    """To a GET any status is relayed as it is; to a run those that say that nothing was started."""
    gateway, _ = gate
    answer = gateway.request("GET", f"{BASE}/instances", [("X-Fabricsim-Fault", fault)])
    assert answer.status == int(fault) and answer.get("Proxy-Status") is None
    if fault != "500":
        answer = gateway.request("POST", RUN, [("X-Fabricsim-Fault", fault)], b"{}")
        assert answer.status == int(fault) and answer.exact("x-ms-public-api-error-code") == answer.json()["errorCode"]


def test_401_of_the_upstream_passes_with_its_challenge(gate):
    answer = gate[0].request("POST", RUN, [("X-Fabricsim-Fault", "401"), ("Authorization", "Bearer x")], b"{}")
    assert answer.status == 401 and answer.json()["errorCode"] == "TokenExpired"
    assert 'error="invalid_token"' in answer.get("WWW-Authenticate") and answer.get("Proxy-Status") is None


def test_429_of_the_upstream(gate):
    """It was not executed: the caller hears 429 and when to come again, whoever says it."""
    gateway, _ = gate
    answer = gateway.request("POST", RUN, [("X-Fabricsim-Fault", "429")], b"{}")
    assert answer.status == 429 and int(answer.get("Retry-After")) >= 1
    body = answer.json()
    assert body["isRetriable"] is True
    assert body["errorCode"] == "RequestBlocked" or body["moreDetails"][0]["errorCode"] == "JobgateUpstreamThrottled"


def test_an_upstream_that_never_answers(fleet):
    """After the time-out the caller is told; the job half reads on, so that the record learns the truth."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, upstream={"timeout": "1s"})
    answer, seconds = elapsed(gateway.request, "POST", RUN, [("X-Fabricsim-Latency", "2500")], b"{}")
    body = check_error(answer, 409, "JobgateOutcomeUnknown", closes=False)
    assert body["isRetriable"] is False and 0.9 < seconds < 2.4
    outcome, = gateway.wait_records("outcome", 1)
    assert (outcome["result"], outcome["status"], outcome["answered"]) == ("accepted", 202, 409)
    assert outcome["location"].startswith(ORIGIN)
    answer, seconds = elapsed(gateway.request, "GET", f"{BASE}/instances", [("X-Fabricsim-Fault", "stall")])
    check_error(answer, 504, "JobgateUpstreamUnavailable", closes=False)
    assert 0.9 < seconds < 3


def test_interim_extra_and_early_closed_answers_do_not_mix(gate):
    """A 103, a second answer nobody asked for, a close without a word: each caller gets its own answer alone."""
    gateway, sim = gate
    for fault in ("hints", "extra", "close") * 3:
        answer = gateway.request("POST", RUN, [("X-Fabricsim-Fault", fault), ("X-N", fault)], b"{}")
        assert answer.status == 202 and b"NOT FOR YOU" not in answer.raw
        assert answer.exact("Location").endswith(answer.exact("x-ms-job-id"))
        listed = gateway.request("GET", f"{BASE}/instances")
        if fault == "close" and listed.status == 502:   # the close crossed the GET on its way: a read may be asked again
            listed = gateway.request("GET", f"{BASE}/instances")
        assert listed.status == 200 and b"NOT FOR YOU" not in listed.raw
        assert answer.exact("x-ms-job-id") in [i["id"] for i in listed.json()["value"]]
    assert len(sim.ledger()) > 0


def test_a_slow_answer_is_waited_for(fleet):
    gateway = fleet.gateway(fleet.simulator("--fault", "slow:1"))
    assert gateway.request("GET", f"{BASE}/instances/{WS}").status == 404


@pytest.mark.parametrize("certificate", ["wrong-name", "foreign", "expired", "client-only"])
def test_no_byte_to_an_upstream_with_a_wrong_certificate(fleet, certificate):
    sim = fleet.simulator(certificate=certificate)
    gateway = fleet.gateway(sim)
    for method, target in (("POST", RUN), ("GET", f"{BASE}/instances")):
        answer = gateway.request(method, target)
        body = check_error(answer, 502, "JobgateUpstreamUnavailable", closes=False)
        assert "certificate" in str(body).lower() or "tls" in str(body).lower()
        if method == "POST":
            check_failed(gateway, answer)
    gateway.stop()
    assert sim.ledger() == []


@pytest.mark.parametrize("fault", ["drop:0.2", "500:0.2"])
def test_a_thousand_exchanges_with_faults(fleet, fault):
    """No request is ever seen twice upstream; each ambiguous one is answered 409 and recorded unknown."""
    sim = fleet.simulator("--fault", fault, "--seed", 11)
    gateway = fleet.gateway(sim)
    answers, lock = {}, threading.Lock()

    def share(first):
        with gateway.connect() as c:
            for number in range(first, 1000, 4):
                answer = c.request("POST", RUN, [("X-API-Key", KEY), ("X-N", str(number))], b"{}")
                with lock:
                    answers[str(number)] = answer
    threads = [threading.Thread(target=share, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 1000
    seen = [field(entry, "X-N")[0] for entry in sim.ledger()]
    assert len(seen) == len(set(seen)) == 1000
    struck = {field(e, "X-N")[0] for e in sim.ledger() if e["fault"] != "none"}
    assert {n for n, a in answers.items() if a.status == 409} == struck and 130 < len(struck) < 270
    assert {a.status for a in answers.values()} == {202, 409}
    outcomes = {o["request_id"]: o["result"] for o in gateway.wait_records("outcome", 1000)}
    for number, answer in answers.items():
        assert outcomes[answer.get("X-Request-Id")] == ("unknown" if number in struck else "accepted")
