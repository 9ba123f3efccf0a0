"""Certificates for the tests, made with the openssl command: right ones, and each kind of wrong one."""

import os
import subprocess

UPSTREAM = "api.fabric.microsoft.com"


class Certificates:
    """A folder with a CA, the upstream's and the front's certificates, and wrong ones."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self._ca("ca")
        self._ca("foreign-ca")
        self._issue("upstream", UPSTREAM)
        self._issue("front", "gate.example", extra="DNS:localhost,IP:127.0.0.1")
        self._issue("wrong-name", "other.example")
        self._issue("foreign", UPSTREAM, ca="foreign-ca")
        self._issue("expired", UPSTREAM, days="-1")
        self._issue("client-only", UPSTREAM, usage="clientAuth")

    def path(self, name):
        return os.path.join(self.folder, name)

    def pair(self, name):
        """Certificate and key file of that name."""
        return self.path(name + ".pem"), self.path(name + ".key")

    def _run(self, *args):
        done = subprocess.run(["openssl", *args], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def _key(self, name):
        self._run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name + ".key")

    def _ca(self, name):
        self._key(name)
        self._run("req", "-x509", "-new", "-key", name + ".key", "-out", name + ".pem", "-days", "120", "-subj",
                  f"/CN=jobgate test {name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _issue(self, name, host, ca="ca", days="120", usage="serverAuth", extra=None):
        self._key(name)
        names = f"DNS:{host}" + (f",{extra}" if extra else "")
        with open(self.path(name + ".ext"), "w", encoding="ascii") as out:
            out.write(f"basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n"
                      f"subjectAltName={names}\n")
        self._run("req", "-new", "-key", name + ".key", "-out", name + ".csr", "-subj", f"/CN={host}")
        self._run("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial",
                  "-days", days, "-extfile", name + ".ext", "-out", name + ".pem")
