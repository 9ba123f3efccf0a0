"""Callers known by client certificates: good, wrong, disagreeing, renewed authorities, and resumed sessions."""

import hashlib
import os
import signal
import ssl
import subprocess

import pytest

from certificates import Certificates
from harness import BASE, KEY, check_error, free_port, key_of, sha256
from wire import Connection, wait_for

LIST = BASE + "/instances"
RUN = BASE + "/RunNotebook/instances"


class Clients(Certificates):
    """Authorities and certificates of clients."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self._ca("ca")
        self._ca("foreign-ca")
        self._ca("next-ca")
        self.client("etl", "DNS:Etl.Example,URI:spiffe://corp.example/etl")
        self.client("mail", "email:reports@Corp.Example")
        self.client("pinned", "DNS:whatever.example")
        self.client("both", "DNS:etl.example,email:reports@corp.example")
        self.client("nobody", "DNS:nobody.example")
        self.client("deeper", "DNS:sub.etl.example")
        self.client("none", "IP:10.0.0.1")
        self.client("foreign", "DNS:etl.example", ca="foreign-ca")
        self.client("expired", "DNS:etl.example", days="-1")
        self.client("server", "DNS:etl.example", usage="serverAuth")
        self.client("next", "DNS:etl.example", ca="next-ca")
        self.client("self", "DNS:etl.example", ca=None)

    def client(self, name, names, ca="ca", days="30", usage="clientAuth"):
        self._key(name)
        with open(self.path(name + ".ext"), "w", encoding="ascii") as out:
            out.write(f"basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\nsubjectAltName={names}\n")
        self._run("req", "-new", "-key", name + ".key", "-out", name + ".csr", "-subj", "/CN=etl.example")
        by = ["-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial"] if ca else ["-signkey", name + ".key"]
        self._run("x509", "-req", "-in", name + ".csr", *by, "-days", days, "-extfile", name + ".ext", "-out", name + ".pem")

    def spki(self, name):
        der = subprocess.run(["openssl", "pkey", "-in", self.path(name + ".key"), "-pubout", "-outform", "DER"], capture_output=True,
                             check=True).stdout
        return hashlib.sha256(der).hexdigest()

    def context(self, name, tls12=False):
        """A client that shows that certificate; None: none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if name:
            context.load_cert_chain(*self.pair(name))
        return context


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    return Clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def sim(module_fleet):
    return module_fleet.simulator()


def make(fleet, sim, certificates, clients, ca="ca.pem", **more):
    cert, key = certificates.pair("front")
    tls = {"cert_file": cert, "key_file": key, "client_ca_file": clients.path(ca)}
    callers = [{"name": "etl", "keys": [{"id": "k1", "sha256": sha256(KEY)}],
                "certificates": [{"id": "by-name", "san": "DNS:etl.example"}, {"id": "by-key", "spki_sha256": clients.spki("pinned")}]},
               {"name": "reports", "certificates": [{"san": "email:reports@corp.example"}]},
               {"name": "other-one", "keys": [{"id": "o1", "sha256": sha256(key_of("other"))}]}]
    return fleet.gateway(sim, listen=[{"address": f"127.0.0.1:{free_port()}", "tls": tls}], callers=callers, workers=1, **more)


@pytest.fixture(scope="module")
def gateway(module_fleet, sim, certificates, clients):
    return make(module_fleet, sim, certificates, clients)


def ask(gateway, context, key=None, target=LIST, method="GET", body=None):
    with Connection(gateway.tls_port, tls=True, context=context) as connection:
        return connection.request(method, target, {"X-API-Key": key} if key else {}, body)


def line_of(gateway, answer):
    name = answer.get("X-Request-Id")
    return wait_for(lambda: [e for e in gateway.events("request") if e["request_id"] == name], what="its log line")[0]


@pytest.mark.parametrize("tls12", [False, True], ids=["1.3", "1.2"])
@pytest.mark.parametrize("shown,key,caller,credential", [
    ("etl", None, "etl", "by-name"), ("pinned", None, "etl", "by-key"), ("mail", None, "reports", "email:reports@corp.example"),
    ("etl", KEY, "etl", "k1"), ("nobody", KEY, "etl", "k1"), (None, KEY, "etl", "k1"), ("none", key_of("other"), "other-one", "o1")])
def test_good(gateway, clients, shown, key, caller, credential, tls12):
    answer = ask(gateway, clients.context(shown, tls12), key)
    assert answer.status == 200
    line = line_of(gateway, answer)
    assert (line["caller"], line["credential"], line["reason"]) == (caller, credential, "")


def test_the_record_names_the_entry(gateway, clients):
    answer = ask(gateway, clients.context("etl"), target=RUN, method="POST", body=b"{}")
    assert answer.status == 202
    record = wait_for(lambda: [r for r in gateway.records("intent") if r["request_id"] == answer.get("X-Request-Id")])[0]
    assert (record["caller"], record["key"]) == ("etl", "by-name")
    config = gateway.records("config")[0]
    assert config["callers"][0]["keys"] == ["k1", "by-name", "by-key"]


@pytest.mark.parametrize("tls12", [False, True], ids=["1.3", "1.2"])
@pytest.mark.parametrize("shown,key,reason,words", [
    ("foreign", None, "certificate", "unable to get local issuer certificate"), ("foreign", KEY, "certificate", "unable to get local issuer"),
    ("expired", None, "certificate", "certificate has expired"), ("expired", KEY, "certificate", "certificate has expired"),
    ("server", None, "certificate", "unsuitable certificate purpose"), ("self", None, "certificate", "self-signed certificate"),
    ("next", KEY, "certificate", "unable to get local issuer certificate"),
    ("nobody", None, "unknown", "nobody's here"), ("deeper", None, "unknown", "nobody's"), ("none", None, "unknown", "nobody's"),
    (None, None, "missing", "No key"),
    ("both", None, "conflict", "more than one caller"), ("etl", key_of("other"), "conflict", "different callers"),
    ("mail", KEY, "conflict", "different callers"), ("etl", "key-of-nobody", "unknown", "not known here")])
def test_wrong(gateway, clients, shown, key, reason, words, tls12):
    answer = ask(gateway, clients.context(shown, tls12), key)
    body = check_error(answer, 401, "JobgateUnauthenticated", closes=reason == "certificate")
    assert words in body["message"]
    line = line_of(gateway, answer)
    assert (line["reason"], line["caller"]) == (reason, "unknown")


def test_proof_of_the_key_is_demanded(clients):
    """Python cannot even load a certificate with another's key: who has only the certificate has nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(clients.path("etl.pem"), clients.path("nobody.key"))


@pytest.mark.parametrize("tls12", [False, True], ids=["1.3", "1.2"])
def test_resumed_sessions_keep_their_own_identity(gateway, clients, tls12):
    """Sessions of several clients, resumed in turn: each is who it was, and who showed nothing is still nobody."""
    sessions, contexts = {}, {}
    for name in ("etl", "mail", "expired", None):
        contexts[name] = clients.context(name, tls12)
        with Connection(gateway.tls_port, tls=True, context=contexts[name]) as connection:
            connection.request("GET", "/healthz")
            sessions[name] = connection.socket.session
    for name, caller in (("mail", "reports"), ("etl", "etl"), (None, "unknown"), ("expired", "unknown"), ("etl", "etl")):
        connection = Connection(gateway.tls_port)
        connection.socket = contexts[name].wrap_socket(connection.socket, session=sessions[name])
        assert connection.socket.session_reused, name
        answer = connection.request("GET", LIST)
        assert line_of(gateway, answer)["caller"] == caller
        sessions[name] = connection.socket.session      # a ticket of 1.3 is for one use
        connection.close()


def test_a_reload_changes_the_authorities_under_open_connections(fleet, sim, certificates, clients):
    """The old authority's client is refused at its next request, on the connection that it has, and by its session; the new one's gets in."""
    gateway = make(fleet, sim, certificates, clients)
    context = clients.context("etl")
    old = Connection(gateway.tls_port, tls=True, context=context)
    assert old.request("GET", LIST).status == 200
    session = old.socket.session
    assert ask(gateway, clients.context("next")).status == 401
    config = {**gateway.config}
    config["listen"][0]["tls"]["client_ca_file"] = clients.path("next-ca.pem")
    gateway.write_config(config)
    gateway.send_signal(signal.SIGHUP)
    gateway.wait_event("configuration reloaded")
    wait_for(lambda: ask(gateway, clients.context("next")).status == 200, what="the new authority")
    check_error(old.request("GET", LIST), 401, "JobgateUnauthenticated", closes=True)
    old.close()
    resumed = Connection(gateway.tls_port)
    resumed.socket = context.wrap_socket(resumed.socket, session=session)
    assert not resumed.socket.session_reused
    assert resumed.request("GET", LIST).status == 401
    resumed.close()


def test_a_reload_that_changes_nothing_keeps_connections(fleet, sim, certificates, clients):
    gateway = make(fleet, sim, certificates, clients)
    with Connection(gateway.tls_port, tls=True, context=clients.context("etl")) as connection:
        assert connection.request("GET", LIST).status == 200
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_event("configuration reloaded")
        for _ in range(3):
            assert connection.request("GET", LIST).status == 200


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_wrong_file_of_authorities(fleet, sim, certificates, clients, content):
    file = clients.path(f"wrong-{content}.pem")
    if content is not None:
        with open(file, "w", encoding="ascii") as out:
            out.write(content)
    cert, key = certificates.pair("front")
    config = fleet.config(sim.port, listen=[{"address": f"127.0.0.1:{free_port()}",
                                             "tls": {"cert_file": cert, "key_file": key, "client_ca_file": file}}])
    gateway = fleet.gateway(sim, config=config, ready=False)
    assert gateway.wait(30) == 1
    assert any(file in e["message"] for e in gateway.events("cannot start"))
