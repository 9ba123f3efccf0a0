"""Keys that end, and keys that are good only from some networks."""

import json
import os
import signal
import subprocess
import time

import pytest

from harness import BASE, KEY, binary, check_error, key_of, sha256
from wire import wait_for

RUN = (BASE + "/RunNotebook/instances", {}, b"{}")


def at(seconds):
    """A date-time so far from now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def caller(**key):
    return [{"name": "etl", "keys": [{"id": "k1", "sha256": sha256(KEY), **key}]}]


@pytest.fixture(scope="module")
def sim(module_fleet):
    return module_fleet.simulator()


def run(gateway, key=KEY):
    return gateway.request("POST", *RUN, key=key)


def line_of(gateway, name):
    """The log line of a request, which may be read a moment after its answer."""
    return wait_for(lambda: [e for e in gateway.events("request") if e["request_id"] == name], what="its log line")[0]


def test_key_ends_while_the_gateway_runs(fleet, sim):
    """Good until its second, then nobody's: the answer is the one to any other key, the log says why and whose it was."""
    gateway = fleet.gateway(sim, callers=caller(expires=at(3)))
    assert run(gateway).status == 202
    ended = wait_for(lambda: (answer := run(gateway)).status == 401 and answer, what="the key's end")
    body = check_error(ended, 401, "JobgateUnauthenticated", closes=False)
    stranger = check_error(run(gateway, key="key-of-nobody"), 401, "JobgateUnauthenticated")
    assert body["message"] == stranger["message"] and "expire" not in json.dumps(body)
    line = line_of(gateway, body["requestId"])
    assert (line["reason"], line["suspect"], line["credential"], line["caller"]) == ("expired", "etl", "k1", "unknown")
    refusal = next(r for r in gateway.wait_records("refusal", 1) if r["request_id"] == body["requestId"])
    assert refusal["caller"] is None and refusal["key"] is None and refusal["error_code"] == "JobgateUnauthenticated"


def test_key_from_elsewhere(fleet, sim):
    gateway = fleet.gateway(sim, callers=caller(networks=["10.0.0.0/8", "2001:db8::/32"]))
    body = check_error(run(gateway), 401, "JobgateUnauthenticated", closes=False)
    assert "network" not in json.dumps(body)
    line = line_of(gateway, body["requestId"])
    assert (line["reason"], line["suspect"]) == ("network", "etl")
    gateway.write_config({**gateway.config, "callers": caller(networks=["10.0.0.0/8", "127.0.0.0/8"])})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    answer = wait_for(lambda: (answer := run(gateway)).status == 202 and answer, what="the new networks")
    line = line_of(gateway, answer.get("X-Request-Id"))
    assert (line["credential"], line["reason"], line["suspect"]) == ("k1", "", "")


def test_keys_that_end_soon_are_named(fleet, sim):
    """At start, at a reload and by jobgate check; one that lasts longer is not."""
    keys = [{"id": "soon", "sha256": sha256(key_of("soon")), "expires": at(29 * 86400)}, {"id": "over", "sha256": sha256(key_of("over")), "expires": at(-60)},
            {"id": "later", "sha256": sha256(key_of("later")), "expires": at(31 * 86400)}, {"id": "ever", "sha256": sha256(KEY)}]
    gateway = fleet.gateway(sim, callers=[{"name": "etl", "keys": keys}])

    def said():
        return [e["message"] for e in gateway.events("configuration") if e["message"].startswith("key ")]
    assert [m.partition(" (")[0] for m in said()] == ['key "soon" of caller "etl" expires in 28 days', 'key "over" of caller "etl" has expired']
    gateway.send_signal(signal.SIGHUP)
    wait_for(lambda: len(said()) == 4, what="the warnings at the reload")
    done = subprocess.run([binary("jobgate"), "check", "--config", os.path.join(gateway.folder, "jobgate.json")],
                          capture_output=True, text=True, timeout=30, check=False)
    assert 'warning: key "soon" of caller "etl" expires in 28 days' in done.stderr
    assert '"later"' not in done.stderr and '"ever"' not in done.stderr
