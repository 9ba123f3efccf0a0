"""How long a request waits for a token: the caller's own limit, Prefer: wait=N, and what a 429 says (RateLimit fields)."""

import concurrent.futures
import re

import pytest

from harness import BASE, KEY, check_error, elapsed, key_of, sha256

RUN = f"{BASE}/RunNotebook/instances"
# One call in two seconds: whoever comes third waits for longer than any test here lets it.
SLOW = {"quota": {"requests": 2, "window": "60s"}}


def run(gateway, prefer=None, key=KEY):
    return elapsed(gateway.request, "POST", RUN, headers=[("Prefer", prefer)] if prefer else [], key=key)


@pytest.mark.parametrize("prefer,applied,at_most", [
    ("wait=1", "wait=1", 2.5), ("wait=0", "wait=1", 2.5), ("respond-async, wait=\"2\"", "wait=2", 3.5), ("wait=99", "wait=4", 5.5),
    ("wait=x", None, 5.5), (None, None, 5.5)])
def test_prefer_shortens_the_wait_and_never_lengthens_it(fleet, prefer, applied, at_most):
    """Nothing can be granted in time, so each is refused at once or at its time; what was used is said."""
    gateway = fleet.gateway(fleet.simulator(), upstream=SLOW, wait={"max": "4s", "queue": 10})
    answer, seconds = run(gateway, prefer)
    check_error(answer, 429, "TooManyRequestsForJobs")
    assert answer.get("Preference-Applied") == applied
    assert seconds < at_most, seconds


def test_prefer_refuses_whom_patience_would_serve(fleet):
    """A token comes after six seconds: who prefers two is refused, who says nothing gets it."""
    gateway = fleet.gateway(fleet.simulator(), upstream={"quota": {"requests": 2, "window": "6s"}})
    assert run(gateway, "wait=2")[0].status == 429
    answer, seconds = run(gateway)
    assert answer.status == 202 and 0.5 < seconds < 20, (answer, seconds)


def test_prefer_on_what_is_granted(fleet):
    """It is answered on success too, is not forwarded, and does not stand on refusals that never came to waiting."""
    simulator = fleet.simulator()
    gateway = fleet.gateway(simulator)
    answer, _ = run(gateway, "wait=0")
    assert (answer.status, answer.get("Preference-Applied")) == (202, "wait=1")
    answer, _ = run(gateway, "wait=7")
    assert (answer.status, answer.get("Preference-Applied")) == (202, "wait=7")
    assert run(gateway)[0].get("Preference-Applied") is None
    assert not [h for e in simulator.ledger() for h in e["headers"] if h[0].lower() == "prefer"]
    answer = gateway.request("POST", RUN, headers=[("Prefer", "wait=3")], key="key-of-nobody")
    assert (answer.status, answer.get("Preference-Applied")) == (401, None)
    health = gateway.request("GET", "/healthz", headers=[("Prefer", "wait=3")])
    assert (health.status, health.get("Preference-Applied")) == (200, None)


def test_caller_with_a_wait_of_its_own(fleet):
    """Its own wait.max holds, over and under the general one; Prefer cannot go beyond it."""
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], **more} for name, more in
               (("short", {"wait": {"max": "1s"}}), ("long", {"wait": {"max": "3500ms", "queue": 1}}), ("plain", {}))]
    gateway = fleet.gateway(fleet.simulator(), upstream=SLOW, wait={"max": "2s", "queue": 10}, callers=callers)
    for name, prefer, applied in (("short", "wait=9", "wait=1"), ("long", "wait=9", "wait=4"), ("plain", "wait=9", "wait=2")):
        answer, _ = run(gateway, prefer, key=key_of(name))
        check_error(answer, 429, "TooManyRequestsForJobs")
        assert answer.get("Preference-Applied") == applied, name


def test_ratelimit_fields_of_a_429(fleet):
    """Lists of Items whose value is a String; t is not beyond Retry-After, and no more is stated than can be had."""
    gateway = fleet.gateway(fleet.simulator(), upstream=SLOW, wait={"max": "300ms", "queue": 10},
                            identities=[{"name": "sp:etl/x@y", "quota": {"requests": 20, "window": "60s"}}],
                            callers=[{"name": "etl", "identity": "sp:etl/x@y", "keys": [{"sha256": sha256(KEY)}]}])
    answer, _ = run(gateway)
    check_error(answer, 429, "TooManyRequestsForJobs")
    policy = re.fullmatch(r'"sp:etl/x@y";q=(\d+);w=(\d+)', answer.exact("RateLimit-Policy"))
    left = re.fullmatch(r'"sp:etl/x@y";r=(\d+);t=(\d+)', answer.exact("RateLimit"))
    assert policy and left, answer
    assert (int(policy.group(1)), policy.group(2), left.group(1)) == (18, "60", "0")
    assert 1 <= int(left.group(2)) <= int(answer.get("Retry-After")) <= 60
    other = gateway.request("GET", "/v1/nothing")
    assert other.get("RateLimit") is None and other.get("RateLimit-Policy") is None


def test_more_callers_than_a_bucket_remembers(fleet):
    """Each comes once, some always wait: from the 513th on nobody was served any more, as long as anybody came."""
    names = [f"caller{n}" for n in range(700)]
    gateway = fleet.gateway(fleet.simulator(), store={"redis": fleet.redis().url}, upstream={"quota": {"requests": 10000, "window": "10s"}},
                            callers=[{"name": name, "keys": [{"sha256": sha256(key_of(name))}]} for name in names])
    gateway.settle()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: gateway.request("POST", RUN, body=b"{}", key=key_of(name)), names))
    assert [answer.status for answer in answers] == [202] * len(names)
