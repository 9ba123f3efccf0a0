"""callers[].other_routes: what is no route of the job scheduler passes for those who may use it, outside quota and journal."""

import pytest

from harness import BASE, ITEM, WS, check_error, field, key_of, sha256
from wire import wait_for

WORKSPACES = "/v1/workspaces?continuationToken=a%2Fb"
QUOTA = {"quota": {"requests": 2, "window": "1h"}}     # so small that whatever took of it would be missed


def caller(name, **more):
    return {"name": name, "keys": [{"sha256": sha256(key_of(name))}], **more}


def ask(gateway, name, method, target, *headers, body=None):
    with gateway.connect() as c:
        return c.request(method, target, [("X-API-Key", key_of(name)), ("Authorization", "Bearer own"), *headers], body)


@pytest.fixture
def sim(fleet):
    return fleet.simulator()


@pytest.fixture
def gateway(fleet, sim):
    return fleet.gateway(sim, upstream=QUOTA, callers=[
        caller("none"), caller("reads", other_routes="read", allow=[]), caller("all", other_routes="all")])


def test_refused_by_default(gateway, sim):
    answer = ask(gateway, "none", "GET", WORKSPACES)
    check_error(answer, 404, "EntityNotFound")
    assert "callers[].other_routes" in answer.json()["message"]
    check_error(ask(gateway, "reads", "POST", "/v1/workspaces", body=b"{}"), 404, "EntityNotFound")
    assert not sim.ledger()


def test_relayed_with_the_callers_own_token(gateway, sim):
    for name, method, body in (("reads", "GET", None), ("reads", "HEAD", None), ("all", "POST", b"{}"), ("all", "DELETE", None)):
        answer = ask(gateway, name, method, WORKSPACES, body=body)
        entry = sim.ledger()[-1]
        assert answer.status == entry["status"] == 404 and answer.get("Proxy-Status") is None
        assert (entry["method"], entry["target"]) == (method, WORKSPACES)
        assert field(entry, "Authorization") == ["Bearer own"] and not field(entry, "X-API-Key")
    assert len(sim.ledger()) == 4, "none of them waits for a token, and there are two"
    assert not gateway.records("intent") and not gateway.records("refusal")
    requests = {name: value for name, value in gateway.metrics().items() if name.startswith("jobgate_requests_total")}
    assert sum(value for name, value in requests.items() if 'operation="other"' in name) == 4
    wait_for(lambda: sum(1 for line in gateway.events("request") if line["operation"] == "other") == 4, what="four log lines")


@pytest.mark.parametrize("word", ["jobs", "JOBS", "job%73", "job%2573", "jobs;a=b", "jobs%20"])
def test_no_way_to_a_job(gateway, sim, word):
    """A job that a server behind us might see, though no route of ours is recognised."""
    for kind in ("items", "newKinds"):
        target = f"/v1/workspaces/{WS}/{kind}/{ITEM}/{word}/Execute/instances"
        answer = ask(gateway, "all", "POST", target, body=b"{}")
        if (kind, word.lower()) == ("items", "jobs"):
            continue    # the route itself, by its quota
        check_error(answer, answer.status, "EntityNotFound" if answer.status == 404 else "JobgateBadRequest")
        assert answer.status in (400, 404)
    assert all("newKinds" not in e["target"] and "%" not in e["target"] and ";" not in e["target"] for e in sim.ledger())


def test_an_upstream_429_of_another_route_pauses_no_job(fleet):
    sim = fleet.simulator("--fault", "429:@1")
    gateway = fleet.gateway(sim, callers=[caller("all", other_routes="all")])
    assert ask(gateway, "all", "GET", WORKSPACES).status == 429
    assert ask(gateway, "all", "POST", f"{BASE}/RunNotebook/instances", body=b"{}").status == 202
    assert [e["status"] for e in sim.ledger()] == [429, 202]
