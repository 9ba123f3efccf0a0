"""Keys, key sets and tokens for the tests, made with the openssl command."""

import base64
import json
import os
import re
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import secret

TENANT = "11111111-2222-3333-4444-555555555555"
ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
AUDIENCE = "https://api.fabric.microsoft.com"
ETL, REPORTS, STRANGER = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "ae9")


def base64url(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """An RSA key in a folder."""

    def __init__(self, folder, kid):
        self.kid, self.file = kid, os.path.join(str(folder), f"{kid}.key")
        self._run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.file)

    @staticmethod
    def _run(*args, data=None):
        done = subprocess.run(["openssl", *args], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jwk(self):
        modulus = self._run("rsa", "-in", self.file, "-noout", "-modulus").decode()
        number = bytes.fromhex(re.search("=([0-9A-F]+)", modulus).group(1))
        return {"kty": "RSA", "use": "sig", "kid": self.kid, "n": base64url(number), "e": "AQAB", "x5t": self.kid}

    def pem(self):
        return self._run("rsa", "-in", self.file, "-pubout")

    def sign(self, text):
        return self._run("dgst", "-sha256", "-sign", self.file, data=text.encode())

    def token(self, header=None, signature=None, **claims):
        """A token of etl as Entra makes it; CLAIMS change it, None takes one away."""
        now = int(time.time())
        full = {"iss": ISSUER, "aud": AUDIENCE, "iat": now - 5, "nbf": now - 5, "exp": now + 3600, "tid": TENANT, "oid": ETL,
                "azp": STRANGER, "sub": "pairwise", "uti": "uti-of-this-token", "ver": "2.0", **claims}
        head = {"typ": "JWT", "alg": "RS256", "kid": self.kid, **(header or {})}
        text = base64url(head) + "." + base64url({k: v for k, v in full.items() if v is not None})
        signature = base64url(self.sign(text) if signature is None else signature)
        return f"{text}.{secret(signature) if signature else ''}"


def write_jwks(file, *keys):
    """Write a key set as a whole, in the place of what is there."""
    with open(f"{file}.new", "w", encoding="ascii") as out:
        json.dump({"keys": [key.jwk() for key in keys]}, out)
    os.replace(f"{file}.new", file)


class KeyServer:
    """An https server on a port of loopback that gives a key set, until it is closed."""

    def __init__(self, certificates, port=0):
        owner, self.keys, self.asked = self, [], 0

        class Handler(BaseHTTPRequestHandler):
            """Answers every GET."""

            def do_GET(self):   # pylint: disable=invalid-name
                """With the keys of the moment."""
                owner.asked += 1
                body = json.dumps({"keys": [key.jwk() for key in owner.keys]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.pair("front"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        """Answer no more."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
