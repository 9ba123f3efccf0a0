"""Where a client is: behind proxies that name it in X-Forwarded-For, and behind such that speak the PROXY protocol."""

import signal
import socket
import ssl
import time

import pytest

import proxy2
from harness import BASE, KEY, free_port, sha256
from wire import Closed, Connection, client_context, wait_for

LIST = BASE + "/instances"
HERE = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def sim(module_fleet):
    return module_fleet.simulator()


def listeners(certificates, **more):
    cert, key = certificates.pair("front")
    return [{"address": f"127.0.0.1:{free_port()}", **more},
            {"address": f"127.0.0.1:{free_port()}", "tls": {"cert_file": cert, "key_file": key}, **more}]


@pytest.fixture(scope="module")
def forwarded(module_fleet, sim, certificates):
    return module_fleet.gateway(sim, listen=listeners(certificates, trusted_proxies=HERE + ["10.0.0.0/8"]))


@pytest.fixture(scope="module")
def proxied(module_fleet, sim, certificates):
    return module_fleet.gateway(sim, limits={"head_timeout": "2s"},
                                listen=listeners(certificates, trusted_proxies=HERE + ["10.0.0.0/8"], proxy_protocol=True))


def peer_of(gateway, answer):
    """The peer in the log line of a request."""
    name = answer.get("X-Request-Id")
    return wait_for(lambda: [e["peer"] for e in gateway.events("request") if e["request_id"] == name], what="its log line")[0]


@pytest.mark.parametrize("fields,peer", [
    (["203.0.113.9"], "203.0.113.9"), (["192.0.2.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    (["203.0.113.9", "10.0.0.2"], "203.0.113.9"), (["2001:db8::7"], "2001:db8::7"), (["203.0.113.9:4711"], "203.0.113.9"),
    (["10.0.0.3, 10.0.0.2"], "10.0.0.3"), (["unknown"], None), (["203.0.113.9, "], None), ([], None)])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_forwarded_for(forwarded, sim, fields, peer, tls):
    answer = forwarded.request("GET", LIST, [("X-Forwarded-For", f) for f in fields], tls=tls)
    assert answer.status == 200
    said = peer_of(forwarded, answer)
    assert said == peer if peer else said.startswith("127.0.0.1:")


def test_forwarded_for_is_in_the_record(forwarded):
    forwarded.request("POST", BASE + "/RunNotebook/instances", {"X-Forwarded-For": "203.0.113.77"}, b"{}")
    assert wait_for(lambda: [r for r in forwarded.records("intent") if r["peer"] == "203.0.113.77"])


def test_nobody_else_is_believed(fleet, sim):
    """Without trusted_proxies, and from a peer that is none of them, the field is what anybody may write."""
    for listen in ({}, {"trusted_proxies": ["10.0.0.0/8"]}):
        gateway = fleet.gateway(sim, listen=[{"address": f"127.0.0.1:{free_port()}", **listen}])
        answer = gateway.request("GET", LIST, {"X-Forwarded-For": "203.0.113.9"})
        assert peer_of(gateway, answer).startswith("127.0.0.1:")


def test_networks_of_a_key_are_the_clients(fleet, sim):
    """The proxy's own address opens nothing; the client's does."""
    gateway = fleet.gateway(sim, listen=[{"address": f"127.0.0.1:{free_port()}", "trusted_proxies": HERE}],
                            callers=[{"name": "etl", "keys": [{"sha256": sha256(KEY), "networks": ["203.0.113.0/24"]}]}])
    for client, status in ((None, 401), ("203.0.113.9", 200), ("192.0.2.1", 401), ("203.0.113.9, 192.0.2.1", 401)):
        fields = {"X-Forwarded-For": client} if client else {}
        assert gateway.request("GET", LIST, fields).status == status, client
    assert gateway.request("GET", LIST, {"X-Forwarded-For": "unknown"}).status == 401
    gateway.write_config({**gateway.config, "listen": [{"address": gateway.config["listen"][0]["address"]}]})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    wait_for(lambda: gateway.request("GET", LIST, {"X-Forwarded-For": "203.0.113.9"}).status == 401, what="no trust any more")


@pytest.mark.parametrize("client", ["unknown", "203.0.113.9, _hidden", ""])
def test_a_client_that_nobody_knows_is_in_no_network(fleet, sim, client):
    """The proxy says that it asks for somebody, but not readably for whom: its own network is not the client's."""
    gateway = fleet.gateway(sim, listen=[{"address": f"127.0.0.1:{free_port()}", "trusted_proxies": HERE}],
                            callers=[{"name": "etl", "keys": [{"sha256": sha256(KEY), "networks": ["127.0.0.0/8"]}]}])
    assert gateway.request("GET", LIST).status == 200
    assert gateway.request("GET", LIST, {"X-Forwarded-For": client}).status == 401


def ports(gateway):
    return [(gateway.port, False), (gateway.tls_port, True)]


@pytest.mark.parametrize("source,tlvs,peer", [("203.0.113.9", b"", "203.0.113.9:40000"), ("2001:db8::7", b"", "[2001:db8::7]:40000"),
                                              ("203.0.113.9", b"\x04\x03\xe8" + b"x" * 1000, "203.0.113.9:40000")])
def test_proxy_protocol(proxied, source, tlvs, peer):
    for port, tls in ports(proxied):
        with proxy2.connect(port, proxy2.header(source, tlvs=tlvs), tls) as connection:
            for _ in range(2):      # the header is said once a connection
                answer = connection.request("GET", LIST, {"X-API-Key": KEY})
                assert answer.status == 200 and peer_of(proxied, answer) == peer


def test_proxy_protocol_of_the_proxy_itself(proxied):
    for port, tls in ports(proxied):
        with proxy2.connect(port, proxy2.LOCAL, tls) as connection:
            assert connection.request("GET", "/healthz").status == 200
            answer = connection.request("GET", LIST, {"X-API-Key": KEY})
            assert peer_of(proxied, answer).startswith("127.0.0.1:")


def test_proxy_protocol_and_another_proxy_behind(proxied):
    """The client that the header names is itself a trusted proxy: for whom it asks stands in its X-Forwarded-For."""
    with proxy2.connect(proxied.port, proxy2.header("10.0.0.2")) as connection:
        answer = connection.request("GET", LIST, {"X-API-Key": KEY, "X-Forwarded-For": "203.0.113.9"})
        assert peer_of(proxied, answer) == "203.0.113.9"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_proxy_protocol_byte_after_byte(proxied, tls):
    port = proxied.tls_port if tls else proxied.port
    connection = Connection(port)
    for byte in proxy2.header("203.0.113.9"):
        connection.send(bytes([byte]))
        time.sleep(0.002)       # a segment each
    if tls:
        connection.socket = client_context().wrap_socket(connection.socket, server_hostname="gate.example")
    answer = connection.request("GET", LIST, {"X-API-Key": KEY})
    assert answer.status == 200 and peer_of(proxied, answer) == "203.0.113.9:40000"
    connection.close()


def test_proxy_protocol_in_one_breath(proxied):
    """Header, request and the end in one segment."""
    before = len(proxied.events("request"))
    connection = Connection(proxied.port)
    request = connection.build("GET", LIST, {"X-API-Key": KEY})
    connection.send(proxy2.header("203.0.113.88") + request)
    connection.close()
    wait_for(lambda: [e for e in proxied.events("request")[before:] if e["peer"] == "203.0.113.88:40000"])


def test_proxy_protocol_with_the_hello(proxied):
    """Header and ClientHello in one segment: not a byte of the handshake may be lost to the header's reader."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname="gate.example")
    connection = socket.create_connection(("127.0.0.1", proxied.tls_port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    prefix = proxy2.header("203.0.113.99")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            connection.sendall(prefix + outgoing.read())
            prefix = b""
            incoming.write(connection.recv(65536))
    connection.sendall(outgoing.read())
    connection.close()


WRONG = [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n", b"\x16\x03\x01\x02\x00\x01",
         proxy2.SIGNATURE + b"\x11\x11\x00\x0c" + b"\0" * 12, proxy2.SIGNATURE + b"\x21\x12\x00\x0c" + b"\0" * 12,
         proxy2.SIGNATURE + b"\x21\x11\xff\xff", proxy2.SIGNATURE + b"\x21\x11\x00\x04abcd", b"\0" * 16]


@pytest.mark.parametrize("prefix", WRONG, ids=range(len(WRONG)))
def test_without_a_header_nothing_is_said(proxied, prefix):
    for port, _ in ports(proxied):
        with Connection(port) as connection:
            connection.send(prefix)
            with pytest.raises(Closed) as closed:
                connection.response()
            assert closed.value.received == b""
    wait_for(lambda: any("does not begin with a header" in e["why"] for e in proxied.events("connection refused")), what="the log line")


@pytest.mark.parametrize("prefix", [b"", proxy2.SIGNATURE[:5], proxy2.header("203.0.113.9")[:20]], ids=["nothing", "begun", "cut"])
def test_header_has_the_heads_time(proxied, prefix):
    for port, _ in ports(proxied):
        with Connection(port) as connection:
            connection.send(prefix)
            begun = time.monotonic()
            assert connection.is_closed(timeout=10)
            assert 1.5 < time.monotonic() - begun < 6


def test_header_and_handshake_have_one_time(proxied):
    """The header whole, then silence instead of a handshake."""
    with Connection(proxied.tls_port) as connection:
        connection.send(proxy2.header("203.0.113.9"))
        assert connection.is_closed(timeout=10)


def test_a_header_from_who_is_no_proxy(fleet, sim, certificates):
    gateway = fleet.gateway(sim, listen=listeners(certificates, trusted_proxies=["10.0.0.0/8"], proxy_protocol=True))
    for port, _ in ports(gateway):
        with Connection(port) as connection:
            try:
                connection.send(proxy2.header("203.0.113.9") + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            except (ConnectionResetError, BrokenPipeError):
                pass
            with pytest.raises(Closed) as closed:
                connection.response()
            assert closed.value.received == b""
    wait_for(lambda: len(gateway.events("connection refused")) == 2, what="both log lines")


def test_a_header_where_none_is_expected(fleet, sim):
    """On any other listener it is what it looks like: no HTTP."""
    gateway = fleet.gateway(sim, listen=[{"address": f"127.0.0.1:{free_port()}", "trusted_proxies": HERE}])
    with Connection(gateway.port) as connection:
        connection.send(proxy2.header("203.0.113.9") + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.response().status == 400


def test_reload_turns_it_on(fleet, sim):
    gateway = fleet.gateway(sim)
    assert gateway.request("GET", LIST).status == 200
    listen = [{**listener, "trusted_proxies": HERE, "proxy_protocol": True} for listener in gateway.config["listen"]]
    gateway.write_config({**gateway.config, "listen": listen})
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")

    def speaks():
        try:
            with proxy2.connect(gateway.tls_port, proxy2.header("203.0.113.9"), tls=True) as connection:
                return connection.request("GET", LIST, {"X-API-Key": KEY}).status == 200
        except (Closed, OSError):
            return False
    wait_for(speaks, what="the PROXY protocol")
