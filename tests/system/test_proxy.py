"""A network that lets nothing out but through its proxy, and private links with a name for each workspace."""

import signal

import pytest

from entra_sim import CLIENT, TENANT, Entra, Imds
from harness import BASE, ITEM, KEY, WS, check_error, check_failed, elapsed, field, key_of, sha256
from proxy_sim import Proxy

RUN, LIST = f"{BASE}/DefaultJob/instances", f"{BASE}/instances"
UPSTREAM, HOST = "api.fabric.microsoft.com:443", "api.fabric.microsoft.com"
PRIVATE = f"{WS.replace('-', '')}.z{WS[:2]}.w.{HOST}"
PASSWORD = "p@ss/w%rd of the proxy"


@pytest.fixture
def proxies():
    started = []
    yield lambda *args, **more: started.append(Proxy(*args, **more)) or started[-1]
    for proxy in started:
        proxy.stop()


def start(fleet, proxy, upstream=None, **changes):
    """A gateway that knows the upstream by its real name, which nobody but the proxy can resolve."""
    return fleet.gateway(0, upstream={"url": f"https://{HOST}", "server_name": HOST, "proxy": proxy.url, **(upstream or {})}, **changes)


def test_upstream_through_a_proxy(fleet, proxies, tmp_path):
    """The proxy is told the name and its own password, and sees nothing of the request; TLS is verified through it."""
    sim = fleet.simulator()
    proxy = proxies({UPSTREAM: sim.port}, user=f"gate:{PASSWORD}")
    (tmp_path / "password").write_text(PASSWORD)
    gateway = start(fleet, proxy, {"proxy": proxy.url.replace("://", "://gate@"), "proxy_password": {"file": str(tmp_path / "password")}})
    for _ in range(3):
        assert gateway.request("POST", RUN, [("Authorization", "Bearer callers")], b"{}").status == 202
    assert len(sim.ledger()) == 3
    for asked in proxy.asked:
        assert asked.startswith(f"CONNECT {UPSTREAM} HTTP/1.1\r\nHost: {UPSTREAM}\r\nProxy-Authorization: Basic ")
        assert len(asked.splitlines()) == 4 and asked.endswith("\r\n\r\n")
    assert ITEM.encode() not in proxy.through and b"Bearer" not in proxy.through
    assert not any(PASSWORD in line or "p%40ss" in line for line in gateway.lines)


REFUSALS = {
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy answered 403"),
    "407": (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "the proxy answered 407"),
    "gateway": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered 502"),
    "garbage": (b"220 mail.example ESMTP\r\n", "the proxy's answer is not HTTP/1.1"),
    "cut": (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection before its answer"),
    "eager": (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n", "the proxy sent bytes before the handshake"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_no_tunnel(fleet, proxies, name):
    answer, why = REFUSALS[name]
    gateway = start(fleet, proxies(answer=answer))
    refused = gateway.request("POST", RUN, body=b"{}")
    check_error(refused, 502, "JobgateUpstreamUnavailable")
    check_failed(gateway, refused)
    assert gateway.wait_event("upstream unreachable")["why"] == why


def test_silent_and_absent_proxy(fleet, proxies):
    silent = proxies(silent=True)
    gateway = start(fleet, silent, {"timeout": "500ms"})
    refused, seconds = elapsed(gateway.request, "POST", RUN, body=b"{}")
    check_error(refused, 504, "JobgateUpstreamUnavailable")
    assert seconds < 5 and gateway.wait_event("upstream unreachable")["why"] == "the proxy has given no tunnel in time"
    absent = proxies()
    absent.stop()
    gateway = start(fleet, absent)
    check_error(gateway.request("POST", RUN, body=b"{}"), 502, "JobgateUpstreamUnavailable")
    assert gateway.wait_event("upstream unreachable")["why"] == "Connection refused"


def test_a_proxy_that_leads_elsewhere(fleet, proxies):
    sim = fleet.simulator(certificate="wrong-name")
    gateway = start(fleet, proxies({UPSTREAM: sim.port}))
    check_error(gateway.request("POST", RUN, body=b"{}"), 502, "JobgateUpstreamUnavailable")
    assert "hostname mismatch" in gateway.wait_event("upstream unreachable")["why"] and sim.ledger() == []


def test_tokens_through_the_proxy_but_not_from_the_machine(fleet, proxies):
    """Entra is asked through the proxy, instance metadata never; no_proxy keeps a host from it; a reload may take the proxy away."""
    entra, imds, sim = Entra(fleet.certificates, secret="s3cret"), Imds(), fleet.simulator()
    try:
        place = f"127.0.0.1:{entra.port}"
        proxy = proxies({UPSTREAM: sim.port, place: entra.port})
        credential = {"client_secret": {"tenant": TENANT, "client_id": CLIENT, "secret": {"env": "SP"}, "authority": entra.url,
                                        "ca_file": fleet.certificates.path("ca.pem")}}
        gateway = start(fleet, proxy, env={"SP": "s3cret"},
                        identities=[{"name": "sp", "credential": credential},
                                    {"name": "vm", "credential": {"managed_identity": {"endpoint": imds.url}}}],
                        callers=[{"name": name, "identity": name, "keys": [{"sha256": sha256(key)}], "allow": [{}]}
                                 for name, key in (("sp", KEY), ("vm", key_of("vm")))])
        assert gateway.request("GET", LIST).status == 200 and gateway.request("GET", LIST, key=key_of("vm")).status == 200
        assert sorted({asked.split()[1] for asked in proxy.asked}) == sorted([place, UPSTREAM])
        assert len(imds.requests) == 1
        count = sum(place in asked for asked in proxy.asked)
        config = {**gateway.config, "upstream": {**gateway.config["upstream"], "no_proxy": ["127.0.0.0/8"]}}
        gateway.write_config(config)
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded")
        assert gateway.request("GET", LIST).status == 200
        while len(entra.tokens) < 2:
            assert gateway.request("GET", LIST).status == 200
        assert sum(place in asked for asked in proxy.asked) == count
    finally:
        entra.stop()
        imds.stop()


def test_no_proxy(fleet, proxies):
    sim, proxy = fleet.simulator(), proxies()
    gateway = fleet.gateway(sim, upstream={"proxy": proxy.url, "no_proxy": ["127.0.0.0/8"]})
    assert gateway.request("GET", LIST).status == 200 and proxy.asked == []
    gateway = fleet.gateway(sim, upstream={"proxy": proxy.url, "no_proxy": ["corp.example"]})
    check_error(gateway.request("GET", LIST), 502, "JobgateUpstreamUnavailable")
    assert proxy.asked


@pytest.mark.parametrize("origin", [f"https://{HOST}", f"https://{PRIVATE}"], ids=["general", "private"])
def test_private_links(fleet, proxies, origin):
    """Each workspace has a host of its own, in TLS as in Host; Locations of it and of the general origin are both rewritten."""
    fleet.certificates._issue("private", HOST, extra=f"DNS:*.z{WS[:2]}.w.{HOST}")
    sim = fleet.simulator("--origin", origin, certificate="private")
    proxy = proxies({f"{PRIVATE}:443": sim.port, UPSTREAM: sim.port})
    gateway = start(fleet, proxy, {"private_link": True}, public_url="https://gate.example")
    answer = gateway.request("POST", RUN, body=b"{}")
    assert answer.status == 202 and answer.get("Location").startswith(f"https://gate.example{BASE}/instances/")
    poll = gateway.request("GET", answer.get("Location").removeprefix("https://gate.example"))
    assert poll.status == 200
    assert {asked.split()[1] for asked in proxy.asked} == {f"{PRIVATE}:443"}
    assert {field(entry, "Host")[0] for entry in sim.ledger()} == {PRIVATE}
    unknown = gateway.request("POST", RUN, [("X-Fabricsim-Fault", "drop")], b"{}")
    assert unknown.status == 409 and unknown.get("Location").startswith(f"https://gate.example{BASE}/instances")


def test_many_private_links(fleet, proxies):
    """More workspaces than a worker keeps hosts for: the least used give their places."""
    names = [f"{n:02x}218778-e7a5-4d73-8187-f10824047715" for n in range(100)]
    hosts = {w: f"{w.replace('-', '')}.z{w[:2]}.w.{HOST}" for w in names}
    fleet.certificates._issue("many", HOST, extra=",".join(f"DNS:*.z{w[:2]}.w.{HOST}" for w in names))
    sim = fleet.simulator(certificate="many")
    proxy = proxies({f"{host}:443": sim.port for host in hosts.values()})
    gateway = start(fleet, proxy, {"private_link": True}, workers=1)
    with gateway.connect() as connection:
        for w in [*names, *names]:
            target = LIST.replace(WS, w)
            assert connection.request("GET", target, [("X-API-Key", KEY)]).status == 200
    assert [field(entry, "Host")[0] for entry in sim.ledger()] == [hosts[w] for w in [*names, *names]]
