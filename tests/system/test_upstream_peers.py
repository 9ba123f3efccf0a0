"""No byte of HTTP goes to an upstream whose certificate is not right in every respect."""

import pytest

from harness import BASE, check_error
from upstream_peers import BAD, GOOD, Peer, Peers

LIST = BASE + "/instances"
# Each is refused for its own fault, not for another that the test made by accident.
WHY = {
    **dict.fromkeys(["expired", "expired-intermediate"], "certificate has expired"),
    **dict.fromkeys(["not-yet-valid"], "certificate is not yet valid"),
    **dict.fromkeys(["wrong-name", "longer-name", "name-in-front", "name-in-cn-only", "name-in-cn-beside-another",
                    "name-as-uri", "name-as-mail", "nul-in-name", "partial-wildcard", "wildcard-of-two-labels",
                    "wildcard-inside", "wildcard-alone"], "hostname mismatch"),
    **dict.fromkeys(["client-purpose", "code-purpose"], "unsuitable certificate purpose"),
    **dict.fromkeys(["self-signed"], "self-signed certificate"),
    **dict.fromkeys(["foreign-authority", "same-name-authority", "missing-intermediate"],
                    "unable to get local issuer certificate"),
    **dict.fromkeys(["issued-by-a-leaf"], "invalid CA certificate"),
    **dict.fromkeys(["constrained-intermediate"], "permitted subtree violation"),
    **dict.fromkeys(["path-too-long"], "path length constraint exceeded"),
    **dict.fromkeys(["weak-key"], "EE certificate key too weak"),
    **dict.fromkeys(["sha1"], "CA signature digest algorithm too weak"),
    **dict.fromkeys(["unknown-critical"], "unhandled critical extension"),
    **dict.fromkeys(["other-address", "address-as-name"], "IP address mismatch"),
}


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    return Peers(tmp_path_factory.mktemp("peers"))


def ask(fleet, peers, name, row):
    """A POST and a GET through a gateway in front of such a peer; the answers, and the peer."""
    extensions, more, server_name = row
    chain = more.get("chain", ())
    peers.issue(name, extensions, **{**more, "chain": chain})
    peer = Peer(peers.path(name + ".chain"), peers.path(name + ".key"))
    gateway = fleet.gateway(peer.port, upstream={"server_name": server_name, "ca_file": peers.path("root.pem")}, workers=1)
    answers = [gateway.request("GET", LIST), gateway.request("POST", BASE + "/RunNotebook/instances", {}, b'{"executionData": {}}')]
    peer.close()
    return answers, peer, gateway


def test_there_are_enough():
    assert len(BAD) >= 20 and len(GOOD) >= 3 and set(WHY) == set(BAD)


@pytest.mark.parametrize("name", GOOD)
def test_good(fleet, peers, name):
    answers, peer, _ = ask(fleet, peers, name, GOOD[name])
    assert [answer.status for answer in answers] == [200, 200]
    assert peer.received.startswith(b"GET /v1/")


@pytest.mark.parametrize("name", BAD)
def test_bad(fleet, peers, name):
    answers, peer, gateway = ask(fleet, peers, name, BAD[name])
    for answer in answers:
        body = check_error(answer, 502, "JobgateUpstreamUnavailable")
        assert body["isRetriable"]
    assert peer.connections >= 2 and peer.received == b""
    assert WHY[name] in gateway.wait_event("upstream unreachable")["why"]
