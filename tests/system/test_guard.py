"""The guard: every row of what HTTP parsers disagree about, as raw bytes on a plain and on a TLS listener.

Refused rows are followed by a second request that must never be executed: not one byte of it may reach the upstream.
"""

import pytest

from harness import BASE, KEY, check_error, sha256
from wire import Closed, Connection

T = f"{BASE}/DefaultJob/instances".encode()
K = b"X-API-Key: " + KEY.encode() + b"\r\n"
H = b"Host: gate.example\r\n" + K
TAIL = (b"POST %s/SMUGGLED/instances HTTP/1.1\r\n" % BASE.encode()) + H + b"Content-Length: 0\r\n\r\n"
POST = b"POST " + T + b" HTTP/1.1\r\n"
CHUNKED = POST + H + b"Transfer-Encoding: chunked\r\n\r\n"
BAD, LARGE = "JobgateBadRequest", "JobgateTooLarge"


def post(*fields, body=b""):
    return POST + H + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def line(text):
    return text + b"\r\n" + H + b"\r\n"


def get(target):
    return line(b"GET " + target + b" HTTP/1.1")


# name: bytes, status or statuses, errorCode. All of them end the connection.
REFUSED = {
    "cl-and-te": (post(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    "te-and-cl": (post(b"Transfer-Encoding: chunked", b"Content-Length: 2", body=b"2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    "two-equal-cl": (post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), 400, BAD),
    "two-different-cl": (post(b"Content-Length: 2", b"Content-Length: 0", body=b"{}"), 400, BAD),
    "cl-list": (post(b"Content-Length: 2, 2", body=b"{}"), 400, BAD),
    "cl-list-of-zeros": (post(b"Content-Length: 0, 0"), 400, BAD),
    "cl-negative": (post(b"Content-Length: -1"), 400, BAD),
    "cl-empty": (post(b"Content-Length:"), 400, BAD),
    "cl-hex": (post(b"Content-Length: 0x2", body=b"{}"), 400, BAD),
    "cl-plus": (post(b"Content-Length: +2", body=b"{}"), 400, BAD),
    "cl-vertical-tab": (post(b"Content-Length: \x0b2", body=b"{}"), 400, BAD),
    "cl-with-space-inside": (post(b"Content-Length: 2 2", body=b"{}"), 400, BAD),
    "cl-over-64-bits": (post(b"Content-Length: 100000000000000000000"), 400, BAD),
    "te-gzip": (post(b"Transfer-Encoding: gzip"), 501, BAD),
    "te-identity": (post(b"Transfer-Encoding: identity"), 501, BAD),
    "te-xchunked": (post(b"Transfer-Encoding: xchunked"), 501, BAD),
    "te-gzip-chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501, BAD),
    "te-chunked-gzip": (post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), (400, 501), BAD),
    "te-parameter": (post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), (400, 501), BAD),
    "te-twice-chunked": (post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400, BAD),
    "te-two-fields": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, BAD),
    "te-two-fields-identity": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
                               (400, 501), BAD),
    "te-empty": (post(b"Transfer-Encoding:", body=b"0\r\n\r\n"), (400, 501), BAD),
    "te-vertical-tab": (post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400, BAD),
    "te-on-1.0": (b"POST " + T + b" HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, BAD),
    "te-space-before-colon": (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400, BAD),
    "cl-space-before-colon": (post(b"Content-Length : %d" % len(TAIL)), 400, BAD),
    "tab-before-colon": (post(b"X-A\t: 1"), 400, BAD),
    "fold": (post(b"X-A: 1", b" folded"), 400, BAD),
    "fold-by-tab": (post(b"X-A: 1", b"\tfolded"), 400, BAD),
    "fold-of-te": (post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), 400, BAD),
    "fold-of-the-first-field": (POST + b" X-A: 1\r\n" + H + b"\r\n", 400, BAD),
    "bare-lf-everywhere": (post().replace(b"\r\n", b"\n"), 400, BAD),
    "bare-lf-in-one-field": (post(b"X-A: 1\nX-B: 2"), 400, BAD),
    "bare-lf-at-the-end": (POST + H + b"\n", 400, BAD),
    "bare-cr-in-a-value": (post(b"X-A: 1\r2"), 400, BAD),
    "cr-cr-lf": (post(b"X-A: 1\r"), 400, BAD),
    "nul-in-a-value": (post(b"X-A: 1\x002"), 400, BAD),
    "nul-in-a-name": (post(b"X\x00A: 1"), 400, BAD),
    "nul-begins-a-line": (post(b"\x00"), 400, BAD),
    "nul-behind-the-version": (line(b"POST " + T + b" HTTP/1.1\x00"), (400, 505), BAD),
    "control-in-a-value": (post(b"X-A: 1\x012"), 400, BAD),
    "del-in-a-value": (post(b"X-A: 1\x7f2"), 400, BAD),
    "control-in-a-name": (post(b"X\x01A: 1"), 400, BAD),
    "8-bit-in-a-name": (post(b"X\xe9A: 1"), 400, BAD),
    "space-in-a-name": (post(b"X A: 1"), 400, BAD),
    "parenthesis-in-a-name": (post(b"X(A): 1"), 400, BAD),
    "empty-name": (post(b": 1"), 400, BAD),
    "no-colon": (post(b"X-A"), 400, BAD),
    "absolute-form-of-another": (get(b"http://evil.example" + BASE.encode() + b"/instances"), 400, BAD),
    "absolute-form-of-the-upstream": (get(b"https://api.fabric.microsoft.com" + BASE.encode() + b"/instances"), 400, BAD),
    "absolute-form-with-user": (get(b"http://a@gate.example" + BASE.encode() + b"/instances"), 400, BAD),
    "target-like-an-authority": (get(b"//evil" + BASE.encode() + b"/instances"), 400, BAD),
    "authority-form": (get(b"evil:443"), 400, BAD),
    "relative-target": (get(b"foo/bar"), 400, BAD),
    "asterisk-target": (get(b"*"), 400, BAD),
    "space-in-target": (get(b"/a b"), 400, BAD),
    "two-spaces": (line(b"GET  " + BASE.encode() + b"/instances HTTP/1.1"), 400, BAD),
    "two-spaces-before-version": (line(b"GET " + BASE.encode() + b"/instances  HTTP/1.1"), 400, BAD),
    "tab-instead-of-space": (line(b"GET\t" + BASE.encode() + b"/instances HTTP/1.1"), 400, BAD),
    "space-behind-version": (line(b"GET " + BASE.encode() + b"/instances HTTP/1.1 "), (400, 505), BAD),
    "space-before-method": (line(b" GET " + BASE.encode() + b"/instances HTTP/1.1"), 400, BAD),
    "control-in-target": (get(b"/a\x01b"), 400, BAD),
    "8-bit-in-target": (get(b"/a\xe9b"), 400, BAD),
    "bad-percent": (get(BASE.encode() + b"/%zz/instances"), 400, BAD),
    "cut-percent": (get(BASE.encode() + b"/instances?x=%4"), 400, BAD),
    "encoded-nul": (get(BASE.encode() + b"/instances%00"), 400, BAD),
    "encoded-slash": (get(BASE.encode() + b"%2finstances"), 400, BAD),
    "encoded-backslash": (get(BASE.encode() + b"/a%5Cb/instances"), 400, BAD),
    "dot-segment": (get(BASE.encode() + b"/../jobs/instances"), 400, BAD),
    "encoded-dot-segment": (get(BASE.encode() + b"/%2e%2E/jobs/instances"), 400, BAD),
    "fragment": (get(BASE.encode() + b"/instances#x"), 400, BAD),
    "connect": (line(b"CONNECT evil:443 HTTP/1.1"), 501, BAD),
    "trace": (line(b"TRACE " + T + b" HTTP/1.1"), 501, BAD),
    "trace-with-cl": (b"TRACE " + T + b" HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % len(TAIL), 501, BAD),
    "head-with-cl": (b"HEAD " + T + b" HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % len(TAIL), 400, BAD),
    "get-with-cl": (b"GET " + T + b" HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % len(TAIL), 400, BAD),
    "unknown-method": (line(b"BREW " + T + b" HTTP/1.1"), 501, BAD),
    "lower-case-method": (line(b"post " + T + b" HTTP/1.1"), 501, BAD),
    "long-method": (line(b"M" * 200 + b" " + T + b" HTTP/1.1"), 501, BAD),
    "no-token-method": (line(b"PO(ST " + T + b" HTTP/1.1"), (400, 501), BAD),
    "no-host": (POST + K + b"\r\n", 400, BAD),
    "two-hosts": (post(b"Host: gate.example"), 400, BAD),
    "two-different-hosts": (post(b"Host: other.example"), 400, BAD),
    "host-with-a-space": (POST + K + b"Host: a b\r\n\r\n", 400, BAD),
    "host-with-a-slash": (POST + K + b"Host: a/b\r\n\r\n", 400, BAD),
    "no-version": (b"GET " + T + b"\r\n" + H + b"\r\n", (400, 505), BAD),
    "version-1.1000": (line(b"POST " + T + b" HTTP/1.1000"), 505, BAD),
    "version-signs": (line(b"POST " + T + b" HTTP/+1.-1"), (400, 505), BAD),
    "version-0.9": (line(b"POST " + T + b" HTTP/0.9"), 505, BAD),
    "version-2.0": (line(b"POST " + T + b" HTTP/2.0"), 505, BAD),
    "version-lower-case": (line(b"POST " + T + b" http/1.1"), (400, 505), BAD),
    "http2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505), BAD),
    "tls-client-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, 400, BAD),
    "two-leading-empty-lines": (b"\r\n\r\n" + post(), 400, BAD),
    "leading-lf": (b"\n" + post(), 400, BAD),
    "chunk-0x": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-plus": (CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-minus": (CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-leading-space": (CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-empty-size": (CHUNKED + b"\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-nul-behind-size": (CHUNKED + b"2\x00\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-bare-lf": (CHUNKED + b"2\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-data-bare-lf": (CHUNKED + b"2\r\n{}\n0\r\n\r\n", 400, BAD),
    "chunk-without-crlf": (CHUNKED + b"2\r\n{}0\r\n\r\n", 400, BAD),
    "chunk-longer-than-said": (CHUNKED + b"2\r\n{}xx\r\n0\r\n\r\n", 400, BAD),
    "chunk-blank-line-between": (CHUNKED + b"2\r\n{}\r\n\r\n0\r\n\r\n", 400, BAD),
    "chunk-overflow": (CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n", (400, 413), (BAD, LARGE)),
    "chunk-too-large": (CHUNKED + b"7fffffff\r\n", 413, LARGE),
    "chunk-endless-size-line": (CHUNKED + b"0" * 5000, 400, BAD),
    "chunk-long-extension": (CHUNKED + b"2;" + b"x" * 300 + b"\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "chunk-extension-with-lf": (CHUNKED + b"2;x\ny\r\n{}\r\n0\r\n\r\n", 400, BAD),
    "trailer-malformed": (CHUNKED + b"2\r\n{}\r\n0\r\nX-A : 1\r\n\r\n", 400, BAD),
    "trailer-bare-lf": (CHUNKED + b"2\r\n{}\r\n0\r\nX-A: 1\n\r\n", 400, BAD),
    "trailers-endless": (CHUNKED + b"0\r\n" + b"X-A: 1\r\n" * 2000, 400, BAD),
    "expect-unknown": (post(b"Expect: 200-ok", b"Content-Length: 0"), 417, BAD),
    "expect-list": (post(b"Expect: 100-continue, x", b"Content-Length: 0"), 417, BAD),
    "head-too-large": (post(b"X-A: " + b"a" * 33000), 431, LARGE),
    "endless-field": (POST + b"X-A: " + b"a" * 40000, 431, LARGE),
    "101-fields": (post(*[b"X-A: 1"] * 99), 431, LARGE),
    "target-too-long": (get(BASE.encode() + b"/instances?x=" + b"a" * 8192), 414, LARGE),
    "endless-target": (b"GET /" + b"a" * 20000, 414, LARGE),
    "endless-request-line": (b"GET / HTTP/1." + b"1" * 40000, (400, 414, 431, 505), (BAD, LARGE)),
    "body-too-large": (post(b"Content-Length: 262145", body=b" " * 100), 413, LARGE),
    "body-far-too-large": (post(b"Content-Length: 9000000000000000000"), 413, LARGE),
}

# name: bytes, the body that must arrive upstream.
PASSED = {
    "plain": (post(b"Content-Length: 2", body=b"{}"), b"{}"),
    "no-length": (post(), b""),
    "one-leading-empty-line": (b"\r\n" + post(), b""),
    "tab-around-a-value": (post(b"X-A:\t 1 \t"), b""),
    "tab-in-a-value": (post(b"X-A: 1\t2"), b""),
    "8-bit-in-a-value": (post(b"X-A: \xe9\xff\x80"), b""),
    "empty-value": (post(b"X-A:"), b""),
    "no-space-behind-the-colon": (post(b"X-A:1"), b""),
    "version-1.2": (line(b"POST " + T + b" HTTP/1.2"), b""),
    "chunked": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
    "chunked-in-capitals": (post(b"transfer-encoding: CHUNKED", body=b"2\r\n{}\r\n0\r\n\r\n"), b"{}"),
    "chunk-leading-zeros": (CHUNKED + b"0002\r\n{}\r\n000\r\n\r\n", b"{}"),
    "chunk-extension": (CHUNKED + b"2;x=y;z=\"a b\"\r\n{}\r\n0;last\r\n\r\n", b"{}"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 99\r\nX-T: 1\r\n\r\n", b"{}"),
    "upgrade-h2c": (post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"), b""),
    "upgrade-websocket": (post(b"Connection: Upgrade", b"Upgrade: websocket"), b""),
    # The gateway adds four fields of its own, and the simulator takes no more than 100 either.
    "many-fields": (post(*[b"X-A: 1"] * 94), b""),
    "longest-body": (post(b"Content-Length: 262144", body=b'{"executionData":{"a":"' + b"x" * 262118 + b'"}}'), None),
}


@pytest.fixture(scope="module")
def gate(module_fleet):
    sim = module_fleet.simulator()
    # Many refusals in a row are the point of this test; none of them may be left out of the journal's bound.
    return module_fleet.gateway(sim, audit={"directory": "audit", "refusals": 1000}), sim


def send_all(connection, data):
    """Send what the peer will take; it may refuse before it has read all."""
    try:
        connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(gate, name, tls):
    gateway, sim = gate
    data, statuses, codes = REFUSED[name]
    before = len(sim.ledger())
    with gateway.connect(tls) as c:
        send_all(c, data + TAIL)
        answer = c.response(data[:4].decode("latin-1"))
        assert answer.status in (statuses if isinstance(statuses, tuple) else (statuses,)), answer
        if data.startswith(b"HEAD"):
            assert answer.get("Connection") == "close"
        else:
            assert answer.json()["errorCode"] in codes, answer
            check_error(answer, answer.status, answer.json()["errorCode"], closes=True)
        assert c.is_closed(), "the connection stays open behind a malformed request"
    assert len(sim.ledger()) == before, sim.ledger()[before:]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", PASSED)
def test_passed(gate, name, tls):
    gateway, sim = gate
    data, body = PASSED[name]
    before = len(sim.ledger())
    with gateway.connect(tls) as c:
        c.send(data)
        answer = c.response()
        assert answer.status == 202, answer
        assert answer.get("Connection") is None
        again = c.request("POST", T.decode(), [("X-API-Key", KEY)], b"{}")
        assert again.status == 202, "the connection lives on"
    entries = sim.ledger()[before:]
    assert len(entries) == 2 and entries[0]["target"] == T.decode()
    if body is not None:
        assert entries[0]["body_sha256"] == sha256(body)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", ["plain", "no-length", "chunked", "trailers"])
def test_one_byte_at_a_time(gate, name, tls):
    gateway, sim = gate
    data, body = PASSED[name]
    with gateway.connect(tls) as c:
        for i in range(len(data)):
            c.send(data[i:i + 1])
        assert c.response().status == 202
    assert sim.ledger()[-1]["body_sha256"] == sha256(body)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_pipelined_requests_are_answered_in_order(gate, tls):
    gateway, sim = gate
    before = len(sim.ledger())
    with gateway.connect(tls) as c:
        c.send(post(b"Content-Length: 2", b"X-N: 1", body=b"{}") + get(BASE.encode() + b"/instances") +
               post(b"Content-Length: 0", b"X-N: 3"))
        answers = [c.response()]
        try:
            while "close" not in (answers[-1].get("Connection") or "") and len(answers) < 3:
                answers.append(c.response())
        except Closed:
            raise AssertionError(f"closed without having said so: {answers}") from None
    assert [a.status for a in answers] == [202, 200, 202][:len(answers)]
    assert len(sim.ledger()) == before + len(answers)


def test_a_fault_behind_a_good_request_ends_the_connection(gate):
    gateway, sim = gate
    before = len(sim.ledger())
    with gateway.connect() as c:
        c.send(post(b"Content-Length: 0") + b"GET / HTTP/1.1\nHost: x\n\n" + TAIL)
        assert c.response().status == 202
        try:
            assert c.response().status == 400
        except Closed:
            pass
        assert c.is_closed()
    assert len(sim.ledger()) == before + 1


@pytest.mark.parametrize("fields", [[b"Connection: close"], [b"Connection: x, Close"], [b"Connection: x", b"Connection: close"]],
                         ids=["close", "in-a-list", "second-field"])
def test_close_is_honoured_and_said(gate, fields):
    gateway, sim = gate
    before = len(sim.ledger())
    with gateway.connect() as c:
        c.send(post(*fields, b"Content-Length: 0") + TAIL)
        answer = c.response()
        assert answer.status == 202 and answer.get("Connection") == "close"
        assert c.is_closed()
    assert len(sim.ledger()) == before + 1


def test_http_1_0(gate):
    gateway, _ = gate
    with gateway.connect() as c:
        c.send(b"POST " + T + b" HTTP/1.0\r\n" + K + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}")
        answer = c.response()
        assert answer.status == 202 and answer.get("Connection") == "close"
        assert c.is_closed()


def test_absolute_form_of_ours(gate):
    gateway, sim = gate
    with gateway.connect() as c:
        host = f"127.0.0.1:{gateway.port}"
        c.send(f"POST http://{host}{T.decode()} HTTP/1.1\r\nHost: other.example\r\n".encode() + K + b"\r\n")
        assert c.response().status == 202
    assert sim.ledger()[-1]["target"] == T.decode()


def test_expect_continue(gate):
    """100 where the body is wanted; the refusal at once, before the body, where the head already decides."""
    gateway, _ = gate
    with gateway.connect() as c:
        c.send(post(b"Expect: 100-continue", b"Content-Length: 2"))
        assert c._until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        c.send(b"{}")
        assert c.response().status == 202
    with Connection(gateway.port) as c:
        c.send(POST + b"Host: x\r\nX-API-Key: wrong\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        answer = c.response()
        assert answer.status == 401 and answer.raw.count(b"HTTP/1.1") == 1


def test_a_refusal_reaches_a_caller_that_is_still_sending(gate):
    gateway, _ = gate
    with gateway.connect() as c:
        c.send(post(b"Content-Length: 4000000"))
        for _ in range(61):
            send_all(c, b"x" * 65536)
        assert c.response().status == 413


def test_100_fields_are_not_too_many(gate):
    with gate[0].connect() as c:
        c.send(get(b"/v1/nothing").replace(b"\r\n\r\n", b"\r\n" + b"X-A: 1\r\n" * 98 + b"\r\n"))
        assert c.response().status == 404


def test_a_refusal_on_a_good_request_keeps_the_connection(gate):
    gateway, _ = gate
    with gateway.connect() as c:
        for _ in range(3):
            answer = c.request("POST", T.decode(), [("X-API-Key", "wrong")], b"{}")
            check_error(answer, 401, "JobgateUnauthenticated", closes=False)
            check_error(c.request("GET", "/v1/nothing", [("X-API-Key", KEY)]), 404, "EntityNotFound", closes=False)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_slow_senders_are_cut_at_an_absolute_time(fleet, tls):
    """A byte now and then does not put the deadline off (slowloris)."""
    sim = fleet.simulator()
    gateway = fleet.gateway(sim, limits={"head_timeout": "1s", "body_timeout": "1s", "idle_timeout": "2s"})
    for start in (b"POST / HTTP/1.1\r\nX-A: ", post(b"Content-Length: 1000")):
        with gateway.connect(tls) as c:
            c.send(start)
            c.socket.settimeout(0.15)
            answer = None
            for _ in range(40):
                try:
                    c.send(b"x")
                    answer = c.response()
                    break
                except (TimeoutError, OSError):
                    continue
            c.socket.settimeout(5)
            check_error(answer, 408, "JobgateTimeout", closes=True)
            assert c.is_closed()
    with gateway.connect(tls) as c:
        assert c.is_closed(10), "an idle connection is closed"
    assert sim.ledger() == []


def test_surplus_connections_are_shed(fleet):
    gateway = fleet.gateway(fleet.simulator(), workers=1, limits={"connections": 3})
    kept = [gateway.connect() for _ in range(3)]
    for c in kept:
        assert c.request("GET", f"{BASE}/instances", [("X-API-Key", KEY)]).status == 200
    with gateway.connect() as c:
        answer = c.response()
        check_error(answer, 503, "JobgateUnavailable", closes=True)
        assert answer.get("Retry-After").isdigit()
        assert c.is_closed()
    for c in kept:
        assert c.request("GET", f"{BASE}/instances", [("X-API-Key", KEY)]).status == 200
        c.close()


def test_nothing_smuggled(gate):
    """The last word over all the rows above that ran in this process."""
    _, sim = gate
    assert not [e for e in sim.ledger() if "SMUGGLED" in e["target"]]
    assert not [e for e in sim.ledger() if not e["complete"]]
