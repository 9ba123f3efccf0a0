"""The admin listener's token, its Host, and what a page in a browser could send."""

import signal
import subprocess

import pytest

from harness import binary
from wire import Connection, wait_for

TOKEN = "admin-token-of-the-tests-0123"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def guarded(module_fleet, tmp_path_factory):
    file = tmp_path_factory.mktemp("secrets") / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    sim = module_fleet.simulator()
    config = module_fleet.config(sim.port)
    config["admin"]["token"] = {"file": str(file)}
    gateway = module_fleet.gateway(sim, config=config)
    gateway.token_file = file
    return gateway


def ask(gateway, method, target, headers=(), body=None):
    with Connection(gateway.admin_port) as connection:
        return connection.request(method, target, headers, body)


def test_health_and_metrics_are_open(guarded):
    for target in ("/healthz", "/readyz", "/metrics"):
        for headers in ({}, {"Host": "10.1.2.3:8081"}, {"Host": "any.example"}, {"Authorization": "Bearer wrong"}):
            assert ask(guarded, "GET", target, headers).status == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": f"Bearer {TOKEN}x"},
                                     {"Authorization": "Bearer "}, {"Authorization": f"Basic {TOKEN}"}, {"X-API-Key": TOKEN}])
def test_the_rest_takes_the_token(guarded, headers):
    for method, target, body in (("GET", "/status", None), ("GET", "/nothing", None), ("POST", "/healthz", b"{}"), ("DELETE", "/status", None)):
        answer = ask(guarded, method, target, {**headers, **JSON}, body)
        assert answer.status == 401 and answer.json()["errorCode"] == "JobgateUnauthenticated"
        assert answer.get("WWW-Authenticate").startswith("Bearer ") and TOKEN not in repr(answer)


def test_with_the_token(guarded):
    assert ask(guarded, "GET", "/status", BEARER).json()["program"] == "jobgate"
    assert ask(guarded, "GET", "/nothing", BEARER).status == 404
    assert ask(guarded, "POST", "/status", {**BEARER, **JSON}, b"{}").status == 405
    for content in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert ask(guarded, "POST", "/status", {**BEARER, **content}, b"{}").status == 415


def test_names_of_others(guarded):
    for host in ("evil.example", "localhost.evil.example", f"evil.example:{guarded.admin_port}"):
        assert ask(guarded, "GET", "/status", {**BEARER, "Host": host}).status == 400
    for host in ("localhost", f"localhost:{guarded.admin_port}", "test", "TEST:1", "[::1]"):
        assert ask(guarded, "GET", "/status", {**BEARER, "Host": host}).status == 200


def test_without_a_token_nothing_is_changed(fleet):
    gateway = fleet.gateway(1)
    assert ask(gateway, "GET", "/status").status == 200
    assert ask(gateway, "GET", "/status", {"Host": "evil.example"}).status == 400
    for target in ("/status", "/healthz", "/nothing"):
        answer = ask(gateway, "POST", target, {**BEARER, **JSON}, b"{}")
        assert answer.status == 403 and "admin.token" in answer.json()["message"]


def test_refusals_are_logged_without_the_token(guarded):
    before = len(guarded.events("admin request refused"))
    ask(guarded, "GET", "/status", {"Authorization": "Bearer guess-of-somebody-1"})
    line = wait_for(lambda: guarded.events("admin request refused")[before:])[0]
    assert line["peer"].startswith("127.0.0.1:") and line["status"] == 401
    assert not any("guess-of-somebody" in text for text in guarded.lines)


def test_status_shows_the_token(guarded, tmp_path):
    def status(file):
        return subprocess.run([binary("jobgate"), "status", "--config", str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert status(guarded.config_file).returncode == 0
    with open(guarded.config_file, encoding="utf-8") as file:
        text = file.read()
    other = tmp_path / "other"
    for content, words in (("another-token-of-16-or-more", "another admin.token"), ("short", "16 to 4096"), (None, "No such file")):
        if content is None:
            other.unlink()
        else:
            other.write_text(content)
        (tmp_path / "c.json").write_text(text.replace(str(guarded.token_file), str(other)))
        done = status(tmp_path / "c.json")
        assert done.returncode == 1 and words in done.stderr and (content is None or content not in done.stderr), done.stderr


def test_a_reload_changes_the_token(fleet, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    config = fleet.config(1)
    config["admin"]["token"] = {"file": str(file)}
    gateway = fleet.gateway(1, config=config)
    assert ask(gateway, "GET", "/status", BEARER).status == 200
    file.write_text("the-next-token-0123456789")
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    assert ask(gateway, "GET", "/status", BEARER).status == 401
    assert ask(gateway, "GET", "/status", {"Authorization": "Bearer the-next-token-0123456789"}).status == 200
    file.write_text("short")
    gateway.send_signal(signal.SIGHUP)
    line = gateway.wait_event("reload refused")
    assert line["message"].startswith("admin.token: must be 16 to 4096") and "short" not in line["message"]


def test_a_token_that_is_none_does_not_start(fleet, tmp_path):
    config = fleet.config(1)
    config["admin"]["token"] = {"env": "JOBGATE_TEST_ADMIN_TOKEN"}
    gateway = fleet.gateway(1, config=config, ready=False, env={"JOBGATE_TEST_ADMIN_TOKEN": "has a blank in it"})
    assert gateway.wait(30) == 1
    assert "has a blank" not in gateway.tail() and "admin.token" in gateway.events("cannot start")[0]["message"]
