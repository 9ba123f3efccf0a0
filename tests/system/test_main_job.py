"""The main job: the reference page's four examples in both URL forms, over plain and TLS, with a real Redis.

Target, headers and body bytes at the upstream, and the answer to the caller, are compared byte for byte. The expected answer
is what a second simulator with the same seed says to the same requests, asked directly.
"""

import re

import pytest

from harness import ORIGIN, UPSTREAM, field, sha256, check_timing, KEY
from wire import Connection

ITEM_1 = "/v1/workspaces/4b218778-e7a5-4d73-8187-f10824047715/items/431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7/jobs"
ITEM_2 = "/v1/workspaces/a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1/items/dddddddd-9999-0000-1111-eeeeeeeeeeee/jobs"

EXECUTE = b"""{
"executionData": {
"executeOption": "ApplyChangesIfNeeded"
},
"parameters": [
{
"name": "Threshold",
"value": "start",
"type": "Automatic"
},
{
"name": "OrderKey",
"value": 25,
"type": "Automatic"
}
]
}"""
DATA = b"""{
"executionData": {
"tableName": "Table1",
"optimizeSettings": {
"vOrder": true
}
}
}"""
PARAMETERS = b"""{
"parameters": [
{
"name": "param1",
"value": "value1",
"type": "Text"
},
{
"name": "param2",
"value": true,
"type": "Boolean"
},
{
"name": "param3",
"value": 123,
"type": "Number"
}
]
}"""
# The page's examples: item, job type, body.
EXAMPLES = [(ITEM_1, "DefaultJob", None), (ITEM_2, "Execute", EXECUTE), (ITEM_1, "DefaultJob", DATA),
            (ITEM_2, "Execute", PARAMETERS)]
FIELDS = [("User-Agent", "examples/1.0"), ("accept", "*/*"), ("AUTHORIZATION", "Bearer not.a.real.token"),
          ("X-Custom", "kept as it is, \xe9"), ("X-Custom", "twice")]


def target(base, job_type, legacy):
    return f"{base}/instances?jobType={job_type}" if legacy else f"{base}/{job_type}/instances"


def caller_fields(body):
    return FIELDS + ([("Content-Type", "application/json")] if body is not None else [])


def check_upstream(entry, base, job_type, body, request_id):
    """What arrived: the path form, the caller's fields in order and as spelled, what the contract adds, the same bytes."""
    assert (entry["method"], entry["target"]) == ("POST", f"{base}/{job_type}/instances")
    assert entry["body_bytes"] == len(body or b"") and entry["body_sha256"] == sha256(body or b"")
    sent = [tuple(pair) for pair in entry["headers"]]
    added = ("host", "via", "x-request-id", "content-length")
    assert [pair for pair in sent if pair[0].lower() not in added] == caller_fields(body)
    assert field(entry, "Host") == [UPSTREAM]
    assert field(entry, "Content-Length") == [str(len(body or b""))]
    assert field(entry, "X-Request-Id") == [request_id]
    via, = field(entry, "Via")
    assert re.fullmatch(r"1\.1 jobgate\S*", via)


def check_answer(answer, expected):
    """The answer is the simulator's own, field for field and in order, save what the gateway adds."""
    ours = ("x-request-id", "server-timing", "date", "content-length", "connection")
    assert (answer.status, answer.body) == (expected.status, expected.body)
    assert [pair for pair in answer.headers if pair[0].lower() not in ours] == \
        [pair for pair in expected.headers if pair[0].lower() not in ours]
    for name in ("Date", "Content-Length", "X-Request-Id", "Server-Timing"):
        assert len(answer.all(name)) == 1, answer
    assert answer.get("Content-Length") == str(len(expected.body))
    assert answer.get("Connection") is None and answer.get("Proxy-Status") is None
    check_timing(answer)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_examples_in_both_forms(fleet, tls):
    sim, twin = fleet.simulator("--seed", 42), fleet.simulator("--seed", 42)
    redis = fleet.redis()
    gateway = fleet.gateway(sim, store={"redis": redis.url})
    with gateway.connect(tls) as caller, twin.connect() as direct:
        for base, job_type, body in EXAMPLES:
            for legacy in (False, True):
                fields = caller_fields(body)
                answer = caller.request("POST", target(base, job_type, legacy), fields + [("X-API-Key", KEY)], body)
                expected = direct.request("POST", target(base, job_type, False), fields, body or b"")
                check_answer(answer, expected)
                check_upstream(sim.ledger()[-1], base, job_type, body, answer.get("X-Request-Id"))
                location = answer.exact("Location")
                assert location == f"{ORIGIN}{base}/instances?jobType=Execute" if job_type == "Execute" else \
                    location.startswith(f"{ORIGIN}{base}/instances/")
                assert answer.exact("Retry-After") == "60"
    assert len(sim.ledger()) == 2 * len(EXAMPLES)
    assert not [e for e in sim.ledger() if field(e, "X-API-Key") or KEY in str(e)]
    assert b"jobgate" in redis.command("KEYS", "*"), "the bucket is in Redis"


def test_the_whole_life_of_a_job(fleet):
    """Submit, poll to the end, list, cancel another, schedules: every route of fabric.md 1 through the gate."""
    sim = fleet.simulator("--job-seconds", 0.3)
    gateway = fleet.gateway(sim)
    key = [("X-API-Key", KEY)]
    with gateway.connect() as c:
        made = c.request("POST", f"{ITEM_1}/instances?jobType=RunNotebook", key)
        poll = made.exact("Location")[len(ORIGIN):]
        while c.request("GET", poll, key).json()["status"] != "Completed":
            pass
        second = c.request("POST", f"{ITEM_1}/Pipeline/instances", key, b"{}").exact("Location")[len(ORIGIN):]
        cancelled = c.request("POST", second + "/cancel", key)
        assert cancelled.status == 202 and cancelled.exact("Location") == ORIGIN + second
        states = {i["id"]: i["status"] for i in c.request("GET", f"{ITEM_1}/instances", key).json()["value"]}
        assert sorted(states.values()) == ["Cancelled", "Completed"]
        body = b'{"enabled": true, "configuration": {"type": "Cron", "interval": 10}}'
        schedule = c.request("POST", f"{ITEM_1}/Pipeline/schedules", key, body)
        assert schedule.status == 201
        one = schedule.exact("Location")[len(ORIGIN):]
        assert c.request("GET", one, key).json() == schedule.json()
        assert c.request("PATCH", one, key, body).status == 200
        assert len(c.request("GET", f"{ITEM_1}/Pipeline/schedules", key).json()["value"]) == 1
        assert c.request("DELETE", one, key).status == 200
        assert c.request("GET", one, key).status == 404
    kinds = [r["operation"] for r in gateway.records("intent")]
    assert kinds == ["run", "run", "cancel", "schedule_create", "schedule_update", "schedule_delete"]


def test_location_and_list_are_rewritten_to_the_public_url(fleet):
    sim = fleet.simulator("--page", 2)
    gateway = fleet.gateway(sim, public_url="https://gate.example:8443/fabric")
    public = "https://gate.example:8443/fabric"
    key = [("X-API-Key", KEY), ("Accept-Encoding", "gzip, br")]
    with gateway.connect(tls=True) as c:
        for _ in range(3):
            made = c.request("POST", f"/fabric{ITEM_1}/DefaultJob/instances", key)
            assert re.fullmatch(re.escape(public + ITEM_1) + r"/instances/[0-9a-f-]{36}", made.exact("Location"))
        assert c.request("GET", made.exact("Location")[len("https://gate.example:8443"):], key).status == 200
        page = c.request("GET", f"{ITEM_1}/instances", key)
        assert page.json()["continuationUri"].startswith(public + ITEM_1 + "/instances?continuationToken=")
        rest = c.request("GET", page.json()["continuationUri"][len("https://gate.example:8443"):], key)
        assert len(rest.json()["value"]) == 1 and "continuationUri" not in rest.json()
        execute = c.request("POST", f"{ITEM_2}/Execute/instances", key)
        assert execute.exact("Location") == f"{public}{ITEM_2}/instances?jobType=Execute"
    listed = [e for e in sim.ledger() if e["method"] == "GET" and e["target"].split("?")[0] == f"{ITEM_1}/instances"]
    assert [field(e, "Accept-Encoding") for e in listed] == [["identity"]] * 2
    assert not [e for e in sim.ledger() if "fabric/" in e["target"].split("?")[0].replace("fabric.microsoft", "")]


def test_fields_that_stop_at_the_gate(fleet):
    """Hop-by-hop fields, forwarding claims, cookies and keys do not cross; what a caller calls its id is kept apart."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    fields = [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("TE", "trailers"),
              ("Upgrade", "h2c"), ("Proxy-Connection", "keep-alive"), ("Forwarded", "for=1.2.3.4"),
              ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Host", "evil"), ("X-Real-IP", "1.2.3.4"), ("Cookie", "a=b"),
              ("X-Jobgate-Test", "1"), ("X-Request-Id", "caller-chosen"), ("X-Kept", "yes")]
    answer = gateway.request("POST", f"{ITEM_1}/DefaultJob/instances", fields, b"")
    assert answer.status == 202
    entry, = sim.ledger()
    names = [n.lower() for n, _ in entry["headers"] if n.lower() != "connection"]
    assert sorted(names) == ["content-length", "host", "via", "x-kept", "x-request-id"]
    assert field(entry, "X-Request-Id") == [answer.get("X-Request-Id")] != ["caller-chosen"]
    assert gateway.wait_records("intent", 1)[0]["client_request_id"] == "caller-chosen"


def test_a_chunked_body_arrives_whole(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    with Connection(gateway.port) as c:
        c.send(c.build("POST", f"{ITEM_1}/DefaultJob/instances", [("X-API-Key", KEY), ("Transfer-Encoding", "chunked")]))
        for piece in (DATA[:1], DATA[1:40], DATA[40:]):
            c.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        c.send(b"0\r\n\r\n")
        assert c.response().status == 202
    entry, = sim.ledger()
    assert entry["body_sha256"] == sha256(DATA) and len(field(entry, "Content-Length")) == 1
