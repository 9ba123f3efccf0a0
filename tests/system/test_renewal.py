"""Secrets, certificates and keys that change under a running gateway are taken over without a signal."""

import os
import re
import shutil
import socket
import ssl

import pytest

from harness import BASE, free_port
from wire import Connection, wait_for

TOKENS = ("first-token-0123456789", "second-token-0123456789", "third-token-0123456789")


def serial(gateway):
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=10) as raw, context.wrap_socket(raw) as tls:
        return tls.getpeercert(binary_form=True)


def der(file):
    with open(file, encoding="ascii") as text:
        return ssl.PEM_cert_to_DER_cert(text.read())


def status(gateway, token):
    with Connection(gateway.admin_port) as connection:
        return connection.request("GET", "/status", {"Authorization": f"Bearer {token}"}).status


@pytest.fixture
def renewed(fleet, tmp_path, certificates):
    """A gateway whose certificate and key stand in a folder of its own."""
    for name, kind in (("tls.crt", 0), ("tls.key", 1)):
        shutil.copy(certificates.pair("front")[kind], tmp_path / name)
    listen = [{"address": f"127.0.0.1:{free_port()}", "tls": {"cert_file": str(tmp_path / "tls.crt"), "key_file": str(tmp_path / "tls.key")}}]
    return fleet.gateway(fleet.simulator(), listen=listen)


def replace(source, target):
    """As most tools do: written beside it, then moved into the place."""
    shutil.copy(source, f"{target}.new")
    os.rename(f"{target}.new", target)


def test_a_renewed_certificate(renewed, tmp_path, certificates):
    cert, key = certificates.pair("wrong-name")
    with renewed.connect(tls=True) as connection:
        assert connection.request("GET", "/healthz").status == 200
        replace(key, tmp_path / "tls.key")
        replace(cert, tmp_path / "tls.crt")
        wait_for(lambda: serial(renewed) == der(cert), what="the new certificate")
        assert connection.request("GET", "/healthz").status == 200      # who was there stays
    assert "tls.crt" in renewed.wait_event("files have changed")["files"] and renewed.wait_event("configuration reloaded")
    assert len(renewed.events("configuration reloaded")) == 1


def test_a_certificate_whose_key_comes_late(renewed, tmp_path, certificates):
    """The old pair serves until the new one is whole; once refused, it is not tried again before something changes."""
    before = serial(renewed)
    cert, key = certificates.pair("wrong-name")
    shutil.copy(cert, tmp_path / "tls.crt")
    refused = renewed.wait_event("reload refused")
    assert "key values mismatch" in refused["message"]
    assert serial(renewed) == before
    shutil.copy(key, tmp_path / "tls.key")
    renewed.wait_event("configuration reloaded")
    wait_for(lambda: serial(renewed) == der(cert), what="the new pair")
    assert len(renewed.events("reload refused")) == 1


def test_kubernetes_swaps_a_link(fleet, tmp_path):
    """The file is a link through ..data, which is a link to a folder, and only that is swapped."""
    def put(version, token):
        folder = tmp_path / f"..v{version}"
        folder.mkdir()
        (folder / "token").write_text(token)
        os.symlink(folder.name, tmp_path / "..data_tmp")
        os.rename(tmp_path / "..data_tmp", tmp_path / "..data")
    put(1, TOKENS[0])
    os.symlink("..data/token", tmp_path / "token")
    config = fleet.config(1)
    config["admin"]["token"] = {"file": str(tmp_path / "token")}
    gateway = fleet.gateway(1, config=config)
    for old, (version, new) in zip(TOKENS, enumerate(TOKENS[1:], 2)):
        assert status(gateway, old) == 200
        put(version, new)
        shutil.rmtree(tmp_path / f"..v{version - 1}")
        wait_for(lambda: status(gateway, new) == 200, what="the new token")
        assert status(gateway, old) == 401
    assert not any(token in line for line in gateway.lines for token in TOKENS)


def test_a_secret_that_goes_away(fleet, tmp_path):
    """What was read stays in force, and it is said; it comes back with another value."""
    file = tmp_path / "token"
    file.write_text(TOKENS[0])
    config = fleet.config(1)
    config["admin"]["token"] = {"file": str(file)}
    gateway = fleet.gateway(1, config=config)
    file.unlink()
    assert "No such file" in gateway.wait_event("reload refused")["message"]
    assert status(gateway, TOKENS[0]) == 200
    file.write_text(TOKENS[1])
    wait_for(lambda: status(gateway, TOKENS[1]) == 200, what="the new token")


def test_no_core_file(fleet):
    gateway = fleet.gateway(1)
    with open(f"/proc/{gateway.pid}/limits", encoding="ascii") as limits:
        assert re.search(r"^Max core file size +0 +0 ", limits.read(), re.M)
