"""A load of HTTP/1.1 requests in asyncio: keep-alive connections, each request's fate kept."""

import asyncio
import collections
import json
import re
import threading
import time
import uuid

from bench import CALLERS, key_of
from harness import BASE, ORIGIN

RUN = f"{BASE}/RunNotebook/instances"


class Fate:
    """What came of one request: an answer, or .error says why there is none."""

    def __init__(self, method, target, body):
        self.method, self.target, self.body = method, target, body
        self.port, self.key = 0, ""
        self.name = str(uuid.uuid4())       # its X-Request-Id, client_request_id of its records
        self.error, self.status, self.headers, self.answer = "", 0, {}, b""
        self.sent = time.monotonic()
        self.seconds = 0.0

    def json(self):
        return json.loads(self.answer)

    @property
    def code(self):
        """The errorCode of an answer that has one, the more detailed one first."""
        if not self.answer.startswith(b"{"):
            return ""
        body = self.json()
        details = body.get("moreDetails") or [{}]
        return details[0].get("errorCode") or body.get("errorCode", "")

    @property
    def request_id(self):
        return self.headers.get("x-request-id", "")

    @property
    def wait(self):
        """Seconds that the gateway says it waited for a token."""
        found = re.search(r"wait;dur=([0-9.]+)", self.headers.get("server-timing", ""))
        return float(found.group(1)) / 1000 if found else 0.0

    @property
    def relayed(self):
        """Whether the upstream's own answer came back."""
        return self.status > 0 and "proxy-status" not in self.headers

    def __repr__(self):
        came = f"{self.status} {self.code} {self.error} after {self.seconds:.2f} s"
        return f"<{self.method} {self.target} {self.name}: {came}>"


class Client:
    """One caller at one port; connections that ended well are used again."""

    def __init__(self, port, key):
        self.port, self.key = port, key
        self.idle = collections.deque()

    async def _connection(self):
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def request(self, method, target, body=None, headers=(), patience=90, vanish=False):
        """Send one request and wait at most PATIENCE seconds for its answer; VANISH: giving up is no fault."""
        fate = Fate(method, target, body)
        fate.port, fate.key = self.port, self.key
        writer = None
        try:
            async with asyncio.timeout(patience):
                reader, writer = await self._connection()
                fate.sent = time.monotonic()
                writer.write(self._bytes(fate, headers))
                keep = await self._answer(reader, fate)
            if keep:
                self.idle.append((reader, writer))
                writer = None
        except TimeoutError:
            fate.error = "vanished" if vanish else "no answer in time"
        except (OSError, EOFError) as error:
            fate.error = "not connected" if writer is None else f"cut ({type(error).__name__})"
        finally:
            fate.seconds = time.monotonic() - fate.sent
            if writer is not None:
                writer.close()
        return fate

    def _bytes(self, fate, headers):
        lines = [f"{fate.method} {fate.target} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"X-API-Key: {self.key}",
                 f"X-Request-Id: {fate.name}", *(f"{n}: {v}" for n, v in headers)]
        if fate.body is not None:
            lines.append(f"Content-Length: {len(fate.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + (fate.body or b"")

    @staticmethod
    async def _answer(reader, fate):
        """Read a whole answer; whether the connection may be used again."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {}
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        answer = await reader.readexactly(int(fields["content-length"]))
        fate.status, fate.headers, fate.answer = int(head[0].split(" ")[1]), fields, answer
        return fields.get("connection", "").lower() != "close"

    def close(self):
        while self.idle:
            self.idle.pop()[1].close()


class Stream:
    """Submissions of one caller, to each instance as often as SHARES say (alike); .fates keeps what came of them."""

    def __init__(self, e, gateways, caller, shares=None, headers=()):
        self.random, self.caller, self.shares, self.headers = e.random, caller, shares or [1] * len(gateways), headers
        self.clients = [Client(g.port, key_of(caller)) for g in gateways]
        self.fates = []

    async def __call__(self, number=0):
        client, = self.random.choices(self.clients, self.shares)
        fate = await client.request("POST", RUN, b'{"executionData":{"number":%d}}' % number, self.headers)
        self.fates.append(fate)
        return fate

    async def offer(self, rate, seconds, most=2000):
        """As the function of that name, from a random moment of the first interval on."""
        await asyncio.sleep(self.random.uniform(0, 1 / rate))
        return await offer(rate, seconds, self, most)


class Mix:
    """Submissions in both URL forms and polls of what was submitted, from all callers to all instances in turn."""

    def __init__(self, e, gateways, polls=0.3, callers=CALLERS):
        self.random, self.polls = e.random, polls
        self.clients = [Client(g.port, key_of(caller)) for g in gateways for caller in callers]
        self.locations = collections.deque(maxlen=200)

    async def __call__(self, number):
        client = self.clients[number % len(self.clients)]
        if self.random.random() < self.polls:
            target = self.random.choice(self.locations) if self.locations else f"{BASE}/instances"
            return await client.request("GET", target)
        target = self.random.choice([f"{BASE}/RunNotebook/instances", f"{BASE}/instances?jobType=Pipeline"])
        fate = await client.request("POST", target, b'{"executionData":{"number":%d}}' % number)
        if fate.status == 202:
            self.locations.append(fate.headers["location"].removeprefix(ORIGIN))
        return fate


async def offer(rate, seconds, make, most=2000, ended=None, first=0):
    """
    Open load: start MAKE(number) RATE times a second, whatever became of those before, and return all they returned.
    The FIRST ones start at once. It ends after SECONDS, or when ENDED, a threading.Event, is set.
    At most MOST are under way at once: beyond that nothing is started, and None stands in its place.
    """
    running, done = set(), []
    start = time.monotonic()
    for number in range(first + int(rate * seconds)):
        await asyncio.sleep(start + max(0, number - first) / rate - time.monotonic())
        if ended and ended.is_set():
            break
        if len(running) >= most:
            done.append(None)
            continue
        task = asyncio.create_task(make(number))
        running.add(task)
        task.add_done_callback(lambda t: (running.discard(t), done.append(t.result())))
    while running:
        await asyncio.wait(set(running))
    return done


FOREVER = 86400     # seconds; of an offer that something else ends


async def offer_while(rate, make, act, first=0):
    """Offer as long as ACT, a function of blocking steps, takes in its thread, the FIRST at once; all that MAKE returned."""
    ended = threading.Event()

    def course():
        try:
            act()
        finally:
            ended.set()
    fates, _ = await asyncio.gather(offer(rate, FOREVER, make, ended=ended, first=first), asyncio.to_thread(course))
    return fates
