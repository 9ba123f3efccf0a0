"""The primary that Sentinels name, through failovers that are asked for and such that are not."""

import time

import pytest

from harness import BASE, ROOT, wait_for
from redis_double import RedisDouble
from sentinels import Sentinel

RUN = f"{BASE}/RunNotebook/instances"
QUOTA = {"quota": {"requests": 1000, "window": "1s"}}


@pytest.fixture
def servers(fleet, tmp_path):
    """Two servers, the second a replica of the first, and three Sentinels."""
    primary, replica = fleet.redis(), fleet.redis()
    replica.command("REPLICAOF", "127.0.0.1", primary.port)
    sentinels = [fleet._keep(Sentinel(tmp_path, primary.port, 2)) for _ in range(3)]
    for sentinel in sentinels:
        wait_for(lambda s=sentinel: s.is_ready(2), timeout=60, what="the Sentinels' acquaintance")
    return primary, replica, sentinels


def store_url(sentinels, credentials=""):
    return f"redis+sentinel://{credentials}{','.join(f'127.0.0.1:{s.port}' for s in sentinels)}/main"


def submit(gateway):
    answer = gateway.request("POST", RUN)
    assert answer.status == 202, answer


def clients(redis):
    """How many connections of gateways a server has."""
    return redis.command("CLIENT", "LIST").count(b"name=jobgate")


def test_failovers(fleet, servers):
    """Asked for, then by kill -9 of the primary and of a Sentinel: it goes where the new primary is, by itself."""
    primary, replica, sentinels = servers
    simulator = fleet.simulator()
    gateway = fleet.gateway(simulator, store={"redis": store_url(sentinels)}, upstream=QUOTA)
    submit(gateway)
    assert (clients(primary), clients(replica)) == (1, 0)
    wait_for(lambda: sentinels[1].command("SENTINEL", "FAILOVER", "main") == b"+OK\r\n", what="a Sentinel willing to fail over")
    gateway.wait_event("store up", 2)
    submit(gateway)
    assert (clients(primary), clients(replica)) == (0, 1)
    # The old primary becomes a replica of the new one; then both the new primary and a Sentinel are killed.
    for sentinel in sentinels:
        wait_for(lambda s=sentinel: s.is_ready(2) and s.primary() == replica.port, what="the Sentinels' agreement")
    sentinels[0].kill()
    replica.kill()
    start = time.monotonic()
    gateway.wait_event("store up", 3)
    assert time.monotonic() - start < 20
    submit(gateway)
    assert clients(primary) == 1
    assert primary.command("ROLE").startswith(b"*3\r\n$6\r\nmaster")


def named(port):
    return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)


def test_word_that_role_does_not_confirm(fleet):
    """Who is named but says itself that it is a replica is not used; the Sentinel is asked again until it is right."""
    primary, replica = fleet.redis(), fleet.redis()
    replica.command("REPLICAOF", "127.0.0.1", primary.port)
    liar = RedisDouble(primary.port)
    liar.answers = {"SENTINEL": named(replica.port)}
    gateway = fleet.gateway(fleet.simulator(), store={"redis": store_url([liar])}, upstream=QUOTA)
    assert "ROLE" in gateway.wait_event("store down")["reason"]
    wait_for(lambda: sum(words[0] == b"SENTINEL" for words in liar.seen) >= 4, what="more questions")
    assert gateway.metrics()["jobgate_store_up"] == 0
    liar.answers = {"SENTINEL": named(primary.port)}
    gateway.wait_event("store up")
    submit(gateway)
    assert {tuple(words) for words in liar.seen} == {(b"SENTINEL", b"get-master-addr-by-name", b"main")}
    liar.close()


@pytest.mark.parametrize("answer,why", [
    (b"*-1\r\n", "does not know this service"), (b"-IDONTKNOW I have not enough information\r\n", "IDONTKNOW"),
    (b"-NOAUTH Authentication required.\r\n", "NOAUTH"), (b"*0\r\n", "oddly"), (b":1\r\n", "oddly"), (named(0), "oddly"),
    (named(70000), "oddly"), (b"*2\r\n$0\r\n\r\n$1\r\n1\r\n", "oddly"), (b"*3\r\n:1\r\n:2\r\n:3\r\n", "oddly"),
    (b"*2\r\n*0\r\n$1\r\n1\r\n", "oddly"), (named(1), "refused"), (b"garbage\r\n", "Protocol error")],
    ids=lambda x: x if isinstance(x, str) else "")
def test_odd_words(fleet, answer, why):
    """None does harm, and the next Sentinel is asked in the same attempt where there is one."""
    primary = fleet.redis()
    odd = RedisDouble(primary.port)
    odd.answers = {"SENTINEL": answer}
    simulator = fleet.simulator()
    gateway = fleet.gateway(simulator, store={"redis": store_url([odd])}, upstream=QUOTA)
    assert why in gateway.wait_event("store down")["reason"]
    good = RedisDouble(primary.port)
    good.answers = {"SENTINEL": named(primary.port)}
    gateway = fleet.gateway(simulator, store={"redis": store_url([odd, good])}, upstream=QUOTA)
    gateway.wait_event("store up")
    submit(gateway)
    assert "AUTH" not in odd.names() | good.names()
    odd.close()
    good.close()


def test_sentinels_away_unknown_or_with_passwords(fleet, tmp_path):
    """Those that are away or know no such service are passed over; one that demands a password gets it."""
    password = "s/e%c"
    primary = fleet.redis()
    primary.command("CONFIG", "SET", "requirepass", password)
    closed = type("Closed", (), {"port": 1})
    stranger = fleet.redis()
    (tmp_path / "password").write_text(password)
    guarded = fleet._keep(Sentinel(tmp_path, primary.port, 1, password))
    assert guarded.command("SENTINEL", "masters").startswith(b"-NOAUTH")
    gateway = fleet.gateway(fleet.simulator(), store={
        "redis": store_url([closed, stranger, guarded]), "password": {"file": str(tmp_path / "password")}}, upstream=QUOTA)
    submit(gateway)
    assert len(gateway.events("store down")) == 0, gateway.events("store down")


def test_reload_to_sentinels(fleet, servers):
    """A running gateway moves to the Sentinels' primary by SIGHUP."""
    primary, _, sentinels = servers
    other = fleet.redis()
    gateway = fleet.gateway(fleet.simulator(), store={"redis": other.url}, upstream=QUOTA)
    gateway.write_config(dict(gateway.config, store={"redis": store_url(sentinels)}))
    gateway.send_signal(1)
    gateway.wait_event("configuration reloaded")
    wait_for(lambda: clients(primary) == 1 and clients(other) == 0, what="the move")
    submit(gateway)
