"""Attacks on the front and on the request's life through the real gateway: what hangs up, floods, stalls, races and resets.

Each test ends in the same three words: every request has its ending (an answer, or a record where its caller went), nothing
reaches the upstream that no caller sent whole, and the gateway goes on.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from fuzz_front import test_front_survives_fuzzing  # noqa: F401 (collected here, for a few seconds)
from harness import BASE, KEY, check_error, free_port, verify_journal
from wire import Closed, Connection, client_context, wait_for

RUN = f"{BASE}/DefaultJob/instances"
LIST = f"{BASE}/instances"
HOST = "Host: gate.example\r\n"
AUTH = f"X-API-Key: {KEY}\r\n"
BOTH = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def run(body="{}", *fields, key=KEY):
    """The bytes of a run."""
    head = f"POST {RUN} HTTP/1.1\r\n{HOST}X-API-Key: {key}\r\n" + "".join(f + "\r\n" for f in fields)
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def sockets(gateway):
    """How many sockets the process has open."""
    count = 0
    for name in os.listdir(f"/proc/{gateway.pid}/fd"):
        try:
            count += os.readlink(f"/proc/{gateway.pid}/fd/{name}").startswith("socket:")
        except OSError:
            pass
    return count


def ended(connection):
    """Read to the end; True where the peer said so (on TLS by close_notify)."""
    connection.socket.settimeout(10)
    try:
        while connection.socket.recv(65536):
            pass
        return True
    except (ConnectionResetError, ssl.SSLError):
        return False


@pytest.fixture(scope="module")
def gate(module_fleet):
    sim = module_fleet.simulator()
    return module_fleet.gateway(sim, audit={"directory": "audit", "refusals": 1000},
                                limits={"head_timeout": "2s", "body_timeout": "2s"}), sim


# --- the ending of a trigger whose caller goes, in each state ---

def gone(connection, how):
    if how == "reset":
        connection.reset()
    else:
        connection.close()


def outcome_of(gateway, name):
    """The records of the request whose client_request_id is NAME, once it has an ending."""
    def mine():
        return [r for r in gateway.records() if r.get("client_request_id") == name]
    wait_for(lambda: any(r["kind"] in ("outcome", "refusal") for r in mine()), what=f"the ending of {name}")
    return mine()


HOW = pytest.mark.parametrize("how", ["close", "reset"])


@BOTH
@HOW
def test_gone_in_the_head_leaves_nothing_and_in_the_body_a_refusal(gate, how, tls):
    gateway, sim = gate
    before, records = len(sim.ledger()), len(gateway.records())
    name = f"body-{how}-{tls}"
    c = gateway.connect(tls)
    c.send(run()[:40])
    gone(c, how)
    c = gateway.connect(tls)
    c.send(run("x" * 100, f"X-Request-Id: {name}")[:-50])
    time.sleep(0.05)     # the head is looked at before its caller goes
    gone(c, how)
    refusal, = outcome_of(gateway, name)
    assert (refusal["kind"], refusal["status"], refusal["error_code"]) == ("refusal", 0, "JobgateCallerGone")
    assert len(gateway.records()) == records + 1 and len(sim.ledger()) == before


@BOTH
@HOW
def test_gone_while_waiting_next_ready_forwarding_and_answered(fleet, how, tls):
    """One token a second: the first caller is forwarding, one is ready for the next token, the others wait."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, upstream={"quota": {"requests": 6, "window": "2s"}}, wait={"max": "30s", "queue": 100})
    with gateway.connect(tls) as c:
        c.send(run("{}", "X-Request-Id: answered"))
        assert c.response().status == 202
    forwarding = gateway.connect(tls)
    forwarding.send(run("{}", "X-Request-Id: forwarding", "X-Fabricsim-Latency: 700"))
    wait_for(lambda: len(sim.ledger()) == 2)
    queue = [gateway.connect(tls) for _ in range(8)]
    for i, c in enumerate(queue):
        c.send(run("{}", f"X-Request-Id: queue-{i}"))
    wait_for(lambda: len(gateway.records("intent")) >= 3, what="an intent that is ready for its token")
    for c in (forwarding, *reversed(queue)):    # each that is ready and goes lets the next make ready: the last go first
        gone(c, how)
    kinds = {}
    for i in range(8):
        records = outcome_of(gateway, f"queue-{i}")
        kinds[i] = records[-1].get("result") or records[-1]["error_code"]
        assert len(records) == (1 if kinds[i] == "JobgateCallerGone" else 2), records
        assert records[-1].get("answered", 0) == 0
    assert set(kinds.values()) <= {"cancelled", "JobgateCallerGone", "accepted"} and "JobgateCallerGone" in kinds.values()
    late = outcome_of(gateway, "forwarding")[-1]
    assert (late["result"], late["status"], late["answered"]) == ("accepted", 202, 0)
    assert outcome_of(gateway, "answered")[-1]["answered"] == 202
    assert len(sim.ledger()) == 2 + list(kinds.values()).count("accepted")


@HOW
def test_gone_while_a_connection_is_made(fleet, how):
    """The upstream accepts and says nothing: the request is next, its intent durable."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        gateway = fleet.gateway(silent.getsockname()[1])
        c = gateway.connect()
        c.send(run("{}", "X-Request-Id: next"))
        wait_for(lambda: gateway.records("intent"))
        gone(c, how)
        intent, outcome = outcome_of(gateway, "next")
        assert outcome["kind"] == "outcome" and outcome["result"] == "cancelled" and outcome["answered"] == 0


def one_breath(gateway, data):
    """A TLS 1.2 client that sends DATA, close_notify and FIN in one segment."""
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="gate.example")
    with socket.create_connection(("127.0.0.1", gateway.tls_port)) as raw:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))
        tls.write(data)
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        raw.sendall(outgoing.read())


def test_a_request_and_the_end_in_one_breath_has_its_record(gate):
    """With TLS the close can come to the front before the bytes, which were dropped without a word then (P5)."""
    gateway, sim = gate
    before = len(sim.ledger())
    for i in range(10):
        one_breath(gateway, run("{}", f"X-Request-Id: breath-{i}"))
    for i in range(10):
        *before_it, last = outcome_of(gateway, f"breath-{i}")
        if before_it:       # its end was noticed late, on a busy machine, and it was making ready by then
            assert [r["kind"] for r in (*before_it, last)] == ["intent", "outcome"] and (last["result"], last["attempts"]) == ("cancelled", 0)
        else:
            assert (last["kind"], last["status"], last["error_code"]) == ("refusal", 0, "JobgateCallerGone")
        assert last["caller"] == "etl" and last["peer"].startswith("127.0.0.1:")
    assert len(sim.ledger()) == before


@BOTH
def test_what_was_pipelined_behind_a_request_whose_caller_goes(fleet, tls):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    with gateway.connect(tls) as c:
        c.send(run("{}", "X-Request-Id: first", "X-Fabricsim-Latency: 500") + run("{}", "X-Request-Id: second") +
               run("{}", "X-Request-Id: bad", key="wrong") + run("{}", "X-Request-Id: cut")[:-1])
        wait_for(lambda: len(sim.ledger()) == 1)
    assert outcome_of(gateway, "first")[-1]["answered"] == 0
    assert outcome_of(gateway, "second")[-1]["error_code"] == "JobgateCallerGone"
    assert outcome_of(gateway, "bad")[-1]["error_code"] == "JobgateUnauthenticated"
    assert outcome_of(gateway, "cut")[-1]["error_code"] == "JobgateCallerGone"
    assert len(sim.ledger()) == 1


# --- connections ---

@BOTH
def test_closed_connections_do_not_stay(gate, tls):
    """They used to stay for 30 s, deaf to their clients: 10,000 of them and the gateway shed everybody."""
    gateway, _ = gate
    before = sockets(gateway)
    with gateway.connect(tls) as stays:
        stays.send(run("{}", "Connection: close"))
        assert stays.response().status == 202
        for _ in range(40):
            with gateway.connect(tls) as c:
                c.send(b"GET / HTTP/1.1\n\n")
                assert c.response().status == 400 and ended(c)
        wait_for(lambda: sockets(gateway) <= before + 4, 6, "the end of closed connections")


@BOTH
def test_every_close_is_said(gate, tls):
    """An end without close_notify is a truncation to TLS clients."""
    gateway, _ = gate
    for data, status in ((b"GET / HTTP/1.1\n\n", 400), (run("{}", "Connection: close"), 202), (run()[:50], 408)):
        with gateway.connect(tls) as c:
            c.send(data)
            assert c.response().status == status and ended(c)


@BOTH
def test_a_refusal_reaches_a_caller_that_reads_last(gate, tls):
    gateway, sim = gate
    before = len(sim.ledger())
    for head, status in ((b"GET / HTTP/1.1\n\n", 400), (run("x" * 9, key="wrong").replace(b"Length: 9", b"Length: 200000"), 401),
                         (run().replace(b"Length: 2", b"Length: 700000"), 413)):
        with gateway.connect(tls) as c:
            try:
                c.send(head + b"x" * (199991 if status == 401 else 600000))
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert c.response().status == status
    assert len(sim.ledger()) == before


@BOTH
def test_a_refused_caller_that_half_closes_hears_it(gate, tls):
    gateway, _ = gate
    for _ in range(10):
        with gateway.connect(tls) as c:
            c.send(run(key="wrong"))
            c.half_close()
            check_error(c.response(), 401, "JobgateUnauthenticated", closes=False)


def test_the_connection_limit_is_the_instances(fleet):
    """It used to be a share for each worker, and the kernel does not deal connections out evenly."""
    gateway = fleet.gateway(fleet.simulator(), workers=4, limits={"connections": 12})
    kept = [gateway.connect(tls=i % 2 == 1) for i in range(12)]
    for c in kept:
        assert c.request("GET", "/v1/nothing", [("X-API-Key", KEY)]).status == 404
    for tls in (False, True):
        for _ in range(8):
            with gateway.connect(tls) as c:
                answer = c.response()
                check_error(answer, 503, "JobgateUnavailable", closes=True)
                assert answer.get("Retry-After").isdigit() and ended(c)
    for c in kept:
        assert c.request("GET", "/v1/nothing", [("X-API-Key", KEY)]).status == 404
        c.close()


def test_many_idle_connections(gate):
    gateway, _ = gate
    before = sockets(gateway)
    idle = [socket.create_connection(("127.0.0.1", gateway.port if i % 2 else gateway.tls_port)) for i in range(1000)]
    wait_for(lambda: sockets(gateway) >= before + 1000)
    start = time.monotonic()
    assert gateway.request("POST", RUN, body=b"{}").status == 202
    assert time.monotonic() - start < 1
    for c in idle:
        c.close()
    wait_for(lambda: sockets(gateway) <= before + 4)


# --- bytes ---

@BOTH
def test_pipelined_requests_in_one_write(gate, tls):
    gateway, sim = gate
    before = len(sim.ledger())
    kinds = [(run(), 202), (run(key="wrong"), 401), (b"GET /v1/nothing HTTP/1.1\r\n" + (HOST + AUTH).encode() + b"\r\n", 404),
             (b"GET " + LIST.encode() + b" HTTP/1.1\r\n" + (HOST + AUTH).encode() + b"\r\n", 200), (run("[]"), 400)]
    with gateway.connect(tls) as c:
        c.send(b"".join(data for data, _ in kinds * 20))
        answers = [c.response() for _ in kinds * 20]
    assert [a.status for a in answers] == [status for _, status in kinds * 20]
    assert len({a.get("X-Request-Id") for a in answers}) == len(answers)
    assert all(len(a.all("Date")) == 1 for a in answers)
    assert len(sim.ledger()) == before + 40


@BOTH
def test_a_chunked_body_cut_at_every_byte(gate, tls):
    gateway, sim = gate
    head = f"POST {RUN} HTTP/1.1\r\n{HOST}{AUTH}Transfer-Encoding: chunked\r\n\r\n".encode()
    data = head[-4:] + b"1;a=\"b\"\r\n{\r\n01\r\n}\r\n0;x\r\nX-T: 1\r\n\r\n"
    before = len(sim.ledger())
    with gateway.connect(tls) as c:
        for cut in range(len(data)):
            c.send(head[:-4] + data[:cut])
            time.sleep(0.001)   # another segment, most of the times; the answer is the same either way
            c.send(data[cut:])
            assert c.response().status == 202, cut
    entries = sim.ledger()[before:]
    assert len(entries) == len(data) and len({e["body_sha256"] for e in entries}) == 1


def test_head_has_no_body_but_its_length(gate):
    gateway, _ = gate
    with gateway.connect() as c:
        for target, headers in (("/healthz", []), ("/v1/nothing", [("X-API-Key", KEY)]), (LIST, [("X-API-Key", KEY)])):
            answer = c.request("HEAD", target, headers)
            again = c.request("GET", target, headers)
            assert (answer.status, answer.body) == (again.status, b"")
            assert answer.get("Content-Length") == str(len(again.body)), answer


# --- TLS ---

def test_handshakes_that_stall(gate):
    gateway, _ = gate
    stalled = []
    for data in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100):
        for _ in range(20):
            s = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=10)
            s.sendall(data)
            stalled.append(s)
    for _ in range(5):
        assert gateway.request("POST", RUN, body=b"{}", tls=True).status == 202
    for s in stalled:
        try:
            assert len(s.recv(100)) < 100 and s.recv(1) == b""   # an alert at most
        except ConnectionResetError:
            pass
        s.close()


def test_a_client_that_connects_ahead_of_its_need(gate):
    """A silent TLS connection used to be cut when the head's time was over, as if its handshake stalled."""
    gateway, _ = gate
    with gateway.connect(tls=True) as c, gateway.connect() as plain:
        time.sleep(2.5)     # longer than head_timeout
        for connection in (c, plain):
            connection.send(run())
            assert connection.response().status == 202


def test_renegotiation_is_refused(gate):
    gateway, sim = gate
    before = len(sim.ledger())
    args = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", "-tls1_2", "-quiet", "-no_ign_eof"]
    with subprocess.Popen(["sleep", "1"], stdout=subprocess.PIPE) as pause, subprocess.Popen(
            args[:-2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        client.stdin.write(b"R\n")
        client.stdin.flush()
        pause.wait()
        _, said = client.communicate(run() , timeout=10)
    assert b"RENEGOTIATING" in said or client.returncode != 0
    assert gateway.request("GET", LIST, tls=True).status == 200
    assert len(sim.ledger()) <= before + 1 + 1


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x03\xff\xff" + b"x" * 3000, b"\x80\x2e\x01\x03\x01", b"\0" * 50])
def test_what_is_no_handshake(gate, junk):
    gateway, _ = gate
    with socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=10) as s:
        s.sendall(junk)
        try:
            while s.recv(1000):
                pass
        except ConnectionResetError:
            pass
    assert gateway.request("GET", LIST, tls=True).status == 200


def test_garbage_inside_a_session(gate):
    """A record that cannot be decrypted, at each state of a request."""
    gateway, sim = gate
    for sent in (b"", run()[:60], run("x" * 100)[:-50], run("{}", "X-Fabricsim-Latency: 300")):
        before = len(sim.ledger())
        with gateway.connect(tls=True) as c:
            c.send(sent)
            if sent.endswith(b"{}"):
                wait_for(lambda before=before: len(sim.ledger()) > before)
            raw = socket.socket(fileno=os.dup(c.socket.fileno()))
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"z" * 32)
            raw.close()
            with pytest.raises((Closed, ssl.SSLError)):
                c.response()
    assert gateway.request("GET", LIST, tls=True).status == 200


# --- reload, drain, signals ---

def test_reloads_under_load_lose_nothing(fleet, certificates, tmp_path):
    """Certificates and limits swap while connections come and go; no request fails."""
    cert, key = tmp_path / "c.pem", tmp_path / "c.key"
    listen = [{"address": f"127.0.0.1:{free_port()}"},
              {"address": f"127.0.0.1:{free_port()}", "tls": {"cert_file": str(cert), "key_file": str(key)}}]
    pair = certificates.pair("front")
    cert.write_bytes(open(pair[0], "rb").read())
    key.write_bytes(open(pair[1], "rb").read())
    gateway = fleet.gateway(fleet.simulator(), listen=listen)
    failures, answers, stop = [], [], threading.Event()

    def load(tls):
        while not stop.is_set():
            try:
                with gateway.connect(tls) as c:
                    for _ in range(3):
                        answers.append(c.request("POST", RUN, [("X-API-Key", KEY)], b"{}").status)
            except (Closed, OSError) as error:
                failures.append(error)
    threads = [threading.Thread(target=load, args=(i % 2 == 1,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for i in range(12):
        for source, target in zip(certificates.pair("front" if i % 2 else "wrong-name"), (cert, key)):
            part = target.with_suffix(".new")
            part.write_bytes(open(source, "rb").read())
            part.rename(target)
        gateway.write_config(dict(gateway.config, limits={"body_bytes": 4096 + i}))
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded", i + 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures and set(answers) == {202}
    assert gateway.request("POST", RUN, body=b" " * 4110).status == 413


def test_a_reload_takes_the_time_out_of_the_upstream_over(fleet):
    """The pool used to keep the time it had at the start for making connections."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        gateway = fleet.gateway(silent.getsockname()[1], upstream={"timeout": "9s"})
        gateway.write_config(dict(gateway.config, upstream={**gateway.config["upstream"], "timeout": "1s"}))
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded")
        start = time.monotonic()
        check_error(gateway.request("POST", RUN, body=b"{}"), 504, "JobgateUpstreamUnavailable")
        assert time.monotonic() - start < 5


def test_a_burst_of_signals(fleet):
    """A third SIGTERM used to end the process before its last records were acknowledged."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    clients = [gateway.connect(tls=i % 2 == 1) for i in range(6)]
    for c in clients:
        c.send(run("{}", "X-Fabricsim-Fault: stall"))
    wait_for(lambda: len(sim.ledger()) == 6)
    deadline = time.monotonic() + 10
    while gateway.is_alive() and time.monotonic() < deadline:
        gateway.send_signal(signal.SIGTERM)     # those that are pending swallow the next
    assert gateway.wait(1) == 0, gateway.tail()
    gateway.check_sanitizers()
    assert [o["result"] for o in gateway.records("outcome")] == ["unknown"] * 6
    assert gateway.records()[-1]["kind"] == "stop"
    assert verify_journal(os.path.join(gateway.folder, "audit")).returncode == 0


def test_nothing_follows_the_stop_record(fleet):
    gateway = fleet.gateway(fleet.simulator(), audit={"directory": "audit", "refusals": 1})
    for _ in range(5):
        assert gateway.request("POST", RUN, body=b"{}", key="wrong").status == 401
    gateway.stop()
    assert gateway.records()[-1]["kind"] == "stop"
    assert sum(r["count"] for r in gateway.records("refusal")) == 5


def test_drain_in_a_storm_of_connections(fleet):
    sim = fleet.simulator()
    gateway = fleet.gateway(sim)
    stop, accepted = threading.Event(), []

    def storm(tls):
        while not stop.is_set():
            try:
                with gateway.connect(tls, timeout=5) as c:
                    answer = c.request("POST", RUN, [("X-API-Key", KEY)], b"{}")
                    if answer.status == 202:
                        accepted.append(answer.get("X-Request-Id"))
            except ConnectionRefusedError:
                return
            except (Closed, OSError):
                continue
    threads = [threading.Thread(target=storm, args=(i % 2 == 1,)) for i in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(accepted) > 30)
    start = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(20) == 0, gateway.tail()
    assert time.monotonic() - start < 4
    stop.set()
    for thread in threads:
        thread.join()
    gateway.check_sanitizers()
    outcomes = {o["request_id"]: o["result"] for o in gateway.records("outcome")}
    assert {n for n, r in outcomes.items() if r == "accepted"} >= set(accepted)
    assert len(outcomes) == len(gateway.records("intent"))
    assert len(sim.ledger()) == list(outcomes.values()).count("accepted")


HANGING_DISK = """
#include <unistd.h>
int fdatasync(int fd) { if (access("hang", F_OK) == 0) for (;;) pause(); return fsync(fd); }
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a compiler")
def test_a_disk_that_hangs(fleet, tmp_path):
    """A caller is told of it in time; a drain does not wait for ever (the process used to end in an assertion)."""
    source, library = tmp_path / "hang.c", tmp_path / "hang.so"
    source.write_text(HANGING_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    gateway = fleet.gateway(fleet.simulator(), drain={"timeout": "1s"}, wait={"max": "1s", "queue": 10},
                            env={"LD_PRELOAD": str(library), "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0"})
    assert gateway.request("POST", RUN, body=b"{}").status == 202
    with open(os.path.join(gateway.folder, "hang"), "w", encoding="ascii"):
        pass
    answer = gateway.request("POST", RUN, body=b"{}")
    assert "journal" in check_error(answer, 503, "JobgateUnavailable", closes=False)["message"]
    assert gateway.request("GET", LIST).status == 200 and gateway.admin("/healthz").status == 200
    start = time.monotonic()
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(20) == 1, gateway.tail()
    assert time.monotonic() - start < 8
    assert gateway.events("drain gave up waiting for the last records")
