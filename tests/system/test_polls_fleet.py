"""Polls of several instances: one call for all, in one order, with the same rights, whatever Redis does."""

import re
import signal
import threading
import time
from urllib.parse import quote

import pytest

from harness import BASE, KEY, WS, elapsed, key_of, sha256
from test_polls import OTHER, OWN, gets, log_of, polls, start, together, wait_polls
from test_store import ACCESS_KEY, readme_acl
from wire import wait_for


def instances(fleet, sim, redis, count=3, **more):
    """So many gateways on one Redis, ready and sharing."""
    more = {"polls": polls(), "store": {"redis": redis.url, "timeout": "1s"}, **more}
    made = [fleet.gateway(sim, **more) for _ in range(count)]
    for gateway in made:
        gateway.settle()
        wait_for(lambda g=gateway: g.metrics()["jobgate_polls_shared"] == 1, what="shared polls")
    return made


def test_one_call_for_all_instances(fleet):
    sim = fleet.simulator("--job-seconds", "60", "--latency", "300")
    gates = instances(fleet, sim, fleet.redis())
    target = start(gates[0])
    answers = together(30, lambda i: gates[i % 3].request("GET", target, OWN))
    assert [a.status for a in answers] == [200] * 30 and len({a.body for a in answers}) == 1
    assert len(gets(sim, target)) == 1
    time.sleep(1.1)
    kept = [g.request("GET", target, OWN) for g in gates]
    assert [a.get("Age") for a in kept] == ["1"] * 3 and len(gets(sim, target)) == 1
    assert all(log_of(g, a)["cache"] == "hit" for g, a in zip(gates, kept))
    assert len({tuple(h for h in a.headers if h[0] not in ("X-Request-Id", "Server-Timing")) for a in kept}) == 1


def test_a_poller_that_changes_instances_sees_nothing_go_back(fleet):
    """One instance asks anew before it is due; another, whose own answer still stands, does not tell that."""
    sim = fleet.simulator("--job-seconds", "5", "--retry-after", "60")
    one, two = instances(fleet, sim, fleet.redis(), 2, polls=polls(min_refresh="1s"))
    target = start(one)
    assert two.request("GET", target, OWN).json()["status"] == "NotStarted"
    assert one.request("GET", target, OWN).json()["status"] == "NotStarted"
    time.sleep(1.5)
    assert one.request("GET", target, [*OWN, ("Cache-Control", "no-cache")]).json()["status"] == "InProgress"
    assert two.request("GET", target, OWN).json()["status"] == "InProgress"
    assert len(gets(sim, target)) == 2


def test_representations_do_not_go_back_anywhere(fleet):
    """What one instance has shown of a job no other denies, whatever it, and Redis, keep of another representation."""
    sim = fleet.simulator("--retry-after", "30", "--job-seconds", "1")
    one, two = instances(fleet, sim, fleet.redis(), 2)
    target = start(one)
    assert [g.request("GET", target, OWN).json()["status"] for g in (one, two)][1] != "Completed"
    time.sleep(1.5)
    assert one.request("GET", target, [*OWN, ("Accept", "text/plain")]).json()["status"] == "Completed"
    assert [g.request("GET", target, OWN).json()["status"] for g in (two, one)] == ["Completed"] * 2
    assert len(gets(sim, target)) == 3


def test_a_crowd_at_one_instance_does_not_hold_up_another_caller_at_another(fleet):
    """The greedy caller's poll had the lease while it stood at the end of its queue; all others waited for that."""
    sim = fleet.simulator("--job-seconds", "600")
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], "wait": {"max": "9s"}} for name in ("etl", "calm")]
    one, two = instances(fleet, sim, fleet.redis(), 2, callers=callers,
                         upstream={"quota": {"requests": 4, "window": "1s", "burst": 1}})
    target = start(one)

    def waiting(count):
        wait_for(lambda: one.metrics()['jobgate_queue_requests{identity="default"}'] >= count, what="the crowd")
    answers = []
    crowd = [threading.Thread(target=lambda i=i: one.request("GET", f"{BASE}/instances/{WS[:-2]}{i:02d}", OWN)) for i in range(24)]
    for thread in crowd:
        thread.start()
    waiting(18)
    last = threading.Thread(target=lambda: answers.append(one.request("GET", target, OWN)))
    last.start()
    waiting(15)
    calm, seconds = elapsed(two.request, "GET", target, OWN, key=key_of("calm"))
    assert calm.status == 200 and seconds < 3, (calm, seconds)
    last.join()
    assert answers[0].status == 200 and answers[0].body == calm.body and len(gets(sim, target)) == 1, "who leads no more is told, too"
    for thread in crowd:
        thread.join()


def test_a_change_is_seen_everywhere(fleet):
    sim = fleet.simulator("--job-seconds", "60", "--retry-after", "60")
    one, two = instances(fleet, sim, fleet.redis(), 2)
    target = start(one)
    for gateway in (one, two):
        gateway.request("GET", target, OWN)
    assert one.request("POST", f"{target}/cancel", OWN, b"").status == 202
    assert two.request("GET", target, OWN).json()["status"] == "Cancelled"
    assert one.request("GET", target, OWN).json()["status"] == "Cancelled" and len(gets(sim, target)) == 2


def test_rights_are_the_same_everywhere(fleet):
    sim = fleet.simulator("--job-seconds", "60", "--require-authorization")
    one, two = instances(fleet, sim, fleet.redis(), 2)
    target = start(one)
    assert one.request("GET", target, OWN).status == 200
    assert two.request("GET", target, OWN).get("Age") is not None, "its success was seen at the other"
    assert two.request("GET", target).status == 401
    assert two.request("GET", target, [*OTHER, ("X-Fabricsim-Fault", "403")]).status == 403
    assert two.request("GET", target, OTHER).get("Age") is None
    assert one.request("GET", target, OTHER).get("Age") is not None
    assert len(gets(sim, target)) == 4


def test_a_leader_that_dies_is_followed(fleet):
    """kill -9 while its call is under way: who waits at another instance goes when the lease is over."""
    sim = fleet.simulator("--job-seconds", "60", "--latency", "1500")
    one, two = instances(fleet, sim, fleet.redis(), 2)
    target = start(one)
    with one.connect() as leader, two.connect() as other:
        leader.send(leader.build("GET", target, [*OWN, ("X-API-Key", KEY)]))
        wait_for(lambda: one.metrics()['jobgate_grants_total{identity="default"}'] >= 2, what="the leader's grant")
        other.send(other.build("GET", target, [*OWN, ("X-API-Key", KEY)]))
        wait_polls(two, 1)
        one.kill()
        began = time.monotonic()
        answer = other.response()
        assert answer.status == 200 and time.monotonic() - began < 6
    assert log_of(two, answer)["cache"] == "miss"


def test_without_redis_each_goes_by_itself(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    redis = fleet.redis()
    one, two = instances(fleet, sim, redis, 2, polls=polls(redis=redis.url), store=None)
    target = start(one)
    one.request("GET", target, OWN)
    redis.kill()
    wait_for(lambda: one.metrics()["jobgate_polls_shared"] == two.metrics()["jobgate_polls_shared"] == 0, what="no Redis")
    assert one.request("GET", target, OWN).get("Age") is not None, "what is kept here is kept"
    assert two.request("GET", target, OWN).get("Age") is None and two.request("GET", target, OWN).get("Age") is not None
    again = fleet.redis(port=redis.port)
    wait_for(lambda: one.metrics()["jobgate_polls_shared"] == two.metrics()["jobgate_polls_shared"] == 1, what="Redis")
    assert again.is_alive()
    second = start(two)
    two.request("GET", second, OWN)
    assert one.request("GET", second, OWN).get("Age") is not None and len(gets(sim, second)) == 1


def test_a_reload_moves_what_is_shared(fleet):
    """Another server from the next poll on; nobody who waits is forgotten, and what is kept here is kept."""
    sim = fleet.simulator("--job-seconds", "60", "--retry-after", "60")
    first, second = fleet.redis(), fleet.redis()
    one, two = instances(fleet, sim, first, 2)
    target = start(one)
    one.request("GET", target, OWN)
    for gateway in (one, two):
        gateway.write_config({**gateway.config, "polls": polls(redis=second.url)})
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded")
        gateway.wait_event("polls shared", count=2)
    assert one.request("GET", target, OWN).get("Age") is not None
    other = start(two)
    two.request("GET", other, OWN)
    assert one.request("GET", other, OWN).get("Age") is not None and len(gets(sim, other)) == 1
    assert second.command("DBSIZE") != b":0\r\n"


def test_poll_states_go_before_redis_is_full(fleet):
    """On the store's own server: they make room before the limiter's script would be refused."""
    sim = fleet.simulator("--job-seconds", "60")
    redis = fleet.redis()
    gateway, = instances(fleet, sim, redis, 1)
    target = start(gateway)
    gateway.request("GET", target, OWN)
    assert b"jobgate:polls" in redis.command("KEYS", "jobgate:polls:*:*:*")
    used = int(re.search(rb"used_memory:(\d+)", redis.command("INFO", "memory")).group(1))
    assert redis.command("CONFIG", "SET", "maxmemory", str(used * 105 // 100)) == b"+OK\r\n"
    gateway.wait_event("polls' store is full")
    wait_for(lambda: redis.command("KEYS", "jobgate:polls:*:*:*") == b"*0\r\n", what="room")
    other = start(gateway)
    assert gateway.request("GET", other, OWN).status == 200 and gateway.request("GET", target, OWN).get("Age") is not None
    assert gateway.metrics()["jobgate_store_up"] == 1 and not gateway.events("store down")


@pytest.mark.parametrize("missing", ["", "+hget", "+hset", "+hdel", "+pexpire"])
def test_the_readmes_user_may_do_what_is_needed(fleet, missing):
    """And where it may not, that is said, and each instance goes by itself."""
    sim = fleet.simulator("--job-seconds", "60", "--retry-after", "60")
    redis = fleet.redis()
    rules = [rule for rule in readme_acl() if rule != missing]
    assert redis.command("ACL", "SETUSER", "jobgate", *rules) == b"+OK\r\n"
    login = f"redis://jobgate:{quote(ACCESS_KEY, safe='')}@127.0.0.1:{redis.port}"
    gateway, = instances(fleet, sim, redis, 1, polls=polls(redis=login))
    target = start(gateway)
    assert gateway.request("GET", target, OWN).status == 200
    assert gateway.request("GET", target, OWN).get("Age") is not None and len(gets(sim, target)) == 1
    assert gateway.request("POST", f"{target}/cancel", OWN, b"").status == 202
    assert gateway.request("GET", target, OWN).json()["status"] == "Cancelled"
    assert (redis.command("ACL", "LOG") == b"*0\r\n") == (missing == "")
    if missing in ("+hget", "+hset", "+pexpire"):
        assert re.search("NOPERM|can't run this command", gateway.wait_event("polls not shared")["reason"])
        assert gateway.metrics()["jobgate_store_up"] == 1


def test_a_full_redis_loses_polls_and_nothing_else(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    own, redis = fleet.redis(), fleet.redis()
    gateway, = instances(fleet, sim, redis, 1, polls=polls(redis=f"{own.url}/3"))
    first, second = start(gateway), start(gateway)
    gateway.request("GET", first, OWN)
    assert b"keys=" in own.command("INFO", "keyspace") and b"db3" in own.command("INFO", "keyspace")
    assert own.command("CONFIG", "SET", "maxmemory", "1") == b"+OK\r\n"
    assert gateway.request("GET", second, OWN).status == 200 and gateway.request("GET", second, OWN).get("Age") == "0"
    wait_for(lambda: b"db3" not in own.command("INFO", "keyspace") or gateway.metrics()["jobgate_polls_kept"] == 2, what="room")
    assert gateway.metrics()["jobgate_store_up"] == 1 and not gateway.events("store down")
    assert gateway.request("GET", first, OWN).get("Age") is not None and len(gets(sim)) == 2


def test_what_is_shared_is_bounded_and_expires(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    redis = fleet.redis()
    gateway, = instances(fleet, sim, redis, 1, polls=polls(keep="2s", refresh="1s", min_refresh="1s"))
    target = start(gateway)
    gateway.request("GET", target, OWN)

    def keys():
        return redis.command("KEYS", "jobgate:polls:*")
    assert keys() != b"*0\r\n"
    secret = OWN[0][1].split()[1].encode()
    dumped = b"".join(redis.command("HGETALL", key.decode()) for key in keys().split(b"\r\n")[2::2] if key.count(b":") == 4)
    assert b"InProgress" in dumped or b"NotStarted" in dumped
    assert secret not in dumped and KEY.encode() not in dumped
    wait_for(lambda: keys() == b"*0\r\n", what="nothing left")


@pytest.mark.parametrize("number", range(2))
def test_waiting_for_a_change_costs_one_call_everywhere(fleet, number):
    sim = fleet.simulator("--retry-after", "1", "--job-seconds", "5", "--seed", str(number))
    gates = instances(fleet, sim, fleet.redis(), polls=polls(refresh="1s", min_refresh="1s"))
    target = start(gates[0])
    began = time.monotonic()
    while True:
        answers = together(6, lambda i: gates[i % 3].request("GET", target, [*OWN, ("Prefer", "wait=10")]))
        assert [a.status for a in answers] == [200] * 6
        if all(a.json()["status"] == "Completed" for a in answers):
            break
        assert time.monotonic() - began < 12
    assert time.monotonic() - began < 8
    assert len(gets(sim, target)) <= time.monotonic() - began + 2
