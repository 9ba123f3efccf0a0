"""Redis as people run it: TLS with an authority of its own, ACL users, managed kinds, ill ones."""

import os
import re
import time
from urllib.parse import quote

import pytest

from harness import BASE, ROOT, Process, Redis, check_error, free_port, secret, wait_for
from redis_double import RedisDouble

RUN = f"{BASE}/RunNotebook/instances"
QUOTA = {"quota": {"requests": 1000, "window": "1s"}}
ACCESS_KEY = secret("q/3+kT=%@:x")


def readme_acl():
    """The rules of the README's ACL line."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        line = re.search(r"^ACL SETUSER jobgate (.*)$", file.read(), re.M).group(1)
    return line.replace("PASSWORD", ACCESS_KEY).replace("PREFIX", "jobgate").split(" ")


def is_up(gateway):
    return gateway.metrics()["jobgate_store_up"] == 1


def is_down(gateway):
    return gateway.metrics()["jobgate_store_up"] == 0


def submit(gateway):
    """One job goes through, once the members of a new bucket have been heard."""
    gateway.settle()
    answer = gateway.request("POST", RUN)
    assert answer.status == 202, answer
    return answer


class TlsRedis(Redis):
    """With TLS beside the plain port; its certificate is for localhost and gate.example."""

    def __init__(self, folder, certificates):
        cert, key = certificates.pair("front")
        self.port, self.tls_port = free_port(), free_port()
        Process.__init__(self, ["redis-server", "--port", str(self.port), "--tls-port", str(self.tls_port), "--bind",
                                "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir",
                                str(folder), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file",
                                certificates.path("ca.pem"), "--tls-auth-clients", "no"], str(folder))
        wait_for(self._answers, what="redis-server")


@pytest.fixture
def tls_redis(tmp_path, certificates):
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = TlsRedis(folder, certificates)
    yield redis
    if redis.is_alive():
        redis.stop()


@pytest.fixture
def double(fleet):
    double = RedisDouble(fleet.redis().port)
    yield double
    double.close()


def test_tls_and_acl_with_the_readmes_line(fleet, certificates, tls_redis):
    """Verified TLS, a user of the README's ACL line, an access key with a slash in the URL; the key is in no log."""
    assert tls_redis.command("ACL", "SETUSER", "jobgate", *readme_acl()) == b"+OK\r\n"
    assert tls_redis.command("ACL", "SETUSER", "default", "off") == b"+OK\r\n"
    store = {"redis": f"rediss://jobgate:{quote(ACCESS_KEY, safe='')}@localhost:{tls_redis.tls_port}",
             "ca_file": certificates.path("ca.pem")}
    gateway = fleet.gateway(fleet.simulator(), store=store, upstream=QUOTA)
    submit(gateway)
    assert is_up(gateway)
    assert gateway.admin("/readyz").json() == {"status": "ok", "reasons": []}
    password = [line for line in gateway.lines if ACCESS_KEY in line or quote(ACCESS_KEY, safe="") in line]
    assert not password


def test_acl_log_is_empty(fleet, tls_redis, certificates, tmp_path):
    """By the keys for user and password, over the plain port; the server has had nothing to refuse."""
    assert tls_redis.command("ACL", "SETUSER", "jobgate", *readme_acl()) == b"+OK\r\n"
    (tmp_path / "key").write_text(ACCESS_KEY + "\n")
    store = {"redis": tls_redis.url, "username": "jobgate", "password": {"file": str(tmp_path / "key")}}
    gateway = fleet.gateway(fleet.simulator(), store=store, upstream=QUOTA)
    submit(gateway)
    assert tls_redis.command("SCRIPT", "FLUSH") == b"+OK\r\n"
    submit(gateway)
    wait_for(lambda: b":heads" in tls_redis.command("KEYS", "*"), what="the journal's head")     # another script
    assert tls_redis.command("ACL", "LOG") == b"*0\r\n"
    keys = tls_redis.command("KEYS", "*").decode().split("\r\n")[2::2]
    assert keys and all(key.startswith("jobgate:") for key in keys), keys


@pytest.mark.parametrize("missing", ["+evalsha", "+eval", "+time", "+get", "+set", "+role"])
def test_no_right_of_the_line_can_be_spared(fleet, tls_redis, missing):
    rules = readme_acl()
    assert missing in rules
    rules.remove(missing)
    assert tls_redis.command("ACL", "SETUSER", "jobgate", *rules) == b"+OK\r\n"
    store = {"redis": f"redis://jobgate:{quote(ACCESS_KEY, safe='')}@127.0.0.1:{tls_redis.port}"}
    gateway = fleet.gateway(fleet.simulator(), store=store, upstream=QUOTA)
    down = gateway.wait_event("store down")
    assert re.search("NOPERM|can't run this command", down["reason"]), down
    assert is_down(gateway)


@pytest.mark.parametrize("host,ca,why", [
    ("localhost", "foreign-ca.pem", "self-signed"), ("127.0.0.1", "ca.pem", None), ("localhost", None, "self-signed")])
def test_who_is_believed(fleet, certificates, tls_redis, host, ca, why):
    store = {"redis": f"rediss://{host}:{tls_redis.tls_port}"}
    if ca:
        store["ca_file"] = certificates.path(ca)
    gateway = fleet.gateway(fleet.simulator(), store=store, upstream=QUOTA)
    if why is None:
        submit(gateway)
    else:
        assert why in gateway.wait_event("store down")["reason"]
        assert is_down(gateway)


def test_unreadable_authorities_are_refused_at_start_and_reload(fleet, certificates, tls_redis, tmp_path):
    store = {"redis": f"rediss://localhost:{tls_redis.tls_port}", "ca_file": str(tmp_path / "missing.pem")}
    gateway = fleet.gateway(1, ready=False, store=store)
    assert gateway.wait() == 1
    assert "missing.pem" in gateway.tail()
    good = dict(store, ca_file=certificates.path("ca.pem"))
    gateway = fleet.gateway(fleet.simulator(), store=good, upstream=QUOTA)
    gateway.write_config(dict(gateway.config, store=store))
    gateway.send_signal(1)
    assert "missing.pem" in gateway.wait_event("reload refused")["message"]
    submit(gateway)


def test_managed_kind(fleet, double):
    """What such a server refuses is not fatal: CONFIG, INFO, CLIENT, even ROLE; and it cuts connections."""
    refused = b"-ERR unknown command 'X', with args beginning with: \r\n"
    double.answers = {"CONFIG": refused, "INFO": refused, "CLIENT": b"-ERR unknown subcommand 'SETNAME'\r\n", "ROLE": refused,
                      "SCRIPT": refused, "WAIT": refused, "FUNCTION": refused}
    gateway = fleet.gateway(fleet.simulator(), store={"redis": double.url}, upstream=QUOTA)
    submit(gateway)
    assert is_up(gateway)
    assert gateway.admin("/readyz").json() == {"status": "ok", "reasons": []}
    double.cut()
    gateway.wait_event("store up", 2)
    submit(gateway)


@pytest.mark.parametrize("answer", [
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    b"-READONLY You can't write against a read only replica. script: x, on @user_script:1.\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n",
    b"-CLUSTERDOWN The cluster is down\r\n", b"*0\r\n", b":1\r\n", b"*2\r\n:-1\r\n:-1\r\n"],
    ids=lambda a: re.sub(r"\W.*", "", a[1:].decode(), flags=re.S) or "array")
def test_ill_answers(fleet, double, answer):
    """Each is an ill store: nothing is sent, it is announced, and left within two seconds of the first good answer."""
    simulator = fleet.simulator()
    gateway = fleet.gateway(simulator, store={"redis": double.url}, upstream=QUOTA, wait={"max": "1s", "queue": 10})
    submit(gateway)
    double.answers = {"EVALSHA": answer, "EVAL": answer}
    wait_for(lambda: is_down(gateway), what="the store's end")
    assert "the quota's store does not answer" in gateway.admin("/readyz").json()["reasons"]
    check_error(gateway.request("POST", RUN), 503, "JobgateUnavailable")
    assert len([e for e in simulator.ledger() if e["method"] == "POST"]) == 1
    double.answers = {}
    start = time.monotonic()
    wait_for(lambda: is_up(gateway), what="the store again")
    assert time.monotonic() - start < 5
    submit(gateway)


def test_eviction_is_warned_of(fleet):
    """readyz is degraded while the policy may drop buckets, is 200 all the same, and follows a change."""
    redis = fleet.redis()
    assert redis.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru") == b"+OK\r\n"
    gateway = fleet.gateway(fleet.simulator(), store={"redis": redis.url}, upstream=QUOTA)
    ready = gateway.admin("/readyz")
    assert ready.status == 200 and ready.json()["status"] == "degraded"
    assert [r for r in ready.json()["reasons"] if "maxmemory-policy" in r]
    assert gateway.wait_event("store may evict buckets")["maxmemory_policy"] == "volatile-lru"
    submit(gateway)
    redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    wait_for(lambda: gateway.admin("/readyz").json() == {"status": "ok", "reasons": []}, timeout=30, what="readyz")
    gateway.write_config({k: v for k, v in gateway.config.items() if k != "store"})
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    gateway.wait_event("store may evict buckets", 2)
    gateway.send_signal(1)
    gateway.wait_event("configuration reloaded")
    wait_for(lambda: gateway.admin("/readyz").json()["reasons"] == [], what="the embedded store")


def test_who_may_not_read_the_policy_is_silent(fleet, double):
    """A refused CONFIG is no reason, and it is not asked for again and again."""
    double.answers = {"CONFIG": b"-NOPERM this user has no permissions to run the 'config|get' command\r\n"}
    gateway = fleet.gateway(fleet.simulator(), store={"redis": double.url}, upstream=QUOTA)
    submit(gateway)
    assert gateway.admin("/readyz").json() == {"status": "ok", "reasons": []}
    assert sum(words[0] == b"CONFIG" for words in double.seen) == 1
    assert not [e for e in gateway.events() if "evict" in e["event"]]
