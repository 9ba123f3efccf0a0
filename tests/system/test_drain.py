"""Ending and reloading: SIGTERM at each moment, twice, during start; SIGHUP with a good and a bad configuration."""

import json
import os
import signal
import subprocess
import threading
import time

from harness import BASE, KEY, check_error, elapsed, free_port, key_of, parse_time, sha256
from wire import Closed, Connection, wait_for

RUN = f"{BASE}/DefaultJob/instances"


def ask(connection, *headers, target=RUN):
    connection.send(connection.build("POST", target, [("X-API-Key", KEY), *headers], b"{}"))


def test_idle_it_ends_within_two_seconds(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    with gateway.connect() as idle:
        assert idle.request("GET", f"{BASE}/instances", [("X-API-Key", KEY)]).status == 200
        _, seconds = elapsed(gateway.stop)
        assert seconds < 2 and idle.is_closed()
    assert gateway.records()[-1]["kind"] == "stop"


def test_a_store_that_hangs_does_not_hold_the_end_up(fleet):
    """The good-bye used to be waited for as long as any answer of the store: ten seconds here."""
    redis = fleet.redis()
    gateway = fleet.gateway(fleet.simulator(), store={"redis": redis.url, "timeout": "10s"})
    gateway.settle()
    redis.send_signal(signal.SIGSTOP)
    _, seconds = elapsed(gateway.stop)
    assert seconds < 2 and "does not hear the good-bye" in gateway.tail()
    assert gateway.records()[-1]["kind"] == "stop"
    redis.send_signal(signal.SIGCONT)


def test_a_store_that_hangs_does_not_hold_the_end_up_beyond_the_timeout(fleet):
    """What was open to the end leaves a tenth of drain.timeout; the good-bye took a second of its own behind it."""
    redis = fleet.redis()
    sim = fleet.simulator("--latency", 20000)
    gateway = fleet.gateway(sim, store={"redis": redis.url, "timeout": "10s"}, drain={"timeout": "3s"})
    gateway.settle()
    with gateway.connect() as connection:
        connection.send(connection.build("POST", RUN, {"X-API-Key": KEY}, b"{}"))
        wait_for(lambda: sim.ledger(), what="it to be sent")
        redis.send_signal(signal.SIGSTOP)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait()
    redis.send_signal(signal.SIGCONT)
    begun, = gateway.events("draining")
    ended, = gateway.events("the store does not hear the good-bye, or how the last requests with a key ended")
    assert parse_time(ended["time"]) - parse_time(begun["time"]) < 3.3


def test_during_the_start_it_ends_too(fleet):
    """The store does not answer; the signal comes as early as it can."""
    for delay in (0.0, 0.02, 0.05, 0.1, 0.3):
        gateway = fleet.gateway(free_port(), ready=False, store={"redis": f"redis://127.0.0.1:{free_port()}"})
        time.sleep(delay)   # each delay is another moment of the start, none is waited for
        gateway.send_signal(signal.SIGTERM)
        code, seconds = elapsed(gateway.wait)
        assert code in (0, -signal.SIGTERM) and seconds < 3, gateway.tail()
        assert code == 0 or delay < 0.1, "the handler comes first thing in main"
        gateway.check_sanitizers()


def test_what_was_sent_is_finished_and_what_waits_is_told(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, upstream={"quota": {"requests": 20, "window": "10s"}}, wait={"max": "30s", "queue": 100})
    sent, waiting = gateway.connect(), [gateway.connect() for _ in range(3)]
    ask(sent, ("X-Fabricsim-Latency", "1500"))
    wait_for(lambda: len(sim.ledger()) == 1)
    for c in waiting:
        ask(c)
    gateway.send_signal(signal.SIGTERM)
    statuses = [c.response().status for c in waiting]
    answer = sent.response()
    assert answer.status == 202 and answer.get("Connection") == "close" and sent.is_closed()
    assert set(statuses) <= {202, 503} and 503 in statuses
    assert gateway.wait() == 0
    gateway.check_sanitizers()
    intents, outcomes = gateway.records("intent"), gateway.records("outcome")
    assert sorted(r["request_id"] for r in intents) == sorted(r["request_id"] for r in outcomes)
    assert len([o for o in outcomes if o["result"] == "accepted"]) == len(sim.ledger()) == 1 + statuses.count(202)


def test_readyz_goes_first_and_new_requests_are_served_meanwhile(fleet):
    gateway = fleet.gateway(fleet.simulator(), drain={"delay": "1500ms", "timeout": "10s"})
    assert gateway.admin("/readyz").status == 200
    gateway.send_signal(signal.SIGTERM)
    wait_for(lambda: gateway.admin("/readyz").status == 503, 1)
    with gateway.connect() as c:
        assert c.request("GET", "/readyz").status == 503
    assert gateway.request("POST", RUN).status == 202 and gateway.admin("/healthz").status == 200
    assert gateway.wait() == 0
    gateway.check_sanitizers()


def test_a_second_signal_skips_the_waiting_but_no_record(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    c = gateway.connect()
    ask(c, ("X-Fabricsim-Latency", "20000"))
    wait_for(lambda: len(sim.ledger()) == 1)
    gateway.send_signal(signal.SIGTERM)
    time.sleep(0.3)     # the first one begins to drain; two signals at once would be one
    assert gateway.is_alive()
    gateway.send_signal(signal.SIGTERM)
    code, seconds = elapsed(gateway.wait)
    assert code == 0 and seconds < 5
    outcome, = gateway.records("outcome")
    assert outcome["result"] == "unknown" and gateway.records()[-1]["kind"] == "stop"
    gateway.check_sanitizers()


def test_the_timeout_ends_it(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, drain={"timeout": "1s"})
    c = gateway.connect()
    ask(c, ("X-Fabricsim-Fault", "stall"))
    wait_for(lambda: len(sim.ledger()) == 1)
    _, seconds = elapsed(gateway.stop)
    assert 0.9 < seconds < 4
    assert [o["result"] for o in gateway.records("outcome")] == ["unknown"]


def test_under_load_nothing_is_lost(fleet):
    """Each answered 202 has its record, each request upstream has its answer or record."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    accepted, done = [], []

    def load():
        try:
            with gateway.connect() as c:
                while True:
                    answer = c.request("POST", RUN, [("X-API-Key", KEY)], b"{}")
                    if answer.status == 202:
                        accepted.append(answer.get("X-Request-Id"))
                    if answer.get("Connection") == "close":
                        break
        except (Closed, OSError):
            pass
        done.append(1)
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(accepted) > 100)
    gateway.stop()
    for thread in threads:
        thread.join()
    outcomes = {o["request_id"]: o["result"] for o in gateway.records("outcome")}
    assert len(outcomes) == len(gateway.records("intent")) >= len(sim.ledger()) == len(accepted)
    assert {name for name, result in outcomes.items() if result == "accepted"} == set(accepted)
    assert set(outcomes.values()) <= {"accepted", "refused"}


def test_reload_swaps_callers_and_keeps_connections(fleet):
    gateway = fleet.gateway(fleet.simulator())
    with gateway.connect() as c:
        assert c.request("GET", f"{BASE}/instances", [("X-API-Key", KEY)]).status == 200
        config = dict(gateway.config, callers=[{"name": "new", "keys": [{"sha256": sha256(key_of("new"))}]}])
        gateway.write_config(config)
        gateway.send_signal(signal.SIGHUP)
        wait_for(lambda: gateway.request("GET", f"{BASE}/instances", key=key_of("new")).status == 200)
        check_error(c.request("GET", f"{BASE}/instances", [("X-API-Key", KEY)]), 401, "JobgateUnauthenticated", closes=False)
        assert c.request("POST", RUN, [("X-API-Key", key_of("new"))]).status == 202
    assert gateway.wait_records("intent", 1)[0]["caller"] == "new"
    assert len(gateway.records("config")) == 2


def test_a_bad_reload_keeps_the_old(fleet):
    gateway = fleet.gateway(fleet.simulator())
    with open(gateway.config_file, "w", encoding="utf-8") as file:
        json.dump(dict(gateway.config, callers=[], nonsense=1), file)
    before = len(gateway.lines)
    gateway.send_signal(signal.SIGHUP)
    wait_for(lambda: "nonsense" in "\n".join(gateway.lines[before:]))
    assert gateway.request("POST", RUN).status == 202
    assert len(gateway.records("config")) == 1


def test_certificates_reload_without_a_restart(fleet, certificates, tmp_path):
    cert, key = tmp_path / "c.pem", tmp_path / "c.key"

    def install(name):
        for source, target in zip(certificates.pair(name), (cert, key)):
            target.write_bytes(open(source, "rb").read())

    def subject(gateway):
        with Connection(gateway.tls_port, tls=True) as c:
            der = c.socket.getpeercert(binary_form=True)
        return subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-subject"], input=der, capture_output=True,
                              check=True).stdout.decode()
    install("front")
    listen = [{"address": f"127.0.0.1:{free_port()}"},
              {"address": f"127.0.0.1:{free_port()}", "tls": {"cert_file": str(cert), "key_file": str(key)}}]
    gateway = fleet.gateway(fleet.simulator(), listen=listen)
    assert "gate.example" in subject(gateway)
    with gateway.connect(tls=True) as old:
        install("wrong-name")
        gateway.send_signal(signal.SIGHUP)
        wait_for(lambda: "other.example" in subject(gateway))
        assert old.request("GET", f"{BASE}/instances", [("X-API-Key", KEY)]).status == 200
    cert.write_text("no certificate")
    before = len(gateway.lines)
    gateway.send_signal(signal.SIGHUP)
    wait_for(lambda: os.path.basename(str(cert)) in "\n".join(gateway.lines[before:]))
    assert "other.example" in subject(gateway)
