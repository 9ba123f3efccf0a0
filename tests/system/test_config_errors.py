"""Configurations that are wrong: every error at once with its path, exit 2, nothing started; and what cannot start: exit 1."""

import json
import os
import socket
import subprocess

import pytest

from harness import BASE, KEY, binary, free_port, make_config, sha256


def run(folder, config, *command, text=None):
    """Run a command on a configuration; returns (exit code, stdout, stderr)."""
    path = os.path.join(str(folder), "jobgate.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text if text is not None else json.dumps(config))
    done = subprocess.run([binary("jobgate"), *(command or ("check",)), "--config", path], capture_output=True, text=True,
                          timeout=60, cwd=str(folder), check=False)
    return done.returncode, done.stdout, done.stderr


def change(config, path, value):
    """Set the member at a dotted path; None removes it."""
    *parents, last = path.split(".")
    for part in parents:
        config = config[int(part) if part.isdigit() else part]
    last = int(last) if last.isdigit() else last
    if value is None:
        del config[last]
    else:
        config[last] = value


def test_all_errors_at_once(tmp_path, certificates):
    config = make_config(certificates, 1)
    change(config, "upstream.quota.requests", 1)
    change(config, "upstream.quota.window", "5 minutes")
    change(config, "upstream.url", "http://plain.example")
    change(config, "callers", [{"name": "a", "keys": [{"sha256": "xyz"}]}, {"name": "a", "keys": []},
                               {"keys": [{"sha256": sha256("k")}], "locatoin": "rewrite"}])
    change(config, "wait", {"max": 20})
    change(config, "nonsense", True)
    code, out, err = run(tmp_path, config)
    assert code == 2 and out == ""
    file = os.path.join(str(tmp_path), "jobgate.json")
    lines = [line for line in err.splitlines() if line.startswith(file + ": ")]
    for path in ("upstream.quota.requests", "upstream.quota.window", "upstream.url", 'callers[0] ("a").keys[0].sha256',
                 "callers[2].locatoin", "wait.max", "nonsense"):
        assert [line for line in lines if line.startswith(f"{file}: {path}")], (path, err)
    assert not os.path.exists(tmp_path / "audit"), "nothing was started"
    assert run(tmp_path, config, "serve")[0] == 2


@pytest.mark.parametrize("path,value", [
    ("listen", None), ("upstream", None), ("callers", None), ("upstream.quota", None), ("upstream.quota.requests", 10000001),
    ("upstream.quota.requests", "200"), ("upstream.quota.burst", 10000001), ("upstream.replay_429", 1),
    ("upstream.quota.window", "0s"), ("upstream.quota.window", "2h"),
    ("listen.0.address", "127.0.0.1"), ("listen.0.address", "127.0.0.1:70000"), ("listen.0.address", "0.0.0.0:8080"),
    ("listen.1.tls.key_file", None), ("callers.0.identity", "nobody"), ("callers.0.name", ""),
    ("callers.0.validate", "maybe"), ("callers.0.allow", [{"operations": ["fly"]}]),
    ("callers.0.allow", [{"workspace": "not-a-uuid"}]), ("callers.0.allow", [{"item": "x"}]), ("limits", {"head_bytes": -1}),
    ("store", {"redis": "http://x"}), ("public_url", "ftp://x"), ("workers", 0), ("drain", {"delay": 5}),
    ("log", {"level": "loud"}),
    ("callers.0.weight", "5"), ("callers.0.rate", {"requests": 1}),
    ("store", {"redis": "redis://127.0.0.1:1", "ca_file": "ca.pem"}),
    ("store", {"redis": "redis://127.0.0.1:1", "on_failure": "open"}),
    ("listen.0.trusted_proxies", ["10.0.0.1/8"]), ("listen.0.proxy_protocol", True),
    # What later work brings is named, and says so.
    ("polls.refresh", "6m"), ("identities", [{"name": "default", "credential": {}}])])
def test_each_wrong_value(tmp_path, certificates, path, value):
    config = make_config(certificates, 1)
    change(config, path, value)
    code, _, err = run(tmp_path, config)
    assert code == 2 and err.count("\n") >= 1, (code, err)
    assert path.split(".", maxsplit=1)[0] in err, err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"listen": [],,}', '{"a":1}\n{"b":2}', "\xff"])
def test_no_json(tmp_path, text):
    code, _, err = run(tmp_path, None, text=text)
    assert code == 2 and "jobgate.json" in err


def test_a_missing_file_and_bad_arguments(tmp_path):
    done = subprocess.run([binary("jobgate"), "serve", "--config", str(tmp_path / "none.json")], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == 2 and "none.json" in done.stderr
    for args in ((), ("fly",), ("serve", "--config"), ("serve", "--nonsense")):
        assert subprocess.run([binary("jobgate"), *args], capture_output=True, timeout=30, check=False).returncode == 2
    for args in (("--help",), ("--version",)):
        done = subprocess.run([binary("jobgate"), *args], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 and "jobgate" in done.stdout


def test_the_least_configuration_starts(fleet, tmp_path, certificates):
    """As the contract prints it: relative paths, a plain loopback listener, the embedded store; no upstream is there."""
    folder = tmp_path / "least"
    folder.mkdir()
    with open(certificates.path("ca.pem"), encoding="ascii") as source:
        (folder / "ca.pem").write_text(source.read())
    config = {"$schema": "x", "comment": "as printed", "listen": [{"address": f"127.0.0.1:{free_port()}"}],
              "admin": {"address": f"127.0.0.1:{free_port()}"},
              "upstream": {"url": f"https://127.0.0.1:{free_port()}", "server_name": "api.fabric.microsoft.com",
                           "ca_file": "ca.pem", "quota": {"requests": 200, "window": "60s"}},
              "callers": [{"name": "etl", "keys": [{"sha256": sha256(KEY)}]}], "audit": {"directory": "audit"}}
    code, _, err = run(folder, config)
    assert code == 0, err
    gateway = fleet.gateway(1, folder=folder, config=config)
    assert gateway.admin("/readyz").status == 200
    assert (folder / "audit").is_dir()
    warnings = [e for e in gateway.events() if e["level"] == "warn"]
    assert len(warnings) >= 2, "the embedded store and preserved Locations are warned of once"


def test_address_in_use(fleet, certificates):
    config = make_config(certificates, 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config["listen"] = [{"address": f"127.0.0.1:{port}"}]
        gateway = fleet.gateway(1, config=config, ready=False)
        assert gateway.wait() == 1
        assert str(port) in gateway.tail() and not gateway.events("jobgate ready")


def test_two_gateways_on_one_journal(fleet):
    sim = fleet.simulator()
    first = fleet.gateway(sim)
    audit = os.path.join(first.folder, "audit")
    second = fleet.gateway(sim, audit={"directory": audit}, ready=False)
    assert second.wait() == 1
    assert str(first.pid) in second.tail()
    assert first.request("POST", f"{BASE}/DefaultJob/instances").status == 202


def test_two_gateways_on_one_port(fleet, tmp_path, certificates):
    """SO_REUSEPORT would let the second share the first one's port in silence."""
    sim = fleet.simulator()
    first = fleet.gateway(sim)
    second = fleet.gateway(sim, listen=[{"address": f"127.0.0.1:{first.port}"}], ready=False)
    assert second.wait() == 1 and str(first.port) in second.tail()


def test_check_and_quota_print(tmp_path, certificates):
    config = make_config(certificates, 1, upstream={"quota": {"requests": 200, "window": "60s"}})
    code, out, err = run(tmp_path, config)
    assert code == 0, err
    assert "etl" in out + err, "check says for which callers polls do not pass the gateway"
    code, out, err = run(tmp_path, config, "quota")
    assert code == 0 and "200" in out, err


def test_key_new():
    done = subprocess.run([binary("jobgate"), "key", "new", "adf-sales"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    key = next(word for word in done.stdout.split() if word.strip('",').startswith("jg_")).strip('",')
    assert sha256(key) in done.stdout and "adf-sales" in done.stdout
