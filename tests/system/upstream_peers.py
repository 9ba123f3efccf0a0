"""Upstreams with every kind of certificate, right and wrong, and a server that counts what it is sent behind its handshake."""

import os
import socket
import ssl
import threading

from certificates import UPSTREAM, Certificates

OTHER = "other.example"
LEAF = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
SERVER = "extendedKeyUsage=serverAuth\n"
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
PAST, SOON, NOW, LATER = "20200101000000Z", "20200201000000Z", "20240101000000Z", "20991231000000Z"


def dns(*names):
    return "subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\n"


def raw_dns(name):
    """A subjectAltName whose only name has those bytes."""
    inner = b"\x82" + bytes([len(name)]) + name
    der = b"\x30" + bytes([len(inner)]) + inner
    return "subjectAltName=DER:" + ":".join(f"{byte:02X}" for byte in der) + "\n"


# Name: extensions of the leaf, what else differs, and what its server_name is.
GOOD = {
    "exact": (LEAF + SERVER + dns(OTHER, UPSTREAM.upper()), {}, UPSTREAM),
    "wildcard": (LEAF + SERVER + dns("*.fabric.microsoft.com"), {}, UPSTREAM),
    "intermediate": (LEAF + SERVER + dns(UPSTREAM), {"by": "middle", "chain": ["middle"]}, UPSTREAM),
    "rsa": (LEAF + SERVER + dns(UPSTREAM), {"key": "rsa:2048"}, UPSTREAM),
    "address": (LEAF + SERVER + "subjectAltName=IP:127.0.0.1\n", {}, "127.0.0.1"),
}
BAD = {
    "expired": (LEAF + SERVER + dns(UPSTREAM), {"dates": (PAST, SOON)}, UPSTREAM),
    "not-yet-valid": (LEAF + SERVER + dns(UPSTREAM), {"dates": ("20980101000000Z", LATER)}, UPSTREAM),
    "wrong-name": (LEAF + SERVER + dns(OTHER), {}, UPSTREAM),
    "longer-name": (LEAF + SERVER + dns(UPSTREAM + "." + OTHER), {}, UPSTREAM),
    "name-in-front": (LEAF + SERVER + dns("evil" + UPSTREAM, "evil." + UPSTREAM), {}, UPSTREAM),
    "name-in-cn-only": (LEAF + SERVER, {}, UPSTREAM),
    "name-in-cn-beside-another": (LEAF + SERVER + dns(OTHER), {}, UPSTREAM),
    "name-as-uri": (LEAF + SERVER + f"subjectAltName=URI:https://{UPSTREAM}/\n", {}, UPSTREAM),
    "name-as-mail": (LEAF + SERVER + f"subjectAltName=email:a@{UPSTREAM}\n", {}, UPSTREAM),
    "nul-in-name": (LEAF + SERVER + raw_dns(UPSTREAM.encode() + b"\0." + OTHER.encode()), {}, UPSTREAM),
    "partial-wildcard": (LEAF + SERVER + dns("a*.fabric.microsoft.com", "*i.fabric.microsoft.com", "a*i.fabric.microsoft.com"), {}, UPSTREAM),
    "wildcard-of-two-labels": (LEAF + SERVER + dns("*.microsoft.com"), {}, UPSTREAM),
    "wildcard-inside": (LEAF + SERVER + dns("api.*.microsoft.com"), {}, UPSTREAM),
    "wildcard-alone": (LEAF + SERVER + dns("*"), {}, UPSTREAM),
    "client-purpose": (LEAF + "extendedKeyUsage=clientAuth\n" + dns(UPSTREAM), {}, UPSTREAM),
    "code-purpose": (LEAF + "extendedKeyUsage=codeSigning\n" + dns(UPSTREAM), {}, UPSTREAM),
    "self-signed": (LEAF + SERVER + dns(UPSTREAM), {"by": None}, UPSTREAM),
    "foreign-authority": (LEAF + SERVER + dns(UPSTREAM), {"by": "foreign"}, UPSTREAM),
    "same-name-authority": (LEAF + SERVER + dns(UPSTREAM), {"by": "twin"}, UPSTREAM),
    "missing-intermediate": (LEAF + SERVER + dns(UPSTREAM), {"by": "middle"}, UPSTREAM),
    "expired-intermediate": (LEAF + SERVER + dns(UPSTREAM), {"by": "old-middle", "chain": ["old-middle"]}, UPSTREAM),
    "issued-by-a-leaf": (LEAF + SERVER + dns(UPSTREAM), {"by": "leaf-middle", "chain": ["leaf-middle"]}, UPSTREAM),
    "constrained-intermediate": (LEAF + SERVER + dns(UPSTREAM), {"by": "bound-middle", "chain": ["bound-middle"]}, UPSTREAM),
    "path-too-long": (LEAF + SERVER + dns(UPSTREAM), {"by": "deep-middle", "chain": ["deep-middle", "short-middle"]}, UPSTREAM),
    "weak-key": (LEAF + SERVER + dns(UPSTREAM), {"key": "rsa:1024"}, UPSTREAM),
    "sha1": (LEAF + SERVER + dns(UPSTREAM), {"digest": "sha1"}, UPSTREAM),
    "unknown-critical": (LEAF + SERVER + dns(UPSTREAM) + "1.2.3.4.5=critical,ASN1:NULL\n", {}, UPSTREAM),
    "other-address": (LEAF + SERVER + "subjectAltName=IP:127.0.0.2\n", {}, "127.0.0.1"),
    "address-as-name": (LEAF + SERVER + dns("127.0.0.1"), {}, "127.0.0.1"),
}


class Peers(Certificates):
    """A folder with authorities and a chain for each row above."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        for name, subject in (("root", "root"), ("foreign", "foreign"), ("twin", "root")):
            self._new_key(name, "ec")
            self._run("req", "-x509", "-new", "-key", name + ".key", "-out", name + ".pem", "-days", "3650", "-subj", f"/CN=peers {subject}",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.issue("middle", AUTHORITY)
        self.issue("old-middle", AUTHORITY, dates=(PAST, SOON))
        self.issue("leaf-middle", LEAF)
        self.issue("bound-middle", AUTHORITY + f"nameConstraints=critical,permitted;DNS:{OTHER}\n")
        self.issue("short-middle", AUTHORITY.replace("CA:TRUE", "CA:TRUE,pathlen:0"))
        self.issue("deep-middle", AUTHORITY, by="short-middle")

    def _new_key(self, name, kind):
        if kind == "ec":
            self._key(name)
        else:
            self._run("genrsa", "-out", name + ".key", kind.removeprefix("rsa:"))

    def issue(self, name, extensions, by="root", key="ec", dates=(NOW, LATER), digest="sha256", chain=()):
        """A certificate by `openssl ca`, which alone can choose both dates, and the file of its chain."""
        self._new_key(name, key)
        with open(self.path(name + ".ext"), "w", encoding="ascii") as out:
            out.write(extensions)
        with open(self.path("ca.cnf"), "w", encoding="ascii") as out:
            out.write("[ca]\ndefault_ca=one\n[one]\ndatabase=index\nnew_certs_dir=.\nunique_subject=no\nrand_serial=yes\nemail_in_dn=no\npolicy=any\n"
                      "[any]\ncommonName=supplied\n")
        open(self.path("index"), "w", encoding="ascii").close()
        self._run("req", "-new", "-key", name + ".key", "-out", name + ".csr", "-subj", f"/CN={UPSTREAM if 'middle' not in name else name}")
        signer = ["-selfsign", "-keyfile", name + ".key"] if by is None else ["-cert", by + ".pem", "-keyfile", by + ".key"]
        self._run("ca", "-batch", "-config", "ca.cnf", "-notext", *signer, "-in", name + ".csr", "-out", name + ".pem",
                  "-md", digest, "-startdate", dates[0], "-enddate", dates[1], "-extfile", name + ".ext")
        with open(self.path(name + ".chain"), "wb") as out:
            for part in (name, *chain):
                with open(self.path(part + ".pem"), "rb") as certificate:
                    out.write(certificate.read())


class Peer:
    """A TLS server with a chain; what it is sent behind the handshake is kept, and answered."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    def __init__(self, chain, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_ciphers("DEFAULT:@SECLEVEL=0")      # it may show what nobody should believe
        self.context.load_cert_chain(chain, key)
        self.connections, self.received = 0, b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        connection.settimeout(20)
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                while data := tls.recv(65536):
                    self.received += data
                    if b"\r\n\r\n" in self.received:
                        tls.sendall(self.ANSWER)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self):
        self.socket.close()
