"""Keys, key sets and tokens for the tests, made with the openssl command."""

import base64
import json
import os
import re
import subprocess
import time

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
        return text + "." + base64url(self.sign(text) if signature is None else signature)


def write_jwks(file, *keys):
    """Write a key set as a whole, in the place of what is there."""
    with open(f"{file}.new", "w", encoding="ascii") as out:
        json.dump({"keys": [key.jwk() for key in keys]}, out)
    os.replace(f"{file}.new", file)
