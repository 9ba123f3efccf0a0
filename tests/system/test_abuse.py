"""Guessing keys: slowed by address and by how the key begins, counted, recorded within bounds; good keys never wait."""

import base64
import threading

import pytest

from harness import BASE, KEY, elapsed, free_port
from wire import Connection, wait_for

LIST = BASE + "/instances"
HERE = ["127.0.0.0/8"]


@pytest.fixture
def gateway(fleet):
    return fleet.gateway(fleet.simulator(), listen=[{"address": f"127.0.0.1:{free_port()}", "trusted_proxies": HERE}], audit={
        "directory": "audit", "refusals": 2})


def guess(gateway, key, client="203.0.113.1"):
    return elapsed(gateway.request, "GET", LIST, {"X-Forwarded-For": client}, key=key)


def test_an_address_is_slowed_and_its_good_callers_are_not(gateway):
    times = []
    for i in range(9):
        answer, seconds = guess(gateway, f"{i}-other-beginnings")
        assert answer.status == 401
        times.append(seconds)
    assert min(times[:5]) < 0.05 and all(t >= d for t, d in zip(times[5:], (0.05, 0.1, 0.2, 0.4))), times
    # The good key of the same address, alone and while ten guesses wait.
    threads = [threading.Thread(target=guess, args=(gateway, f"{i}-more-of-them")) for i in range(10)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        answer, seconds = guess(gateway, KEY)
        assert answer.status == 200 and seconds < 0.3
    for thread in threads:
        thread.join()
    # Elsewhere nobody is slowed.
    answer, seconds = guess(gateway, "a-guess-made-elsewhere", client="198.51.100.7")
    assert answer.status == 401 and seconds < 0.3
    gateway.wait_event("failed authentications are slowed")
    said = gateway.events("failed authentications are slowed")
    assert len(said) == 1 and said[0]["peer"] == "203.0.113.1"


def test_a_second_is_the_most(gateway):
    for i in range(40):     # at once, so that the waiting does not add up
        threading.Thread(target=guess, args=(gateway, f"{i}-many"), daemon=True).start()
    wait_for(lambda: gateway.metrics()['jobgate_authentication_failures_total{reason="unknown"}'] >= 40, what="40 failures")
    answer, seconds = guess(gateway, "one-more")
    assert answer.status == 401 and 0.95 < seconds < 3


def test_guesses_at_one_key_from_many_addresses(gateway):
    times = [guess(gateway, f"jg_AbCdE{i:03}", client=f"203.0.113.{i}")[1] for i in range(10)]
    assert times[9] >= 0.8 and max(times[:5]) < 0.3, times
    answer, seconds = guess(gateway, "jg_xYzUv", client="203.0.113.1")
    assert answer.status == 401 and seconds < 0.3


def test_guesses_in_authorization(gateway):
    """Clients that can set nothing else show their key there; what may be a token is no guess at a key, since all begin alike."""
    def show(value, i):
        return elapsed(gateway.request, "GET", LIST, {"X-Forwarded-For": f"203.0.113.{i}", "Authorization": value}, key=None)[1]
    basic = [show("Basic " + base64.b64encode(f"any:jg_BaSiC{i:03}".encode()).decode(), i) for i in range(10)]
    assert basic[9] >= 0.8 and max(basic[:5]) < 0.3, basic
    assert max(show(f"Bearer eyJ0eXAi{i:03}.e30.c2ln", i + 100) for i in range(10)) < 0.3


def test_reasons_are_counted_and_records_bounded(gateway):
    for key in (None, "a", "b", "c"):
        guess(gateway, key)
    gateway.request("GET", LIST, [("X-API-Key", "one"), ("X-API-Key", "two")], key=None)
    metrics = gateway.metrics()
    counted = {reason: metrics[f'jobgate_authentication_failures_total{{reason="{reason}"}}']
               for reason in ("missing", "unknown", "expired", "network", "conflict", "certificate")}
    assert counted == {"missing": 1, "unknown": 3, "expired": 0, "network": 0, "conflict": 1, "certificate": 0}
    wait_for(lambda: sum(r["count"] for r in gateway.records("refusal")) == 5, what="all in the records")
    assert len(gateway.records("refusal")) < 5


def test_who_waits_for_its_401_does_not_hold_the_end_up(gateway):
    waiting = [Connection(gateway.port) for _ in range(12)]
    for i, connection in enumerate(waiting):
        connection.send(connection.build("GET", LIST, {"X-API-Key": f"{i}-wait", "X-Forwarded-For": "203.0.113.1"}))
    wait_for(lambda: gateway.events("failed authentications are slowed"))
    _, seconds = elapsed(gateway.stop)
    assert seconds < 2
    assert all(connection.response().status == 401 for connection in waiting)


def test_who_hangs_up_while_it_waits(gateway):
    for i in range(15):
        connection = Connection(gateway.port)
        connection.send(connection.build("GET", LIST, {"X-API-Key": f"{i}-gone", "X-Forwarded-For": "203.0.113.1"}))
        connection.reset()
    wait_for(lambda: gateway.metrics()['jobgate_authentication_failures_total{reason="unknown"}'] == 15, what="all of them")
    assert guess(gateway, KEY)[0].status == 200


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_who_half_closes_hears_its_late_401(fleet, tls):
    """A refusal's answer reaches a caller that has finished sending, when it is slowed too; with a body, and one that waits to be asked for."""
    gateway = fleet.gateway(fleet.simulator())
    for i in range(8):
        guess(gateway, f"{i}-before", client="127.0.0.1")
    for headers, body in (({}, None), ({}, b"x" * 2000), ({"Expect": "100-continue", "Content-Length": "5"}, None)):
        with gateway.connect(tls) as connection:
            connection.send(connection.build("POST", BASE + "/RunNotebook/instances", {"X-API-Key": "wrong", **headers}, body))
            connection.half_close()
            answer, seconds = elapsed(connection.response)
            assert answer.status == 401 and seconds > 0.3
            assert b"100 Continue" not in answer.raw


def test_a_slowed_connection_goes_on(fleet):
    """Behind a late 401 the same connection serves the good key, pipelined too, and nothing of the body is taken for a request."""
    gateway = fleet.gateway(fleet.simulator())
    for i in range(8):
        guess(gateway, f"{i}-before")
    for tls in (False, True):
        with gateway.connect(tls) as connection:
            wrong = connection.build("POST", BASE + "/RunNotebook/instances", {"X-API-Key": "wrong"}, b"GET / HTTP/1.1\r\n\r\n")
            connection.send(wrong + connection.build("GET", LIST, {"X-API-Key": KEY}))
            assert [connection.response().status for _ in range(2)] == [401, 200]
            assert connection.request("GET", LIST, {"X-API-Key": KEY}).status == 200
