"""The upstream answers 429: it was not executed, so the request waits and is sent again, and nothing else goes meanwhile."""

import threading

from harness import BASE, check_error, elapsed, field, parse_time

RUN = f"{BASE}/DefaultJob/instances"


def test_what_was_thrown_back_is_sent_again(fleet):
    # Of three requests in a window of 4 s the upstream takes two, though more were stated.
    sim = fleet.simulator("--quota", "2/4", "--window", "sliding")
    gateway = fleet.gateway(sim, upstream={"quota": {"requests": 400, "window": "4s"}})
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.request("POST", RUN, body=b"{}"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.status for a in answers] == [202] * 3
    ledger = sim.ledger()
    assert sorted(entry["status"] for entry in ledger) == [202, 202, 202, 429]
    blocked, = [entry for entry in ledger if entry["status"] == 429]
    again, = [e for e in ledger if field(e, "X-Request-Id") == field(blocked, "X-Request-Id") and e is not blocked]
    assert parse_time(again["time"]) - parse_time(blocked["time"]) >= 1
    outcomes = gateway.wait_records("outcome", 3)
    assert sorted(o["attempts"] for o in outcomes) == [1, 1, 2]
    assert gateway.metrics().get('jobgate_upstream_responses_total{identity="default",code="429"}') == 1


def test_twice_and_no_more(fleet):
    gateway = fleet.gateway(fleet.simulator())
    answer, seconds = elapsed(gateway.request, "POST", RUN, [("X-Fabricsim-Fault", "429")], b"{}")
    assert answer.status == 429 and answer.get("Retry-After") and answer.get("Proxy-Status") is None
    assert 3.5 < seconds < 8
    outcome, = gateway.wait_records("outcome", 1)
    assert (outcome["result"], outcome["status"], outcome["answered"], outcome["attempts"]) == ("rejected", 429, 429, 3)


def test_who_cannot_wait_hears_why(fleet):
    gateway = fleet.gateway(fleet.simulator(), wait={"max": "1s", "queue": 10})
    answer = gateway.request("POST", RUN, [("X-Fabricsim-Fault", "429")], b"{}")
    body = check_error(answer, 429, "TooManyRequestsForJobs", closes=False)
    assert body["moreDetails"][0]["errorCode"] == "JobgateUpstreamThrottled" and int(answer.get("Retry-After")) >= 1
    outcome, = gateway.wait_records("outcome", 1)
    assert (outcome["result"], outcome["status"], outcome["answered"], outcome["attempts"]) == ("rejected", 429, 429, 1)
    other = gateway.request("POST", RUN, body=b"{}")
    assert other.json()["moreDetails"][0]["errorCode"] == "JobgateUpstreamThrottled"


def test_not_sent_again_where_that_is_not_wanted(fleet):
    gateway = fleet.gateway(fleet.simulator(), upstream={"replay_429": False})
    answer, seconds = elapsed(gateway.request, "POST", RUN, [("X-Fabricsim-Fault", "429")], b"{}")
    assert answer.status == 429 and answer.json()["errorCode"] == "RequestBlocked" and seconds < 1


def test_a_killed_instance_counts_its_tokens_as_out(fleet):
    """It cannot know how many were taken: its journal tells when the last trigger was, and nothing goes for W + J from then on."""
    sim = fleet.simulator("--quota", "20/3", "--window", "sliding")
    upstream = {"quota": {"requests": 20, "window": "3s", "burst": 15}}
    first = fleet.gateway(sim, upstream=upstream)
    for _ in range(3):
        assert first.request("POST", RUN, body=b"{}").status == 202
    first.kill()
    again = fleet.gateway(sim, folder=first.folder, upstream=upstream)
    answer = again.request("POST", RUN, body=b"{}")
    times = sorted(parse_time(entry["time"]) for entry in sim.ledger())
    assert answer.status == 202 and times[3] - times[2] >= 3.2
