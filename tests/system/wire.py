"""An HTTP/1.1 client of a few lines that keeps every byte: names as spelled, fields in order, and raw sockets."""

import socket
import ssl
import time

from silence import check_silent, learn_shown

TIMEOUT = 30
# A secret that came in two pieces is found too, up to this length.
OVERLAP = 4096


class Closed(Exception):
    """The peer closed before a whole answer; .received has what came."""

    def __init__(self, received):
        super().__init__(f"closed after {received!r}")
        self.received = received


class Response:
    """A parsed answer."""

    def __init__(self, version, status, reason, headers, body, raw):
        self.version, self.status, self.reason = version, status, reason
        self.headers, self.body, self.raw = headers, body, raw

    def all(self, name):
        """The values of all fields of that name, case ignored."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name):
        """The value of the only field of that name, or None."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times in {self.headers}"
        return values[0] if values else None

    def exact(self, name):
        """The value of the field spelled exactly so, or None."""
        return dict(self.headers).get(name)

    def json(self):
        import json
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body!r}>"


def client_context(ca=None, verify=False):
    """A TLS client context that offers http/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if ca is not None:
        context.load_verify_locations(ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """One connection, plain or TLS; requests one after another."""

    def __init__(self, port, tls=False, host="127.0.0.1", name="api.fabric.microsoft.com", timeout=TIMEOUT, context=None,
                 source=None):
        self.socket = socket.create_connection((host, port), timeout=timeout, source_address=source and (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = (context or client_context()).wrap_socket(self.socket, server_hostname=name)
        self.buffer = self.heard = b""
        self.host_header = f"{host}:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def half_close(self):
        """Say that nothing more will be sent; a TLS connection says it at the TCP level."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def reset(self):
        """Close with a TCP reset."""
        import struct
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw = self.socket
        if isinstance(raw, ssl.SSLSocket):
            raw = socket.socket(fileno=self.socket.detach())
        raw.close()

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError, BrokenPipeError):
            data = b""
        if not data:
            raise Closed(self.buffer)
        self.buffer += data
        self.heard = self.heard[-OVERLAP:] + data
        check_silent(self.heard, "an answer")

    def _until(self, mark):
        while mark not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(mark)
        return head + mark

    def _exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def _chunked(self):
        body, raw = b"", b""
        while True:
            line = self._until(b"\r\n")
            raw += line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while line != b"\r\n":
                    line = self._until(b"\r\n")
                    raw += line
                return body, raw
            data = self._exactly(size + 2)
            raw += data
            body += data[:-2]

    def response(self, method="GET"):
        """Read one whole answer; interim ones are skipped. Raises Closed where the peer closes before."""
        while True:
            head = self._until(b"\r\n\r\n")
            lines = head[:-4].split(b"\r\n")
            version, status, reason = (lines[0].decode("latin-1") + "  ").split(" ", 2)
            headers = []
            for line in lines[1:]:
                name, _, value = line.partition(b":")
                headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
            status = int(status)
            if status >= 200:
                break
        answer = Response(version, status, reason.strip(), headers, b"", head)
        if method == "HEAD" or status in (204, 304):
            return answer
        if "chunked" in (answer.get("Transfer-Encoding") or ""):
            answer.body, raw = self._chunked()
            answer.raw += raw
        elif answer.get("Content-Length") is not None:
            answer.body = self._exactly(int(answer.get("Content-Length")))
            answer.raw += answer.body
        else:
            try:
                while True:
                    self._more()
            except Closed:
                answer.body, self.buffer = self.buffer, b""
                answer.raw += answer.body
        return answer

    def build(self, method, target, headers=(), body=None):
        """The bytes of a request; Host and Content-Length are added where missing."""
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        names = {n.lower() for n, _ in headers}
        if "host" not in names:
            headers.insert(0, ("Host", self.host_header))
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        head = head.encode("latin-1")
        learn_shown(head)
        return head + (body or b"")

    def request(self, method, target, headers=(), body=None):
        self.send(self.build(method, target, headers, body))
        return self.response(method)

    def is_closed(self, timeout=5):
        """Whether the peer closes within that time without sending another byte."""
        self.socket.settimeout(timeout)
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except (ConnectionResetError, ssl.SSLEOFError, BrokenPipeError):
            return self.buffer == b""
        except (TimeoutError, socket.timeout):
            return False
        finally:
            self.socket.settimeout(TIMEOUT)

    def is_open(self, timeout=0.2):
        """Whether the connection is still there and silent after that time."""
        return not self.is_closed(timeout) and self.buffer == b""


def wait_for(condition, timeout=TIMEOUT, what="the condition"):
    """Poll until CONDITION() is true and return its value; fail loudly otherwise."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.01)
