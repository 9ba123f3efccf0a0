"""jobgate check and jobgate key new, through the real binary (environment variable JOBGATE, else build/jobgate).

Needs Debian's python3-pytest and openssl.
"""

import copy
import hashlib
import json
import os
import pathlib
import re
import subprocess
import zlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOBGATE = os.environ.get("JOBGATE", str(ROOT / "build" / "jobgate"))
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def jobgate(*arguments, env=None):
    return subprocess.run([JOBGATE, *map(str, arguments)], capture_output=True, text=True, timeout=20, env=env)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with two certificates (one that ends tomorrow) and their keys."""
    folder = tmp_path_factory.mktemp("tls")
    for name, days in (("gate", 365), ("short", 1)):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-subj", "/CN=localhost", "-days", str(days), "-keyout", folder / f"{name}.key",
                        "-out", folder / f"{name}.crt"], check=True, capture_output=True)
        (folder / f"{name}.key").chmod(0o600)
    return folder


@pytest.fixture
def config(certificates):
    return {
        "listen": [{"address": "127.0.0.1:8443", "tls": {"cert_file": str(certificates / "gate.crt"),
                                                         "key_file": str(certificates / "gate.key")}}],
        "upstream": {"url": "https://127.0.0.1:9443", "ca_file": str(certificates / "gate.crt"),
                     "quota": {"requests": 200, "window": "60s"}},
        "callers": [{"name": "etl", "keys": [{"sha256": "ab" * 32}]}],
        "audit": {"directory": "audit"},
    }


def check(tmp_path, config, **env):
    file = tmp_path / "jobgate.json"
    file.write_text(json.dumps(config))
    before = sorted(p.name for p in tmp_path.iterdir())
    run = jobgate("check", "--config", file, env={**os.environ, **env})
    assert sorted(p.name for p in tmp_path.iterdir()) == before     # nothing was made
    assert (f"{file}: ok\n" == run.stdout) == (run.returncode == 0)
    return run.returncode, [line.removeprefix(f"{file}: ") for line in run.stderr.splitlines()]


def test_right_configuration_says_ok_and_warns(tmp_path, config):
    code, lines = check(tmp_path, config)
    assert code == 0
    assert len(lines) == 2 and all(line.startswith("warning: ") for line in lines)
    assert "this instance alone" in lines[0]
    assert 'bypass the gate for caller "etl"' in lines[1]


def test_wrong_configuration_says_all_and_exits_2(tmp_path, config):
    config["workers"] = 0
    config["callers"][0]["alow"] = []
    config["listen"][0]["tls"]["cert_file"] = "/no/such/file"   # not looked at before the text is right
    code, lines = check(tmp_path, config)
    assert code == 2
    assert lines == ["workers: must be 1 to 64, is 0", 'callers[0] ("etl").alow: unknown key; did you mean "allow"?']


def test_what_is_named_but_missing_exits_1_and_is_listed_whole(tmp_path, config):
    config["listen"][0]["tls"]["cert_file"] = "missing.crt"
    config["upstream"]["ca_file"] = "missing-ca.pem"
    config["store"] = {"redis": "rediss://localhost", "ca_file": "missing-store-ca.pem", "password": {"file": "missing-secret"}}
    config["audit"]["directory"] = "no/parent/audit"
    code, lines = check(tmp_path, config)
    assert code == 1
    faults = [line for line in lines if not line.startswith("warning: ")]
    assert [line.partition(": ")[0] for line in faults] == ["listen[0].tls", "upstream.ca_file", "store.password",
                                                             "store.ca_file", "audit.directory"]
    assert all("No such file or directory" in line for line in faults)
    assert all(line.count(str(tmp_path)) == 1 for line in faults[:-1])  # one fault a line
    assert all(str(tmp_path) in line for line in faults)        # relative to the configuration's folder


def test_key_that_is_not_the_certificates(tmp_path, config, certificates):
    config["listen"][0]["tls"]["key_file"] = str(certificates / "short.key")
    code, lines = check(tmp_path, config)
    assert code == 1 and lines[0].startswith("listen[0].tls: ")


def test_warnings_about_files(tmp_path, config, certificates):
    key = tmp_path / "open.key"
    key.write_bytes((certificates / "short.key").read_bytes())
    key.chmod(0o644)
    secret = tmp_path / "secret"
    secret.write_text("pass\n")
    secret.chmod(0o604)
    config["listen"][0]["tls"] = {"cert_file": str(certificates / "short.crt"), "key_file": "open.key"}
    config["store"] = {"redis": "redis://localhost", "password": {"file": "secret"}}
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o640)
    config["admin"] = {"token": {"file": "token"}}
    config["public_url"] = "https://gate.example"
    code, lines = check(tmp_path, config)
    assert code == 0
    assert len(lines) == 4
    assert re.search(r"short.crt expires in [01] days", lines[0])
    assert lines[1].endswith("open.key can be read by every user of this machine (mode 0644)")
    assert lines[2].endswith("secret can be read by every user of this machine (mode 0604)")
    assert lines[3].endswith("token can be read by its group (mode 0640)")


def test_password_in_a_configuration_that_all_can_read(tmp_path, config):
    config["store"] = {"redis": "redis://u:hunter2@localhost"}
    code, lines = check(tmp_path, config)
    assert code == 0
    assert any("store.redis (holds a password)" in line for line in lines)
    assert not any("hunter2" in line for line in lines)


def test_secret_of_the_environment(tmp_path, config):
    config["store"] = {"redis": "redis://localhost", "password": {"env": "TEST_CHECK_SECRET"}}
    assert check(tmp_path, config)[0] == 1
    assert check(tmp_path, config, TEST_CHECK_SECRET="pass")[0] == 0


def test_default_audit_directory_is_systemds(tmp_path, config):
    del config["audit"]
    (tmp_path / "state").mkdir()
    assert check(tmp_path, config, STATE_DIRECTORY=str(tmp_path / "state"))[0] == 0
    code, lines = check(tmp_path, config, STATE_DIRECTORY=str(tmp_path / "none"))
    assert code == 1 and f"{tmp_path}/none/audit: cannot be made" in lines[0]


def test_no_secret_is_ever_shown(tmp_path, config):
    """Whatever stands in the wrong place, no sentence repeats it: configurations are pasted into tickets."""
    wrong = copy.deepcopy(config)
    wrong["store"] = {"redis": "redis://u:hunter2@host:bad", "password": "hunter2"}
    wrong["callers"][0]["keys"][0]["sha256"] = "jg_hunter2"
    wrong["upstream"]["url"] = "https://u:hunter2@host"
    wrong["public_url"] = "u:hunter2@host"
    code, lines = check(tmp_path, wrong)
    assert code == 2 and len(lines) == 5
    assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize("arguments", [("check", "--config"), ("check", "x"), ("check", "--config", "a", "b"), ("key",),
                                       ("key", "new"), ("key", "new", "a b"), ("key", "new", ""), ("key", "old", "a"),
                                       ("check", "--config", "/no/such/file")])
def test_usage_errors_exit_2(arguments):
    run = jobgate(*arguments)
    assert run.returncode == 2 and run.stderr and not run.stdout


@pytest.mark.parametrize("command", ["check", "key"])
def test_help(command):
    run = jobgate(command, "--help")
    assert run.returncode == 0 and run.stdout.startswith(f"usage: jobgate {command}") and not run.stderr


def test_key_has_the_form_and_the_configuration_takes_it(tmp_path, config):
    seen = set()
    for _ in range(20):
        run = jobgate("key", "new", "adf-sales")
        assert run.returncode == 0
        key, line = run.stdout.splitlines()
        assert re.fullmatch(r"jg_[0-9A-Za-z]{49}", key)
        assert key not in run.stderr and key not in line
        crc, digits = zlib.crc32(key[:46].encode()), ""
        for _ in range(6):
            crc, digit = divmod(crc, 62)
            digits = BASE62[digit] + digits
        assert key[46:] == digits
        caller = json.loads(line)
        digest = hashlib.sha256(key.encode()).hexdigest()
        assert caller == {"name": "adf-sales", "keys": [{"id": digest[:8], "sha256": digest}]}
        seen.add(key)
        config["callers"] = [caller]
    assert len(seen) == 20
    assert check(tmp_path, config)[0] == 0


def test_key_that_cannot_be_printed_is_a_failure():
    with open("/dev/full", "w") as full:
        run = subprocess.run([JOBGATE, "key", "new", "a"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert run.returncode == 1 and "No space left" in run.stderr
