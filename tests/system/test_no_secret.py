"""No secret of a run stands in any log line, journal, metric or answer, nor goes where it does not belong."""

import base64
import glob
import os
import re
import signal
import socket
import subprocess
import urllib.parse

import pytest

import proxy2
from harness import BASE, ITEM, UPSTREAM, WS, binary, free_port, key_of, secret, sha256
from wire import Closed, Connection, client_context, wait_for

RUN = BASE + "/RunNotebook/instances"
SECRETS = {
    "key": "jg_KeyOfTheCallerThatNobodyMaySee0123456789abcdefABCDEF",
    "second key": "SecondKeyOfTheCallerQ7w8E9r0",
    "expired key": "ExpiredKeyOfTheCallerZ1x2C3v4",
    "far key": "KeyFromAnotherNetworkP0o9I8u7",
    "guess": "GuessedKeyThatIsNobodysM5n6B7v8",
    "caller's token": "eyJhbGciOiJub25lIn0.eyJ0b2tlbiI6InBhc3NlZCBvbiJ9.cGFzc2VkLW9uLXVudG91Y2hlZA",
    "basic": base64.b64encode(b"user:PasswordOfTheBasicCaller").decode(),
    "admin token": "AdminTokenOfTheRunH2j3K4l5G6f7",
    "admin guess": "AdminGuessOfSomebodyT6y7U8i9O0",
    "store password": "PasswordOfTheStoreR4t5Y6u7I8o9",
    "cookie": "CookieOfASessionW3e4R5t6Y7u8",
    "body": "BodyWithAParameterD4f5G6h7J8k9",
}
for _text in SECRETS.values():
    secret(_text)


def fragments(secret):
    """A secret whole or in part, as it stands and as it could be written."""
    for form in (secret, urllib.parse.quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("="),
                 secret.encode().hex(), secret[::-1]):
        for start in range(0, len(form) - 11, 6):
            yield form[start:start + 12]


class Run:
    """A gateway with every kind of secret, and all that it ever said."""

    def __init__(self, fleet, tmp_path, certificates):
        self.said = {}
        for name in ("admin token", "store password"):
            (tmp_path / name.replace(" ", "-")).write_text(SECRETS[name] + "\n")
        redis = fleet.redis()
        redis.command("CONFIG", "SET", "requirepass", SECRETS["store password"])
        cert, key = certificates.pair("front")
        keys = [{"id": "k1", "sha256": sha256(SECRETS["key"])}, {"id": "k2", "sha256": sha256(SECRETS["second key"])},
                {"id": "old", "sha256": sha256(SECRETS["expired key"]), "expires": "2020-01-01T00:00:00Z"},
                {"id": "far", "sha256": sha256(SECRETS["far key"]), "networks": ["10.0.0.0/8"]}]
        self.sim = fleet.simulator()
        config = fleet.config(
            self.sim.port, log={"level": "debug"}, callers=[{"name": "etl", "keys": keys}, {"name": "second", "validate": "off", "keys": [
                {"sha256": sha256(key_of("second"))}]}], workers=1, store={"redis": redis.url, "password": {"file": str(tmp_path / "store-password")}},
            listen=[{"address": f"127.0.0.1:{free_port()}", "trusted_proxies": ["127.0.0.0/8"]},
                    {"address": f"127.0.0.1:{free_port()}", "tls": {"cert_file": cert, "key_file": key, "client_ca_file": certificates.path("ca.pem")}},
                    {"address": f"127.0.0.1:{free_port()}", "trusted_proxies": ["127.0.0.0/8"], "proxy_protocol": True}])
        config["admin"]["token"] = {"file": str(tmp_path / "admin-token")}
        self.gateway = fleet.gateway(self.sim, config=config)
        self.gateway.settle()

    def ask(self, name, method, target, headers=(), body=None, tls=False, admin=False, context=None):
        port = self.gateway.admin_port if admin else self.gateway.tls_port if tls else self.gateway.port
        with Connection(port, tls=tls, name="gate.example", context=context) as connection:
            connection.send(connection.build(method, target, headers, body))
            try:
                answer = connection.response(method)
                self.said[f"answer: {name}"] = answer.raw + answer.body
                return answer.status
            except Closed as closed:
                self.said[f"cut answer: {name}"] = closed.received
                return 0

    def raw(self, name, data):
        with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        self.said[f"answer: {name}"] = received

    def command(self, *args):
        done = subprocess.run([binary("jobgate"), *args, "--config", self.gateway.config_file], capture_output=True, timeout=60, check=False)
        self.said[f"jobgate {args[0]}"] = done.stdout + done.stderr
        return done.returncode


def bearer(name):
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def good_requests(run):
    key = {"X-API-Key": SECRETS["key"], **bearer("caller's token")}
    body = f'{{"executionData": {{"parameters": {{"p": {{"value": "{SECRETS["body"]}", "type": "string"}}}}}}}}'.encode()
    for tls in (False, True):
        assert run.ask(f"run {tls}", "POST", RUN, {**key, "Cookie": SECRETS["cookie"]}, body, tls) == 202
        assert run.ask(f"list {tls}", "GET", BASE + "/instances", key, tls=tls) == 200
    assert run.ask("basic", "GET", BASE + "/instances", {"X-API-Key": SECRETS["second key"], "Authorization": f"Basic {SECRETS['basic']}"}) == 200
    assert run.ask("invalid body", "POST", RUN, key, f'{{"executionData": "{SECRETS["body"]}", "{SECRETS["body"]}": 1}}'.encode()) == 400
    for fault in ("drop", "500", "garbage"):
        run.ask(f"fault {fault}", "POST", RUN, {**key, "X-Fabricsim-Fault": fault}, body)


def refused_requests(run):
    for name in ("guess", "expired key", "far key", "caller's token"):
        assert run.ask(f"401 {name}", "POST", RUN, {"X-API-Key": SECRETS[name]}, b"{}") == 401
    assert run.ask("two keys", "GET", RUN, [("X-API-Key", SECRETS["key"]), ("X-API-Key", SECRETS["guess"])]) == 401
    assert run.ask("no key", "GET", BASE + "/instances", bearer("caller's token")) == 401
    key = SECRETS["key"]
    assert run.ask("no route", "GET", "/v1/nothing", {"X-API-Key": key}) == 404
    assert run.ask("no uuid", "GET", f"/v1/workspaces/x/items/{ITEM}/jobs/instances", {"X-API-Key": key}) == 400
    run.ask("a wrong certificate", "GET", BASE + "/instances", {"X-API-Key": key}, tls=True, context=run.context)
    run.raw("malformed", f"GET {RUN} HTTP/1.1\r\nHost: h\r\nX-API-Key : {key}\r\n\r\n".encode())
    run.raw("smuggled", f"POST {RUN} HTTP/1.1\r\nHost: h\r\nX-API-Key: {key}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    run.raw("no http", f"{key}\r\n\r\n".encode())
    run.raw("folded", f"GET {RUN} HTTP/1.1\r\nHost: h\r\nX-API-Key: a\r\n {key}\r\n\r\n".encode())
    run.raw("too large", f"GET {RUN} HTTP/1.1\r\nHost: h\r\nX-API-Key: {key * 2000}\r\n\r\n".encode())
    with socket.create_connection(("127.0.0.1", int(run.gateway.config["listen"][2]["address"].rsplit(":", 1)[1]))) as connection:
        connection.sendall(proxy2.header("203.0.113.9", tlvs=b"\x05" + bytes([0, len(key)]) + key.encode())[:-5] + key.encode())


def operations(run):
    for name, headers in (("good", bearer("admin token")), ("bad", bearer("admin guess")), ("none", {})):
        for target in ("/status", "/metrics", "/readyz", "/nothing"):
            run.ask(f"admin {target} {name}", "GET", target, headers, admin=True)
    assert run.command("status", "--json") == 0 and run.command("check") == 0 and run.command("quota") == 0
    good = run.gateway.config
    for i, broken in enumerate(({**good, "callers": [{"name": "etl", "keys": [{"sha256": SECRETS["key"]}]}]},
                                {**good, "store": {"redis": "redis://127.0.0.1:1", "password": SECRETS["store password"]}},
                                {**good, "admin": {**good["admin"], "token": SECRETS["admin token"]}})):
        run.gateway.write_config(broken)
        assert run.command("check") == 2
        run.said[f"check {i}"] = run.said["jobgate check"]
        run.gateway.send_signal(signal.SIGHUP)
        run.gateway.wait_event("reload refused", count=i + 1)
    run.gateway.write_config(good)
    run.gateway.send_signal(signal.SIGHUP)
    run.gateway.wait_event("configuration reloaded")


def collect(run):
    """Everything else that it has said or written, after its end."""
    run.gateway.stop()
    run.said["log"] = "\n".join(run.gateway.lines + run.gateway.out).encode()
    for file in glob.glob(os.path.join(run.gateway.folder, "**"), recursive=True):
        if os.path.isfile(file) and file != run.gateway.config_file:
            with open(file, "rb") as content:
                run.said[f"file {os.path.basename(file)}"] = content.read()
    assert any(name.endswith(".jsonl") for name in run.said) and len(run.said["log"]) > 2000
    return run.said


@pytest.fixture
def said(fleet, tmp_path, certificates):
    run = Run(fleet, tmp_path, certificates)
    run.context = client_context()
    run.context.load_cert_chain(*certificates.pair("foreign"))
    good_requests(run)
    refused_requests(run)
    operations(run)
    run.key_files = [certificates.path(name + ".key") for name in ("front", "foreign", "upstream")]
    wait_for(lambda: len(run.gateway.events("request")) >= 20)
    return run, collect(run)


def test_no_secret_is_said(said):
    run, texts = said
    assert len(texts) > 40
    secrets = dict(SECRETS)
    for file in run.key_files:
        with open(file, encoding="ascii") as pem:
            secrets[os.path.basename(file)] = "".join(re.findall(r"^[A-Za-z0-9+/=]+$", pem.read(), re.M))
    hits = [(name, where) for name, secret in secrets.items() for where, text in texts.items()
            if any(piece.encode() in text for piece in fragments(secret))]
    assert hits == []


def test_the_search_finds_what_it_looks_for(said):
    """The same search over the configuration's folder with a secret put into it, and over what is meant to be there."""
    _, texts = said
    assert any(piece.encode() in b"xx" + SECRETS["key"].encode()[3:40] for piece in fragments(SECRETS["key"]))
    assert WS.encode() in texts["log"] and b'"credential":"k1"' in texts["log"] and b'"suspect":"etl"' in texts["log"]


def test_the_upstream_gets_the_callers_token_and_nothing_of_ours(said):
    run, _ = said
    ledger = run.sim.ledger()
    text = str(ledger)
    assert SECRETS["caller's token"] in text and UPSTREAM in text
    for name in ("key", "second key", "expired key", "far key", "guess", "admin token", "store password", "cookie"):
        assert not any(piece in text for piece in fragments(SECRETS[name])), name
