"""Health, metrics and the log, on the admin listener and on the callers'."""

import json
import os
import re
import shutil
import subprocess

import pytest

from harness import BASE, KEY, ROOT, free_port
from wire import Connection, wait_for

RUN = f"{BASE}/DefaultJob/instances"
METRICS = """jobgate_requests_total{caller,identity,operation,code} jobgate_request_duration_seconds{operation}
jobgate_wait_seconds{identity} jobgate_queue_requests{identity} jobgate_quota_limit{identity} jobgate_grants_total{identity}
jobgate_refusals_total{caller,error_code} jobgate_upstream_responses_total{identity,code}
jobgate_upstream_request_duration_seconds jobgate_outcomes_total{result} jobgate_resolutions_total{why} jobgate_resolutions_waiting jobgate_store_up
jobgate_store_commands_total{result} jobgate_audit_records_total{kind} jobgate_audit_up
jobgate_audit_free_bytes jobgate_audit_retention_up
jobgate_audit_sync_duration_seconds jobgate_build_info{version}""".split()


@pytest.fixture(scope="module")
def gate(module_fleet):
    sim = module_fleet.simulator()
    gateway = module_fleet.gateway(sim, store={"redis": module_fleet.redis().url})
    for _ in range(3):
        assert gateway.request("POST", RUN).status == 202
    assert gateway.request("POST", RUN, key="unknown").status == 401
    assert gateway.request("POST", RUN, [("X-Fabricsim-Fault", "drop")]).status == 409
    return gateway


def test_healthz_and_readyz(gate):
    assert gate.admin("/healthz").status == 200
    ready = gate.admin("/readyz")
    assert ready.status == 200 and ready.json() == {"status": "ok", "reasons": []}
    for tls in (False, True):
        with gate.connect(tls) as c:
            assert c.request("GET", "/healthz").status == 200
            answer = c.request("GET", "/readyz")
            assert answer.status == 200 and answer.json() == {"status": "ok"}
            assert c.request("GET", "/metrics", [("X-API-Key", KEY)]).status == 404


def test_what_is_ill_is_degraded_and_named(fleet):
    gateway = fleet.gateway(free_port(), store={"redis": f"redis://127.0.0.1:{free_port()}"})
    ready = gateway.admin("/readyz")
    assert ready.status == 200 and ready.json()["status"] == "degraded"
    assert [r for r in ready.json()["reasons"] if "store" in str(r).lower() or "redis" in str(r).lower()]
    assert gateway.metrics()["jobgate_store_up"] == 0


def reasons(gateway):
    return gateway.admin("/readyz").json()["reasons"]


def test_a_quota_that_settles_and_a_share_that_is_spent_are_degraded(fleet):
    """A bucket never seen grants nothing for T; without its store, T and a window later, its share is spent."""
    redis = fleet.redis()
    gateway = fleet.gateway(fleet.simulator(), store={"redis": redis.url}, upstream={"quota": {"requests": 20, "window": "1s"}})
    assert [r for r in reasons(gateway) if "to be heard" in r]
    assert gateway.request("POST", RUN).status == 202
    wait_for(lambda: reasons(gateway) == [], what="the settled bucket")
    redis.kill()
    wait_for(lambda: [r for r in reasons(gateway) if "spends its share" in r], 15, "the share")
    answer = gateway.admin("/readyz")
    assert answer.status == 200 and answer.json()["status"] == "degraded"
    assert "the quota's store does not answer" in answer.json()["reasons"]
    assert gateway.request("POST", RUN).status == 202


def test_every_metric_of_the_contract(gate):
    text = gate.admin("/metrics").body.decode()
    assert text.endswith("# EOF\n")
    families = {m: set() for m in re.findall(r"^# TYPE (\S+) ", text, re.M)}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{([^}]*)\})? ", text, re.M):
        for family in families:
            if re.fullmatch(re.escape(family) + r"(_total|_bucket|_sum|_count|_info|_created)?", name):
                families[family] |= set(re.findall(r'(\w+)="', labels)) - {"le"}
    for wanted in METRICS:
        name, _, labels = wanted.rstrip("}").partition("{")
        family = name if name in families else name.removesuffix("_total").removesuffix("_info")
        assert family in families, name
        assert families[family] == set(filter(None, labels.split(","))), (name, families[family])


def test_counts_are_true(gate):
    m = gate.metrics()
    assert m['jobgate_outcomes_total{result="accepted"}'] == 3 and m['jobgate_outcomes_total{result="unknown"}'] == 1
    assert m['jobgate_audit_records_total{kind="intent"}'] == 4
    assert m['jobgate_refusals_total{caller="unknown",error_code="JobgateUnauthenticated"}'] == 1
    assert m['jobgate_grants_total{identity="default"}'] >= 4
    accepted = [v for k, v in m.items() if k.startswith("jobgate_requests_total{") and 'code="202"' in k and
                'caller="etl"' in k and 'operation="run"' in k]
    assert sum(accepted) == 3 and m["jobgate_store_up"] == 1 and m["jobgate_audit_up"] == 1


def test_promtool_finds_nothing(gate):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    # promtool reads the older text format, which is what a scraper gets that does not ask for OpenMetrics.
    text = gate.admin("/metrics", [("Accept", "text/plain")]).body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_the_log_is_json_lines(gate):
    for line in gate.lines:
        event = json.loads(line)
        assert set(event) >= {"time", "level", "event"}, line


def test_health_answers_while_all_else_is_ill(fleet):
    """A stalled upstream, a store that answers nothing, waiting callers: health is not concerned."""
    import socket
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        gateway = fleet.gateway(fleet.simulator("--fault", "stall:1"),
                                store={"redis": f"redis://127.0.0.1:{silent.getsockname()[1]}"})
        waiting = [gateway.connect() for _ in range(20)]
        for c in waiting:
            c.send(c.build("POST", RUN, [("X-API-Key", KEY)], b"{}"))
        for port in (gateway.admin_port, gateway.port):
            with Connection(port, timeout=2) as c:
                for _ in range(20):
                    assert c.request("GET", "/healthz").status == 200
        for c in waiting:
            c.close()
        wait_for(lambda: gateway.admin("/healthz").status == 200)


def test_the_example_configuration_is_true(tmp_path):
    """config/jobgate.json passes `jobgate check` but for files that are not there, and its keys stand in the schema."""
    with open(os.path.join(ROOT, "config", "jobgate.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    with open(os.path.join(ROOT, "config", "jobgate.json"), encoding="utf-8") as file:
        example = json.load(file)
    assert set(example) <= set(schema["properties"])
