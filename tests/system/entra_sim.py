"""Token endpoints as Entra, instance metadata (IMDS) and App Service have them, as strict as the real ones; each a server in a thread."""

import base64
import hashlib
import http.server
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

from harness import secret

TENANT, CLIENT = "72f988bf-86f1-41af-91ab-2d7cd011db47", "0b5b0f3c-2c54-4a0c-93b5-16e5b5b2d6a1"
SCOPE = "https://api.fabric.microsoft.com/.default"
RESOURCE = "https://api.fabric.microsoft.com"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Refused(Exception):
    """What the endpoint says no to, and with which status and error."""

    def __init__(self, error, status=400):
        super().__init__(error)
        self.error, self.status = error, status


def need(condition, error, status=400):
    if not condition:
        raise Refused(error, status)


def unpadded(text):
    need(text and "=" not in text, "invalid_client")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Endpoint:
    """A server of tokens. HOLD: answers wait for it; FAIL: (status, body, headers) instead of tokens, while it is set."""

    def __init__(self, certificates=None, port=0):
        self.requests, self.tokens, self.refused = [], [], []
        self.hold, self.fail, self.life = None, None, 3600
        self.certificates, self.port = certificates, port
        self.server = None
        self.start()

    def start(self):
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                endpoint.answer(self)

            def do_POST(self):
                endpoint.answer(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 1024   # many identities ask at once

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        if self.certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificates.pair("front"))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"{'https' if self.certificates else 'http'}://127.0.0.1:{self.port}"

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        self.requests.append((handler.path, body))
        if self.hold:
            self.hold.wait(20)
        headers = []
        if self.fail:
            status, answer, headers = self.fail
        else:
            try:
                self.judge(handler, body)
                status, answer = 200, self.issue()
            except Refused as refused:
                self.refused.append(refused.error)
                status, answer = refused.status, {"error": refused.error, "error_codes": [7000215],
                                                  "error_description": f"AADSTS7000215: no. {body}"}
        data = json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers]:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def new_token(self):
        self.tokens.append(secret(f"eyJ0.token-{self.port}-{len(self.tokens) + 1}.c2lnbmF0dXJl"))
        return self.tokens[-1]

    def judge(self, handler, body):
        raise NotImplementedError

    def issue(self):
        return {"token_type": "Bearer", "expires_in": self.life, "ext_expires_in": self.life, "access_token": self.new_token()}


class Entra(Endpoint):
    """PROOF: the secret, the certificate's file, or the federated token that the client must show."""

    def __init__(self, certificates, secret=None, certificate=None, federated=None):
        self.secret, self.certificate, self.federated = secret, certificate, federated
        self.seen_jti = set()
        super().__init__(certificates)

    def judge(self, handler, body):
        need(handler.command == "POST" and handler.path == f"/{TENANT}/oauth2/v2.0/token", "invalid_request", 404)
        need(handler.headers.get("Content-Type") == "application/x-www-form-urlencoded", "invalid_request")
        form = dict(urllib.parse.parse_qsl(body, strict_parsing=True))
        need(form.get("grant_type") == "client_credentials", "unsupported_grant_type")
        need(form.get("client_id") == CLIENT, "unauthorized_client")
        need(form.get("scope") == SCOPE, "invalid_scope")
        if self.secret is not None:
            need(form.get("client_secret") == self.secret, "invalid_client", 401)
            need(len(form) == 4, "invalid_request")
            return
        need(form.get("client_assertion_type") == JWT_BEARER and len(form) == 5, "invalid_client", 401)
        if self.federated is not None:
            need(form.get("client_assertion") == self.federated, "invalid_client", 401)
        else:
            self.judge_assertion(form.get("client_assertion", ""))

    def judge_assertion(self, assertion):
        parts = assertion.split(".")
        need(len(parts) == 3, "invalid_client", 401)
        header, claims = (json.loads(unpadded(part)) for part in parts[:2])
        der = subprocess.run(["openssl", "x509", "-in", self.certificate, "-outform", "DER"], capture_output=True, check=True).stdout
        thumb = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        need(header == {"alg": "PS256", "typ": "JWT", "x5t#S256": thumb}, "invalid_client", 401)
        now = time.time()
        need(claims["aud"] == f"{self.url}/{TENANT}/oauth2/v2.0/token", "invalid_client", 401)
        need(claims["iss"] == claims["sub"] == CLIENT, "invalid_client", 401)
        need(claims["nbf"] <= now + 1 and now - 5 < claims["iat"] <= now + 1 and now < claims["exp"] <= now + 600, "invalid_client", 401)
        need(claims["jti"] not in self.seen_jti and len(claims["jti"]) >= 16, "invalid_client", 401)
        self.seen_jti.add(claims["jti"])
        need(self.verifies(".".join(parts[:2]), unpadded(parts[2])), "invalid_client", 401)

    def verifies(self, text, signature):
        with tempfile.TemporaryDirectory() as folder:
            key, proof = os.path.join(folder, "key"), os.path.join(folder, "proof")
            with open(key, "wb") as file:
                file.write(subprocess.run(["openssl", "x509", "-in", self.certificate, "-noout", "-pubkey"], capture_output=True,
                                          check=True).stdout)
            with open(proof, "wb") as file:
                file.write(signature)
            done = subprocess.run(["openssl", "dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32",
                                   "-verify", key, "-signature", proof], input=text.encode(), capture_output=True, check=False)
        return done.returncode == 0


class Imds(Endpoint):
    """Instance metadata: plain http, numbers as strings."""

    def judge(self, handler, body):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query, strict_parsing=True))
        need(handler.command == "GET" and url.path == "/metadata/identity/oauth2/token" and body == "", "invalid_request", 404)
        need(handler.headers.get("Metadata") == "true" and handler.headers.get("X-Forwarded-For") is None, "invalid_request")
        need(query.pop("api-version", "") == "2018-02-01" and query.pop("resource", "") == RESOURCE, "invalid_resource")
        need(query in ({}, {"client_id": CLIENT}), "invalid_request")

    def issue(self):
        return {"access_token": self.new_token(), "client_id": CLIENT, "expires_in": str(self.life),
                "expires_on": str(int(time.time()) + self.life), "ext_expires_in": str(self.life), "not_before": "0",
                "resource": RESOURCE, "token_type": "Bearer"}


class AppService(Endpoint):
    """App Service and Container Apps: a header of the environment's, and expires_on alone."""

    HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"

    def judge(self, handler, body):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query, strict_parsing=True))
        need(handler.command == "GET" and url.path == "/msi/token" and body == "", "invalid_request", 404)
        need(handler.headers.get("X-IDENTITY-HEADER") == self.HEADER, "invalid_request", 401)
        need(query.pop("api-version", "") == "2019-08-01" and query.pop("resource", "") == RESOURCE, "invalid_resource")
        need(query in ({}, {"client_id": CLIENT}), "invalid_request")

    def issue(self):
        return {"access_token": self.new_token(), "expires_on": str(int(time.time()) + self.life), "resource": RESOURCE,
                "token_type": "Bearer", "client_id": CLIENT}

    @property
    def environment(self):
        return {"IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self.HEADER}
