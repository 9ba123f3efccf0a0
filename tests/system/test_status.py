"""`jobgate status` and GET /status: how it stands, for someone woken at night, and every way in which there is nothing to show."""

import contextlib
import json
import re
import socket
import subprocess
import threading

import pytest

from harness import BASE, KEY, binary, elapsed, free_port, key_of, sha256
from wire import Connection, wait_for

RUN = f"{BASE}/DefaultJob/instances"
CALLERS = [{"name": "etl", "keys": [{"sha256": sha256(KEY)}]},
           {"name": "sales", "keys": [{"sha256": sha256(key_of("sales"))}], "rate": {"requests": 1, "window": "30s"}}]
# One in two seconds and a burst of two: whoever comes then waits.
SLOW = {"quota": {"requests": 10, "window": "20s", "burst": 2}}


def run_status(file, *more):
    """Run the command; what it wrote is printable ASCII of at most 120 columns."""
    done = subprocess.run([binary("jobgate"), "status", "--config", str(file), *more], capture_output=True, text=True,
                          timeout=60, check=False)
    if "--json" not in more:
        assert all(re.fullmatch(r"[ -~]{0,120}", line) for line in done.stdout.splitlines()), done.stdout
    return done


def shown(gateway):
    """The text, of a gateway that answers."""
    done = run_status(gateway.config_file)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def status(gateway, identity=0):
    """The parsed status, and that of one identity."""
    answer = gateway.admin("/status")
    assert answer.status == 200 and answer.get("Content-Type") == "application/json", answer
    parsed = answer.json()
    return parsed, parsed["limiter"]["identities"][identity]


class Waiting:
    """Requests that are sent and not waited for."""

    def __init__(self):
        self.connections = []

    def send(self, gateway, caller, count, target=RUN, headers=()):
        for _ in range(count):
            connection = gateway.connect()
            connection.send(connection.build("POST", target, [("X-API-Key", key_of(caller)), *headers], b"{}"))
            self.connections.append(connection)

    def close(self):
        for connection in self.connections:
            connection.close()


@pytest.fixture
def waiting():
    waiting = Waiting()
    yield waiting
    waiting.close()


def test_idle_on_the_embedded_store(fleet):
    gateway = fleet.gateway(fleet.simulator(), upstream={"quota": {"requests": 200, "window": "60s", "outside": 20}})
    wait_for(lambda: status(gateway)[1]["heard_ago_ms"] is not None)
    whole, identity = status(gateway)
    assert (whole["program"], whole["instance"], whole["phase"], whole["status"]) == ("jobgate", "test", "serving", "ok")
    assert whole["reasons"] == [] and whole["journal"]["up"] and whole["upstream"]["up"] and whole["uptime_ms"] < 60000
    store = whole["limiter"]["store"]
    assert store["kind"] == "embedded" and store["up"] and "address" not in store
    assert (identity["state"], identity["limit"], identity["out"], identity["members"]) == ("open", 180, 0, [])
    assert identity["queue"]["waiting"] == 0 and identity["queue"]["lanes"] == [] and 2.9 < identity["rate_per_s"] < 3.1
    text = shown(gateway)
    assert text.startswith("jobgate test: OK; serving, up for ") and "embedded" in text, text
    assert "0 of 180 out" in text and "0 here, at most 1000" in text and "member" not in text


def test_json_is_printed_as_it_comes(fleet):
    gateway = fleet.gateway(fleet.simulator())
    done = run_status(gateway.config_file, "--json")
    parsed = json.loads(done.stdout)
    assert done.returncode == 0 and set(parsed) == set(status(gateway)[0]) and done.stdout.endswith("}\n")


def test_who_waits_and_for_what(fleet, waiting):
    """Two callers, of which one is held by its own rate; the other waits for its turn."""
    gateway = fleet.gateway(fleet.simulator(), upstream=SLOW, callers=CALLERS, wait={"max": "60s", "queue": 50})
    # A bucket of its own earns its burst while nobody waits.
    wait_for(lambda: status(gateway)[1]["left"] >= 2, what="a burst")
    waiting.send(gateway, "sales", 1)
    wait_for(lambda: status(gateway)[1]["granted"] == 1, what="the first grant")
    waiting.send(gateway, "sales", 1)
    waiting.send(gateway, "etl", 4)
    wait_for(lambda: status(gateway)[1]["queue"]["oldest_ms"] > 1000, what="waiting for a second")
    _, identity = status(gateway)
    lanes = {lane["caller"]: lane for lane in identity["queue"]["lanes"]}
    assert set(lanes) == {"etl", "sales"} and lanes["sales"]["waiting"] == 1, identity
    assert identity["queue"]["waiting"] == sum(lane["waiting"] for lane in lanes.values())
    assert identity["next_turn_ms"] is not None and identity["state"] == "open" and identity["taken_here"] >= 1
    limit, = lanes["sales"]["limits"]
    assert limit == {"kind": "caller", "name": "sales", "requests": 1, "window_ms": 30000, "burst": 1, "holds": True}
    text = shown(gateway)
    assert re.search(r"^  sales +- +1 +\d +\S+ \S+  the caller's own rate: 1 in 30 s$", text, re.M), text
    assert re.search(r"^  etl +- +\d +\d +\S+ \S+  its turn$", text, re.M), text


def test_twenty_lanes_and_how_many_more(fleet, waiting):
    callers = [{"name": f"caller-{i}", "keys": [{"sha256": sha256(key_of(f"caller-{i}"))}]} for i in range(23)]
    gateway = fleet.gateway(fleet.simulator(), upstream={"quota": {"requests": 2, "window": "10s", "burst": 1}},
                            callers=callers, wait={"max": "5m", "queue": 100})
    for i in range(23):
        waiting.send(gateway, f"caller-{i}", 2 if i == 7 else 1)
    wait_for(lambda: status(gateway)[1]["queue"]["waiting"] >= 23, what="23 waiting")
    queue = status(gateway)[1]["queue"]
    assert len(queue["lanes"]) == 20 and queue["lanes"][0]["caller"] == "caller-7"
    assert queue["more_waiting"] == queue["waiting"] - sum(lane["waiting"] for lane in queue["lanes"])
    assert f"and {queue['more_lanes']} more, in which {queue['more_waiting']} wait" in shown(gateway)


def test_two_instances_on_redis(fleet, waiting):
    """They settle, know each other, share, lose the store, and one spends its share alone."""
    redis = fleet.redis()
    sim = fleet.simulator()
    upstream = {"quota": {"requests": 20, "window": "2s"}}
    one, two = (fleet.gateway(sim, store={"redis": redis.url}, upstream=upstream, callers=CALLERS, instance=name)
                for name in ("one", "two"))
    assert status(one)[1]["state"] == "settling" and "NOTHING: the bucket is new to the store" in shown(one)
    wait_for(lambda: status(one)[1]["state"] == "open" and len(status(one)[1]["members"]) == 2, what="two members")
    wait_for(lambda: status(one)[1]["share"] == 10, what="even shares")
    whole, identity = status(one)
    assert whole["limiter"]["store"]["address"] == f"127.0.0.1:{redis.port}"
    mine, = [m for m in identity["members"] if m["self"]]
    assert (mine["id"], mine["share"]) == (whole["member"], 10)
    assert {m["id"] for m in identity["members"]} == {whole["member"], status(two)[0]["member"]}
    text = shown(one)
    assert re.search(r"^  [0-9a-f-]{36}     10  this instance$", text, re.M), text
    assert re.search(r"^  [0-9a-f-]{36}      -  heard$", text, re.M), text
    redis.kill()
    wait_for(lambda: not status(one)[0]["limiter"]["store"]["up"])
    waiting.send(one, "etl", 1)
    wait_for(lambda: status(one)[1]["queue"]["waiting"] == 1)
    text = shown(one)
    assert "jobgate one: DEGRADED" in text and "  ! the quota's store does not answer" in text, text
    assert re.search(r"store +DOWN for .*redis 127.0.0.1:\d+: \w", text), text
    assert "NOTHING: the store is away, requests wait until the share of 10 may be spent here" in text, text
    assert re.search(r"^  etl .*\(nothing is granted\)$", text, re.M), text
    wait_for(lambda: status(one)[1]["alone"], 20, "the share")
    _, identity = status(one)
    assert (identity["state"], identity["limit"]) == ("open", 10)
    assert "ALONE: the store is away, this instance spends its share" in shown(one)


def test_policy_closed_says_so(fleet):
    redis = fleet.redis()
    gateway = fleet.gateway(fleet.simulator(), store={"redis": redis.url, "on_failure": "closed"})
    redis.kill()
    wait_for(lambda: status(gateway)[1]["state"] == "store_away")
    assert "as store.on_failure has it" in shown(gateway)


def test_a_member_that_must_be_heard_is_named(fleet):
    """One is killed, the other comes by a fresh connection: whether the dead one took something is not known."""
    redis = fleet.redis()
    sim = fleet.simulator()
    upstream = {"quota": {"requests": 20, "window": "20s"}}
    one, two = (fleet.gateway(sim, store={"redis": redis.url}, upstream=upstream) for _ in range(2))
    wait_for(lambda: [len(status(g)[1]["members"]) for g in (one, two)] == [2, 2], what="two members")
    wait_for(lambda: status(one)[1]["state"] == "open")
    dead = status(two)[0]["member"]
    two.kill()
    redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for(lambda: [m for m in status(one)[1]["members"] if m["id"] == dead and m["silent_ms"]], what="its silence")
    _, identity = status(one)
    assert identity["state"] == "unheard" and 0 < identity["opens_in_ms"] < 22250 and identity["reserved"] > 0
    text = shown(one)
    assert f"NOTHING: member {dead} is to be heard first; at most " in text, text
    assert re.search(rf"^  {dead} +\d+  SILENT for .*: its share is kept back for \S+ \S+ more$", text, re.M), text
    assert "to be heard" in str(one.admin("/readyz").json()["reasons"])


def test_paused_by_the_upstream(fleet, waiting):
    """The upstream's 429 is shown on the instance that had it and on the other; the limit is lowered by a twentieth."""
    redis = fleet.redis()
    sim = fleet.simulator()
    one, two = (fleet.gateway(sim, store={"redis": redis.url}, upstream={"quota": {"requests": 200, "window": "20s"}},
                              callers=CALLERS) for _ in range(2))
    wait_for(lambda: [status(g)[1]["state"] for g in (one, two)] == ["open"] * 2)
    waiting.send(one, "etl", 1, headers=[("X-Fabricsim-Fault", "429")])
    wait_for(lambda: status(two)[1]["state"] == "paused", what="the pause on the other instance")
    text = shown(one)
    assert "NOTHING: the upstream has answered 429 and wants a pause; at most " in text, text
    assert "190 instead of 200 (95 %)" in text and "429s       1 from the upstream" in text, text
    throttled = status(one)[0]["limiter"]["throttled"]
    assert throttled["here"] == 1 and throttled["last"][0]["here"] and throttled["last"][0]["pause_ms"] == 2000
    throttled = status(two)[0]["limiter"]["throttled"]
    assert throttled["here"] == 0 and not throttled["last"][0]["here"]
    assert re.search(r"^  \d{4}-.* UTC .*default .* another instance$", shown(two), re.M)


def test_what_a_restarted_instance_had_taken(fleet):
    gateway = fleet.gateway(fleet.simulator(), upstream={"quota": {"requests": 20, "window": "10s"}})
    assert gateway.request("POST", RUN, body=b"{}").status == 202
    gateway.kill()
    again = fleet.gateway(fleet.simulator(), folder=gateway.folder, upstream={"quota": {"requests": 20, "window": "10s"}})
    wait_for(lambda: status(again)[1]["state"] == "unknown")
    assert "NOTHING: this instance or another has restarted" in shown(again) and "DEGRADED" in shown(again)


def test_draining_is_seen(fleet):
    gateway = fleet.gateway(fleet.simulator(), drain={"delay": "3s", "timeout": "10s"})
    gateway.send_signal(15)
    wait_for(lambda: status(gateway)[0]["phase"] == "draining")
    assert "NOT READY, gets no traffic; draining" in shown(gateway)


def test_no_secret_is_in_it(fleet):
    redis = fleet.redis()
    password = "correct-horse-battery"
    redis.command("CONFIG", "SET", "requirepass", password)
    gateway = fleet.gateway(fleet.simulator(), store={"redis": f"redis://:{password}@127.0.0.1:{redis.port}"})
    wait_for(lambda: status(gateway)[0]["limiter"]["store"]["up"])
    body = gateway.admin("/status").body.decode()
    assert password not in body and KEY not in body and sha256(KEY) not in body


# --- the listener ---

def test_methods_and_places(fleet):
    """GET and HEAD on the admin listener, nothing on the callers'."""
    gateway = fleet.gateway(fleet.simulator())
    with Connection(gateway.admin_port) as c:
        assert c.request("GET", "/status?x=1").status == 200
        head = c.request("HEAD", "/status")
        assert head.status == 200 and head.body == b"" and int(head.get("Content-Length")) > 100
        for method in ("POST", "DELETE", "PUT"):        # without admin.token nothing can be changed (test_admin_access)
            answer = c.request(method, "/status")
            assert answer.status == 403 and answer.json()["errorCode"] == "InsufficientPrivileges"
        answer = c.request("GET", "/statuses")
        assert answer.status == 404 and "/status" in answer.json()["message"]
    with gateway.connect() as c:
        assert c.request("GET", "/status", [("X-API-Key", KEY)]).status == 404


def test_clients_that_hang_up(fleet):
    """Before the answer, in the middle of it, a hundred at once; then it answers as before, pipelined too."""
    gateway = fleet.gateway(fleet.simulator())
    for _ in range(3):
        for i in range(30):
            connection = Connection(gateway.admin_port)
            connection.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * (1 + i % 3))
            if i % 2:
                connection.reset()
            else:
                connection.close()
    with Connection(gateway.admin_port) as c:
        c.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        assert [c.response("GET").json()["program"] for _ in range(3)] == ["jobgate"] * 3


def test_many_ask_at_once(fleet):
    gateway = fleet.gateway(fleet.simulator())
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.admin("/status").status)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40


# --- the command ---

@contextlib.contextmanager
def impostor(answer, hold=False):
    """Something that answers every connection with these bytes, and holds it open where told to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    connection.recv(65536)
                    connection.sendall(answer)
                    if not hold:
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        for connection in kept:
            connection.close()
        listener.shutdown(socket.SHUT_RDWR)


def write_config(fleet, tmp_path, port):
    file = tmp_path / "status.json"
    file.write_text(json.dumps(fleet.config(1, admin={"address": f"127.0.0.1:{port}"})))
    return file


def http(body, status="200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.parametrize("answer,says", [
    (b"", "does not speak HTTP"), (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"), (b"\x16\x03\x01" * 50, "does not speak HTTP"),
    (http(b"<html>hello</html>"), "is no jobgate"), (http(b"{}"), "is no jobgate"), (http(b"[1]"), "is no jobgate"),
    (http(b'{"program": "jobgate"}'), "is no jobgate"), (http(b"\x00\xff"), "is no jobgate"),
    (http(b'{"program": "jobgate", "limiter": []}'), "is no jobgate"), (http(b"x", "404 Not Found"), "older one"),
    (http(b"x", "500 Oops"), "is no jobgate"), (http(b"x", "302 Found"), "is no jobgate"), (http(b"{}", "503 Later"), "it runs, but"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "not whole"), (b"HTTP/1.1 200 OK\r\n", "does not speak HTTP"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not whole")])
def test_something_else_answers(fleet, tmp_path, answer, says):
    with impostor(answer) as port:
        done = run_status(write_config(fleet, tmp_path, port))
    assert done.returncode == 1 and done.stdout == "" and says in done.stderr and f"127.0.0.1:{port}" in done.stderr, done
    assert len(done.stderr.splitlines()) == 1


def test_a_hostile_status_is_shown_harmlessly(fleet, tmp_path):
    """Wrong types, escape sequences, numbers without end: printable ASCII comes out all the same."""
    nasty = "\u001b[2J\t\n\u00e9x"
    lane = {"caller": nasty, "waiting": -1, "limits": [{"holds": True, "kind": "rule", "name": nasty, "window_ms": 1 << 62}]}
    identity = {"name": nasty, "state": "open", "rate_per_s": "fast", "limit": (1 << 63) - 1, "quota": {"requests": 1 << 62},
                "out": None, "heard_ago_ms": 1, "queue": {"waiting": 1, "lanes": [lane, 7, None]}, "members": [{"id": nasty}, "x"]}
    body = {"program": "jobgate", "instance": nasty, "reasons": [nasty, 1], "time": nasty * 9, "journal": 5,
            "limiter": {"store": {"kind": "redis", "why": nasty}, "throttled": {"last": [{}, 3]}, "identities": [identity, 1, {}]}}
    with impostor(http(json.dumps(body).encode())) as port:
        done = run_status(write_config(fleet, tmp_path, port))
    assert done.returncode == 0 and "??x" in done.stdout


def test_nobody_and_somebody_silent(fleet, tmp_path):
    done = run_status(write_config(fleet, tmp_path, free_port()))
    assert done.returncode == 1 and "Connection refused" in done.stderr and not done.stdout
    with impostor(b"HTTP/1.1 200", hold=True) as port:
        done, seconds = elapsed(run_status, write_config(fleet, tmp_path, port))
    assert done.returncode == 1 and "no answer within 5 s" in done.stderr and 4 < seconds < 15


def test_usage(tmp_path):
    def status_command(*arguments):
        return subprocess.run([binary("jobgate"), "status", *arguments], capture_output=True, text=True, timeout=60, check=False)

    done = status_command("--help")
    assert done.returncode == 0 and "--json" in done.stdout and "Exit codes" in done.stdout
    for wrong in (["--verbose"], ["x"], ["--config"], ["--config", "--json"]):
        done = status_command(*wrong)
        assert done.returncode == 2 and done.stderr.startswith("usage: jobgate status"), wrong
    done = status_command("--config", str(tmp_path / "missing.json"))
    assert done.returncode == 2 and "missing.json" in done.stderr
    (tmp_path / "wrong.json").write_text('{"listen": 1}')
    done = status_command("--json", "--config", str(tmp_path / "wrong.json"))
    assert done.returncode == 2 and "wrong.json: listen" in done.stderr
    overview = subprocess.run([binary("jobgate"), "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert re.search(r"^  status +\w", overview.stdout, re.M)
