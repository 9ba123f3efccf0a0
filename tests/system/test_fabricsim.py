"""The simulator itself: its answers as fabric.md has them, its quota, its faults, its ledger."""

import time

import pytest

from harness import BASE, ITEM, ORIGIN, WS, field, sha256
from wire import Closed, wait_for


def run(sim, job_type="DefaultJob", headers=(), body=b""):
    with sim.connect() as c:
        return c.request("POST", f"{BASE}/{job_type}/instances", headers, body)


def test_a_202_is_the_recorded_one(fleet):
    answer = run(fleet.simulator())
    job = answer.exact("x-ms-job-id")
    assert (answer.status, answer.body) == (202, b"")
    assert [n for n, _ in answer.headers][:9] == ["Location", "Retry-After", "RequestId", "x-ms-job-id",
                                                  "Content-Encoding", "Content-Length", "Content-Type",
                                                  "home-cluster-uri", "Access-Control-Expose-Headers"]
    assert answer.exact("Location") == f"{ORIGIN}{BASE}/instances/{job}"
    assert answer.exact("Retry-After") == "60" and answer.exact("Content-Encoding") == "gzip"


def test_an_instance_lives_and_ends(fleet):
    sim = fleet.simulator("--job-seconds", 0.5)
    made = run(sim)
    target = made.exact("Location")[len(ORIGIN):]
    with sim.connect() as c:
        seen = []

        def ended():
            answer = c.request("GET", target).json()
            if not seen or seen[-1] != answer["status"]:
                seen.append(answer["status"])
            return answer["status"] == "Completed" and answer

        last = wait_for(ended)
        assert seen == ["NotStarted", "InProgress", "Completed"]
        assert last["rootActivityId"] == made.exact("RequestId") and last["itemId"] == ITEM
        assert last["invokeType"] == "Manual" and last["endTimeUtc"] > last["startTimeUtc"]
        cancel = c.request("POST", target + "/cancel")
        assert (cancel.status, cancel.exact("x-ms-public-api-error-code")) == (400, "JobAlreadyCompleted")


def test_both_forms_cancel_and_lists(fleet):
    sim = fleet.simulator("--page", 2)
    with sim.connect() as c:
        made = [c.request("POST", f"{BASE}/instances?jobType=RunNotebook", body=b"{}") for _ in range(5)]
        ids = [m.exact("x-ms-job-id") for m in made]
        assert c.request("POST", f"{BASE}/instances/{ids[0]}/cancel").status == 202
        assert c.request("GET", f"{BASE}/instances/{ids[0]}").json()["status"] == "Cancelled"
        page, listed = c.request("GET", f"{BASE}/instances").json(), []
        while True:
            listed += [i["id"] for i in page["value"]]
            if "continuationUri" not in page:
                break
            assert page["continuationToken"] in page["continuationUri"]
            page = c.request("GET", page["continuationUri"][len(ORIGIN):]).json()
        assert listed == ids[::-1]


def test_execute_has_a_location_without_id(fleet):
    assert run(fleet.simulator(), "Execute").exact("Location") == f"{ORIGIN}{BASE}/instances?jobType=Execute"


def test_schedules(fleet):
    with fleet.simulator().connect() as c:
        body = b'{"enabled":true,"configuration":{"type":"Cron","interval":10}}'
        made = c.request("POST", f"{BASE}/Pipeline/schedules", body=body)
        assert made.status == 201 and made.json()["configuration"] == {"type": "Cron", "interval": 10}
        one = made.exact("Location")[len(ORIGIN):]
        assert c.request("GET", one).json() == made.json()
        assert c.request("PATCH", one, body=body.replace(b"true", b"false")).json()["enabled"] is False
        assert len(c.request("GET", f"{BASE}/Pipeline/schedules").json()["value"]) == 1
        assert c.request("DELETE", one).status == 200
        assert c.request("GET", one).status == 404
        assert c.request("POST", f"{BASE}/Pipeline/schedules", body=b"[]").status == 400


@pytest.mark.parametrize("method,target,status", [
    ("GET", "/v1/nothing", 404), ("DELETE", f"{BASE}/instances", 405), ("POST", f"{BASE}/instances", 400),
    ("GET", f"{BASE}/instances/{WS}", 404), ("GET", f"{BASE}/instances/not-a-guid", 400),
    ("GET", f"/v1/workspaces/x/items/{ITEM}/jobs/instances", 400)],
    ids=["route", "method", "no-job-type", "no-instance", "no-guid", "no-workspace"])
def test_errors_have_bodies(fleet, method, target, status):
    with fleet.simulator().connect() as c:
        answer = c.request(method, target)
    assert answer.status == status
    assert answer.json()["errorCode"] == answer.exact("x-ms-public-api-error-code")
    assert answer.json()["requestId"] == answer.exact("RequestId")


@pytest.mark.parametrize("window", ["fixed", "sliding"])
def test_quota_counts_each_token(fleet, window):
    sim = fleet.simulator("--quota", "3/1", "--window", window, "--phase", 1)
    with sim.connect() as c:
        statuses = [c.request("GET", f"{BASE}/instances", [("Authorization", "a")]) for _ in range(5)]
        assert [a.status for a in statuses] == [200, 200, 200, 429, 429]
        blocked = statuses[3]
        assert blocked.exact("Retry-After") == "1" and blocked.json()["errorCode"] == "RequestBlocked"
        assert blocked.json()["isRetriable"] is True
        assert c.request("GET", f"{BASE}/instances", [("Authorization", "b")]).status == 200
        wait_for(lambda: c.request("GET", f"{BASE}/instances", [("Authorization", "a")]).status == 200, 3)


def test_ledger_keeps_order_spelling_and_bytes(fleet):
    sim = fleet.simulator()
    with sim.connect() as c:
        c.send(b"POST /v1/x?A=%20b HTTP/1.1\r\nhOsT: h\r\nX-B: \xe9\xff\r\nx-a: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n"
               b"\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert c.response().status == 404
    entry, = sim.ledger()
    assert (entry["method"], entry["target"], entry["status"]) == ("POST", "/v1/x?A=%20b", 404)
    assert entry["headers"] == [["hOsT", "h"], ["X-B", "\xe9\xff"], ["x-a", "1"], ["X-A", "2"],
                                ["Transfer-Encoding", "chunked"]]
    assert entry["body_bytes"] == 5 and entry["body_sha256"] == sha256("abcde") and entry["connection"] == 1


@pytest.mark.parametrize("fault", ["drop", "garbage", "half", "early-close"])
def test_faults_without_an_answer(fleet, fault):
    sim = fleet.simulator("--fault", f"{fault}:1")
    with sim.connect() as c, pytest.raises((Closed, ValueError)):
        c.request("POST", f"{BASE}/X/instances", body=b"{}")
    entry, = sim.ledger()
    assert entry["status"] == 0 and entry["fault"] == fault
    with sim.connect() as c:
        listed = c.request("GET", f"{BASE}/instances", [("X-Fabricsim-Fault", "none")]).json()["value"]
    assert len(listed) == (0 if fault == "early-close" else 1)


def test_faults_with_an_answer(fleet):
    sim = fleet.simulator()
    with sim.connect() as c:
        for status, executed in ((500, 1), (503, 1), (429, 1), (504, 2)):
            answer = c.request("POST", f"{BASE}/X/instances", [("X-Fabricsim-Fault", str(status))])
            assert answer.status == status and answer.json()["errorCode"]
            assert len(c.request("GET", f"{BASE}/instances").json()["value"]) == executed
        assert c.request("GET", f"{BASE}/instances", [("X-Fabricsim-Fault", "hints")]).status == 200
        assert c.request("GET", f"{BASE}/instances", [("X-Fabricsim-Fault", "close")]).status == 200
        assert c.is_closed()
    with sim.connect() as c:
        start = time.monotonic()
        assert c.request("GET", f"{BASE}/instances/{WS}", [("X-Fabricsim-Fault", "slow")]).status == 404
        assert time.monotonic() - start > 1
        start = time.monotonic()
        assert c.request("GET", f"{BASE}/instances", [("X-Fabricsim-Latency", "300")]).status == 200
        assert time.monotonic() - start >= 0.3
        assert c.request("GET", f"{BASE}/instances", [("X-Fabricsim-Fault", "extra")]).status == 200
        assert c.response().body == b"NOT FOR YOU!"


def test_rates_come_true_and_are_repeatable(fleet):
    def faults():
        sim = fleet.simulator("--fault", "500:0.2", "--fault", "503:0.1:POST", "--seed", 7)
        with sim.connect() as c:
            return [c.request("POST", f"{BASE}/X/instances").status for _ in range(500)]
    first = faults()
    assert 70 <= first.count(500) <= 130 and 30 <= first.count(503) <= 75 and first == faults()


def test_the_nth_request_alone(fleet):
    sim = fleet.simulator("--fault", "429:@3", "--fault", "503:@2:GET", "--fault-retry-after", 5)
    with sim.connect() as c:
        posts = [c.request("POST", f"{BASE}/X/instances") for _ in range(4)]
        gets = [c.request("GET", f"{BASE}/instances") for _ in range(3)]
    assert [a.status for a in posts] == [202, 202, 429, 202] and [a.status for a in gets] == [200, 503, 200]
    assert (posts[2].exact("Retry-After"), gets[1].exact("Retry-After")) == ("5", "5")
    assert [entry["fault"] for entry in sim.ledger()] == ["none", "none", "429", "none", "none", "503", "none"]


@pytest.mark.parametrize("fault", ["429:@0", "429:@", "429:@x", "429:@-1", "429:1.5", "429:", "429", "nothing:@1"])
def test_faults_that_are_none(fleet, fault):
    with pytest.raises(AssertionError, match="cannot use"):
        fleet.simulator("--fault", fault)
    fleet.processes.clear()


def test_what_is_no_request_and_what_ends_early(fleet):
    sim = fleet.simulator()
    with sim.connect() as c:
        c.send(b"GET / HTTP/1.1\nHost: x\n\n")
        assert c.response().status == 400
        assert c.is_closed()
    with sim.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    wait_for(lambda: len(sim.ledger()) == 2)
    assert [(e["complete"], e["status"]) for e in sim.ledger()] == [(False, 400), (False, 0)]
    assert field(sim.ledger()[1], "content-length") == ["9"]
