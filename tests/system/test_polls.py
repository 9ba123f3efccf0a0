"""Polls: one call upstream for all who ask the same, kept answers and what they say of their age, rights, waiting for a change."""

import threading
import time

import pytest

from harness import BASE, ITEM, KEY, WS, check_error, elapsed, field, key_of, sha256
from wire import wait_for

RUN = f"{BASE}/DefaultJob/instances"
OWN = [("Authorization", "Bearer own")]
OTHER = [("Authorization", "Bearer other")]


def polls(**more):
    return {"refresh": "15s", **more}


def start(gateway, headers=OWN):
    """Start a job; the target of its instance."""
    answer = gateway.request("POST", RUN, headers, b"{}")
    assert answer.status == 202, answer
    return f"{BASE}/instances/{answer.get('x-ms-job-id')}"


def gets(sim, target=None):
    """The GETs and HEADs that came to the upstream."""
    return [e for e in sim.ledger() if e["method"] in ("GET", "HEAD") and target in (None, e["target"])]


def together(count, ask):
    """What COUNT threads that ask at the same time are answered."""
    answers, barrier = [None] * count, threading.Barrier(count)

    def one(i):
        barrier.wait()
        answers[i] = ask(i)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def wait_polls(gateway, count):
    """Wait until so many polls wait at a gateway, leaders too."""
    wait_for(lambda: gateway.metrics()["jobgate_polls_waiting"] == count, what=f"{count} polls that wait")


def log_of(gateway, answer):
    """The log line of an answer."""
    name = answer.get("X-Request-Id")
    line, = wait_for(lambda: [e for e in gateway.events("request") if e["request_id"] == name], what="its log line")
    return line


def test_pollers_of_one_job_cost_one_call(fleet):
    sim = fleet.simulator("--latency", "300", "--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    answers = together(20, lambda i: gateway.request("GET", target, OWN))
    assert [a.status for a in answers] == [200] * 20 and len({a.body for a in answers}) == 1
    assert len(gets(sim, target)) == 1
    again = gateway.request("GET", target, OWN)
    assert again.body == answers[0].body and len(gets(sim, target)) == 1
    kinds = sorted(log_of(gateway, a)["cache"] for a in [*answers, again])
    assert kinds.count("miss") == 1 and set(kinds) == {"hit", "join", "miss"} or kinds.count("join") == 19
    metrics = gateway.metrics()
    assert metrics['jobgate_polls_total{cache="miss"}'] == 1
    assert metrics['jobgate_polls_total{cache="join"}'] + metrics['jobgate_polls_total{cache="hit"}'] == 20
    assert metrics["jobgate_polls_kept"] == 1 and 0 < metrics["jobgate_polls_kept_bytes"] < 2000
    assert metrics['jobgate_grants_total{identity="default"}'] == 2, "one for the run, one for the poll"
    assert metrics['jobgate_requests_total{caller="etl",identity="default",operation="get",code="200"}'] == 21


def test_a_kept_answer_says_how_old_it_is(fleet):
    sim = fleet.simulator("--retry-after", "20", "--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    first = gateway.request("GET", target, OWN)
    assert first.get("Age") is None and first.get("Retry-After") == "20", "the first is relayed as it came"
    time.sleep(1.2)
    kept = gateway.request("GET", target, OWN)
    assert kept.get("Age") == "1" and kept.get("Retry-After") == "19"
    own = {"Age", "Retry-After", "X-Request-Id", "Server-Timing"}
    assert [h for h in kept.headers if h[0] not in own] == [h for h in first.headers if h[0] not in own]
    assert kept.body == first.body and kept.exact("RequestId") == first.exact("RequestId")


def test_it_is_asked_again_when_it_is_due(fleet):
    """Retry-After where it is sooner than `refresh`."""
    sim = fleet.simulator("--retry-after", "1", "--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    gateway.request("GET", target, OWN)
    time.sleep(1.1)
    assert gateway.request("GET", target, OWN).get("Age") is None and len(gets(sim, target)) == 2


def test_a_terminal_state_is_kept(fleet):
    sim = fleet.simulator("--retry-after", "1", "--job-seconds", "0.5")
    gateway = fleet.gateway(sim, polls=polls(refresh="1s", keep="4s"))
    target = start(gateway)

    def ended():
        answer = gateway.request("GET", target, OWN)
        return answer if answer.json()["status"] == "Completed" else time.sleep(0.2)
    wait_for(ended, what="the end")
    count = len(gets(sim, target))
    time.sleep(2)
    kept = gateway.request("GET", target, OWN)
    assert len(gets(sim, target)) == count and int(kept.get("Age")) >= 2 and kept.get("Retry-After") is None
    time.sleep(2.5)
    assert gateway.request("GET", target, OWN).get("Age") is None and len(gets(sim, target)) == count + 1


def test_what_is_not_200_is_not_kept(fleet):
    """A GET right after the 202 may find nothing yet."""
    sim = fleet.simulator("--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    absent = f"{BASE}/instances/{WS}"
    for _ in range(2):
        assert gateway.request("GET", absent, OWN).status == 404
        assert gateway.request("GET", target, [*OWN, ("X-Fabricsim-Fault", "404")]).status == 404
        assert gateway.request("GET", target, [*OWN, ("X-Fabricsim-Fault", "500")]).status == 500
    assert len(gets(sim)) == 6 and gateway.metrics()["jobgate_polls_kept"] == 0


def test_who_asks_for_what_is_not_there_does_not_eat_the_quota(fleet):
    """Nothing of it is kept, so that what appears is seen; but calls come ever more slowly, for all who ask together."""
    sim = fleet.simulator("--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls(min_refresh="2s"))
    absent, began, count = f"{BASE}/instances/{WS}", time.monotonic(), 0
    while time.monotonic() - began < 4:
        assert {a.status for a in together(5, lambda i: gateway.request("GET", absent, OWN))} == {404}
        count += 5
    # At 0, 0.5, 1.5, 3.5 seconds, and 5.5 for who began to ask before the end.
    assert len(gets(sim, absent)) <= 6 < count
    other, seconds = elapsed(gateway.request, "GET", absent, OTHER)
    assert other.status == 404 and seconds < 0.5, "whose token has not found that out yet asks at once"


def test_no_cache_asks_anew_but_not_too_often(fleet):
    sim = fleet.simulator("--retry-after", "60", "--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls(min_refresh="1s"))
    target = start(gateway)
    for _ in range(5):
        assert gateway.request("GET", target, [*OWN, ("Cache-Control", "no-cache")]).status == 200
    assert len(gets(sim, target)) == 1
    time.sleep(1.1)
    assert gateway.request("GET", target, OWN).get("Age") == "1"
    assert gateway.request("GET", target, [*OWN, ("Cache-Control", "no-cache")]).get("Age") is None
    assert len(gets(sim, target)) == 2
    time.sleep(1.1)
    assert gateway.request("GET", target, [*OWN, ("Cache-Control", "max-age=0")]).get("Age") is None
    assert gateway.request("GET", target, [*OWN, ("Pragma", "no-cache")]).get("Age") == "0"


def test_a_cancel_is_seen_at_once(fleet):
    sim = fleet.simulator("--retry-after", "60", "--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target, other = start(gateway), start(gateway)
    items = f"{BASE}/instances"
    for one in (target, other, items):
        gateway.request("GET", one, OWN)
    answers = together(3, lambda i: gateway.request("POST", f"{target}/cancel", OWN, b""))
    assert 202 in {a.status for a in answers}
    assert len([e for e in sim.ledger() if e["target"].endswith("/cancel")]) == 3, "cancels are never joined"
    assert gateway.request("GET", target, OWN).json()["status"] == "Cancelled"
    assert "Cancelled" in {i["status"] for i in gateway.request("GET", items, OWN).json()["value"]}
    assert gateway.request("GET", other, OWN).get("Age") is not None, "another instance is left alone"


def test_a_submission_is_seen_in_lists(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    items = f"{BASE}/instances"
    target = start(gateway)
    gateway.request("GET", target, OWN)
    assert len(gateway.request("GET", items, OWN).json()["value"]) == 1
    assert len(gateway.request("GET", items, OWN).json()["value"]) == 1 and len(gets(sim, items)) == 1
    start(gateway)
    assert len(gateway.request("GET", items, OWN).json()["value"]) == 2
    assert gateway.request("GET", target, OWN).get("Age") is not None, "instances are as they were"


def test_lists_are_joined_by_their_full_query(fleet):
    sim = fleet.simulator("--job-seconds", "60", "--page", "1", "--latency", "200")
    gateway = fleet.gateway(sim, polls=polls(), public_url="https://gate.example")
    start(gateway), start(gateway)
    items = f"{BASE}/instances"
    pages = together(6, lambda i: gateway.request("GET", items, OWN))
    assert len({p.body for p in pages}) == 1 and len(gets(sim, items)) == 1
    uri = pages[0].json()["continuationUri"]
    assert uri.startswith("https://gate.example/"), "rewritten for whom it is told"
    second = uri.removeprefix("https://gate.example")
    nexts = together(4, lambda i: gateway.request("GET", second, OWN))
    assert len({p.body for p in nexts}) == 1 and nexts[0].body != pages[0].body and len(gets(sim, second)) == 1


def test_representations_are_not_mixed(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    for accept in ("application/json", "text/plain", "*/*"):
        gateway.request("GET", target, [*OWN, ("Accept", accept)])
    assert len(gets(sim, target)) == 3
    gateway.request("GET", target, [*OWN, ("Accept-Encoding", "gzip"), ("User-Agent", "x"), ("x-ms-client-request-id", "1")])
    assert len(gets(sim, target)) == 3, "what takes anything is one, and an instance is asked for without coding"
    assert field(gets(sim, target)[0], "Accept-Encoding") == ["identity"]
    gateway.request("GET", target, [*OWN, ("X-Other", "1")])
    assert len(gets(sim, target)) == 4, "who knows what it does"
    gateway.request("GET", target.upper().replace("/V1/WORKSPACES", "/v1/workspaces").replace("ITEMS", "items")
                    .replace("JOBS/INSTANCES", "jobs/instances"), OWN)
    assert len(gets(sim)) == 4, "ids are the same in any case"


def test_conditional_requests_and_head(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    head = gateway.request("HEAD", target, OWN)
    assert head.status == 200 and len(gets(sim, target)) == 1
    full = gateway.request("GET", target, OWN)
    assert len(gets(sim, target)) == 2, "there was nothing that a GET could be answered with"
    kept = gateway.request("HEAD", target, OWN)
    assert kept.get("Age") == "0" and kept.get("Content-Length") == str(len(full.body)) and len(gets(sim, target)) == 2
    for name, value in (("If-None-Match", '"x"'), ("If-Modified-Since", "Sat, 01 Aug 2026 00:00:00 GMT"), ("Range", "bytes=0-1")):
        assert gateway.request("GET", target, [*OWN, (name, value)]).get("Age") is None
    assert len(gets(sim, target)) == 5


def test_only_whose_token_has_succeeded_shares(fleet):
    sim = fleet.simulator("--job-seconds", "60", "--require-authorization")
    gateway = fleet.gateway(sim, polls=polls(grant="2s"))
    target = start(gateway)
    assert gateway.request("GET", target, OWN).status == 200
    assert gateway.request("GET", target).status == 401, "nothing of the answer for who shows no token"
    assert gateway.request("GET", target, [*OTHER, ("X-Fabricsim-Fault", "403")]).status == 403
    assert len(gets(sim, target)) == 3
    assert gateway.request("GET", target, OTHER).get("Age") is None
    assert gateway.request("GET", target, OTHER).get("Age") is not None, "now its own token was seen to succeed"
    assert gateway.request("GET", target, OWN).get("Age") is not None
    assert len(gets(sim, target)) == 4
    time.sleep(2.1)
    assert gateway.request("GET", target, OTHER).get("Age") is None and len(gets(sim, target)) == 5, "that was long ago"


def test_a_revoked_token_shares_no_more_after_its_grant(fleet, tmp_path):
    """What its last success was worth ends by itself; its next call is its own, and tells."""
    revoked = tmp_path / "revoked"
    sim = fleet.simulator("--job-seconds", "60", "--retry-after", "60", "--revoked", revoked)
    gateway = fleet.gateway(sim, polls=polls(grant="2s", min_refresh="1s"))
    target = start(gateway)
    for headers in (OWN, OTHER):
        assert gateway.request("GET", target, headers).status == 200
    revoked.write_text(OTHER[0][1] + "\n")
    assert gateway.request("GET", target, OTHER).status == 200, "within the short time it cannot be known"
    time.sleep(2.1)
    assert gateway.request("GET", target, OWN).status == 200, "fresh for those who may"
    assert gateway.request("GET", target, OTHER).status == 401
    assert gateway.request("GET", target, OTHER).status == 401
    assert gateway.request("GET", target, OWN).get("Age") is not None, "another's token is another matter"


def test_a_refused_token_shares_no_more_at_once(fleet, tmp_path):
    revoked = tmp_path / "revoked"
    sim = fleet.simulator("--job-seconds", "60", "--retry-after", "60", "--revoked", revoked)
    gateway = fleet.gateway(sim, polls=polls(min_refresh="1s"))
    target = start(gateway)
    for headers in (OWN, OTHER):
        assert gateway.request("GET", target, headers).status == 200
    revoked.write_text(OTHER[0][1] + "\n")
    time.sleep(1.1)
    assert gateway.request("GET", target, [*OTHER, ("Cache-Control", "no-cache")]).status == 401
    assert gateway.request("GET", target, OTHER).status == 401, "its own call has shown that"


def test_joined_calls_are_told_only_what_is_theirs(fleet):
    """Two tokens at the same time: neither has been seen to succeed, so each goes itself."""
    sim = fleet.simulator("--job-seconds", "60", "--latency", "300")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    answers = together(12, lambda i: gateway.request("GET", target, OWN if i % 2 else OTHER))
    assert [a.status for a in answers] == [200] * 12 and len(gets(sim, target)) == 2


def test_identities_never_share_and_policy_decides(fleet):
    sim = fleet.simulator("--job-seconds", "60")
    quota = {"requests": 10000000, "window": "1s"}
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], "identity": identity, **more}
               for name, identity, more in (("a", "one", {}), ("b", "two", {}), ("c", "one", {"allow": [{"operations": ["run"]}]}))]
    gateway = fleet.gateway(sim, polls=polls(), callers=callers, identities=[{"name": n, "quota": quota} for n in ("one", "two")])
    answer = gateway.request("POST", RUN, OWN, b"{}", key=key_of("a"))
    target = f"{BASE}/instances/{answer.get('x-ms-job-id')}"
    assert gateway.request("GET", target, OWN, key=key_of("a")).get("Age") is None
    assert gateway.request("GET", target, OWN, key=key_of("b")).get("Age") is None, "the same token, as another principal"
    assert gateway.request("GET", target, OWN, key=key_of("a")).get("Age") == "0"
    check_error(gateway.request("GET", target, OWN, key=key_of("c")), 403, "InsufficientPrivileges")
    check_error(gateway.request("GET", target, OWN, key=key_of("nobody")), 401, "JobgateUnauthenticated")
    assert len(gets(sim, target)) == 2


def test_the_upstream_dies_during_a_joined_call(fleet):
    sim = fleet.simulator("--job-seconds", "60", "--latency", "1500")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.request("GET", target, OWN))) for _ in range(10)]
    for thread in threads:
        thread.start()
    wait_for(lambda: gateway.metrics()['jobgate_grants_total{identity="default"}'] >= 2, what="the poll's grant")
    wait_polls(gateway, 10)
    sim.kill()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    for answer in answers:
        check_error(answer, 502, "JobgateUpstreamUnavailable", closes=False)


def test_the_leader_goes_and_another_leads(fleet):
    """Nothing was sent yet: who has joined does not pay for it."""
    sim = fleet.simulator("--job-seconds", "60")
    # One call in 2 s: the run takes the first, and a poll must wait for its turn.
    gateway = fleet.gateway(sim, polls=polls(), upstream={"quota": {"requests": 2, "window": "3s", "burst": 1}})
    target = start(gateway)
    with gateway.connect() as leader:
        leader.send(leader.build("GET", target, [*OWN, ("X-API-Key", KEY)]))
        wait_for(lambda: gateway.metrics()['jobgate_queue_requests{identity="default"}'] == 1, what="the leader in the queue")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(gateway.request("GET", target, OWN))) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait_polls(gateway, 6)
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [200] * 5 and len(gets(sim, target)) == 1


def test_no_call_left_gives_the_last_known_state(fleet):
    sim = fleet.simulator("--retry-after", "1", "--job-seconds", "60")
    callers = [{"name": name, "keys": [{"sha256": sha256(key_of(name))}], "wait": {"max": wait}}
               for name, wait in (("etl", "15s"), ("hasty", "1s"))]
    # A call in 6 s, so that who waits a second seldom gets one.
    gateway = fleet.gateway(sim, polls=polls(refresh="1s", min_refresh="1s"), callers=callers,
                            upstream={"quota": {"requests": 11, "window": "60s", "burst": 1}})
    target = start(gateway)
    first = gateway.request("GET", target, OWN)
    time.sleep(1.2)
    stale = gateway.request("GET", target, OWN, key=key_of("hasty"))
    assert stale.status == 200 and stale.body == first.body and int(stale.get("Age")) >= 1 and stale.get("Retry-After") == "1"
    assert log_of(gateway, stale)["cache"] == "stale"
    unknown = gateway.request("GET", f"{BASE}/instances/{ITEM}", OWN, key=key_of("hasty"))
    body = check_error(unknown, 429, "TooManyRequestsForJobs", closes=False)
    assert body["moreDetails"][0]["errorCode"] == "JobgateIdentityQuota" and len(gets(sim)) == 1


def test_prefer_wait_is_answered_when_the_status_changes(fleet):
    sim = fleet.simulator("--retry-after", "1", "--job-seconds", "4")
    gateway = fleet.gateway(sim, polls=polls(refresh="1s"), wait={"max": "20s", "queue": 100})
    target = start(gateway)
    first = gateway.request("GET", target, OWN).json()["status"]
    answers = together(6, lambda i: elapsed(gateway.request, "GET", target, [*OWN, ("Prefer", "wait=15")]))
    assert {a.json()["status"] for a, _ in answers} == {"InProgress"} - {first} or first == "InProgress"
    assert all(a.get("Preference-Applied") == "wait=15" for a, _ in answers)
    last, seconds = elapsed(gateway.request, "GET", target, [*OWN, ("Prefer", "wait=15")])
    assert last.json()["status"] == "Completed" and seconds < 6
    assert len(gets(sim, target)) <= 7, "no more than one a second, for all of them"
    _, seconds = elapsed(gateway.request, "GET", target, [*OWN, ("Prefer", "wait=15")])
    assert seconds < 0.5, "it has ended: there is nothing to wait for"


def test_prefer_wait_ends_when_its_time_is_up(fleet):
    sim = fleet.simulator("--retry-after", "1", "--job-seconds", "600")
    gateway = fleet.gateway(sim, polls=polls(refresh="1s"))
    target = start(gateway)
    answer, seconds = elapsed(gateway.request, "GET", target, [*OWN, ("Prefer", "wait=3")])
    assert answer.status == 200 and answer.json()["status"] == "NotStarted" and 2.9 < seconds < 4.5
    assert answer.get("Preference-Applied") == "wait=3" and 2 <= len(gets(sim, target)) <= 4


@pytest.mark.parametrize("how", ["gone", "drained"])
def test_who_waits_for_a_change_holds_nothing_up(fleet, how):
    sim = fleet.simulator("--job-seconds", "600")
    gateway = fleet.gateway(sim, polls=polls())
    target = start(gateway)
    gateway.request("GET", target, OWN)
    with gateway.connect() as waiting:
        waiting.send(waiting.build("GET", target, [*OWN, ("X-API-Key", KEY), ("Prefer", "wait=20")]))
        wait_polls(gateway, 1)
        if how == "gone":
            waiting.close()
            wait_for(lambda: [e for e in gateway.events("request") if e["error_code"] == "JobgateCallerGone"], what="its end")
        _, seconds = elapsed(gateway.stop)
        assert seconds < 3
        if how == "drained":
            answer = waiting.response()
            assert answer.status == 200 and answer.get("Age") is not None
