"""5,000 generated URLs through the real binary, against an independent model: what is refused how, and what arrives upstream."""

import random
import threading
import uuid

from harness import KEY, check_error, field
from route_model import expect
from wire import Closed

COUNT, THREADS = 5000, 4
COLLECTIONS = ["items", "dataPipelines", "notebooks", "lakehouses", "sparkJobDefinitions", "dataflows", "graphModels",
               "dataBuildToolJobs"]
TYPES = ["DefaultJob", "RunNotebook", "Pipeline", "sparkjob", "TableMaintenance", "RefreshGraph", "Execute", "a.b-c_d"]
HOSTILE = ["", ".", "..", "%2e%2e", "a%2fb", "a%5Cb", "a%00b", "a%0d%0aX:y", "a b", "a+b", "%", "%4", "%zz", "instances",
           "Instances", "schedules", "x" * 129, "x" * 128, "a~b", "a;b", "a:b", "a@b", "caf%C3%A9", "%20", "a%25b", "'", "(",
           "Run%4eotebook", "%44efaultJob"]
KEYS = ["jobType", "jobtype", "JOBTYPE", "job%54ype", "%6aobType", "JobType"]
OTHERS = ["beta=false", "a=1", "a=2", "empty=", "flag", "x=%2F%3d", "q=a+b", "u=%C3%A9", "jobTypes=x", "jobTyp=x", "=",
          "continuationToken=abc%3D%3D", "x=?/:@", "a[]=1"]


def any_case(r, word):
    return "".join(c.upper() if r.random() < 0.5 else c.lower() for c in word) if r.random() < 0.3 else word


def identifier(r):
    value = str(uuid.UUID(int=r.getrandbits(128)))
    value = value.upper() if r.random() < 0.2 else value
    if r.random() < 0.04:
        value = r.choice([value[:-1], value + "0", value.replace("-", ""), "{" + value + "}", "x", "%" + value[1:],
                          value.replace("-", "%2d", 1), value[:-1] + "g"])
    return value


def job_type(r):
    return r.choice(HOSTILE) if r.random() < 0.25 else any_case(r, r.choice(TYPES))


def query(r, legacy):
    """A query; with jobType where the legacy form wants it, and sometimes where nobody does."""
    parts = [r.choice(OTHERS) for _ in range(r.choice([0, 0, 0, 1, 2, 3]))]
    if r.random() < (0.93 if legacy else 0.15):
        parts.insert(r.randint(0, len(parts)), f"{r.choice(KEYS)}={job_type(r)}")
        if r.random() < 0.07:
            parts.insert(r.randint(0, len(parts)), r.choice(KEYS) + r.choice(["", "=", "=" + job_type(r)]))
    return ("?" + "&".join(parts)) if parts or r.random() < 0.03 else ""


def generate(r):
    """A method and a target: mostly near one of the routes, seldom far from all."""
    kind = r.choice(["legacy"] * 4 + ["run"] * 4 + ["list", "instance", "cancel", "schedules", "schedule", "far"])
    method = {"legacy": "POST", "run": "POST", "cancel": "POST", "list": "GET", "instance": "GET"}.get(kind)
    method = method or r.choice(["GET", "POST", "PATCH", "DELETE"])
    if r.random() < 0.05:
        method = r.choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    shared = job_type(r)
    tail = {"legacy": ["instances"], "list": ["instances"], "run": [shared, "instances"],
            "instance": ["instances", identifier(r)], "cancel": ["instances", identifier(r), "cancel"],
            "schedules": [shared, "schedules"], "schedule": [shared, "schedules", identifier(r)],
            "far": [r.choice(["instances", "x", "", shared]) for _ in range(r.randint(0, 4))]}[kind]
    segments = ["v1", "workspaces", identifier(r), any_case(r, r.choice(COLLECTIONS)), identifier(r), "jobs"] + tail
    if r.random() < 0.04:
        at = r.randrange(len(segments))
        segments[at] = r.choice(["", "v2", "Jobs", "reports", "..", "%2e", segments[at] + "%20", "jobs"])
    target = "/" + "/".join(segments) + ("/" if r.random() < 0.01 else "")
    extra = f"?jobType={any_case(r, shared)}" if kind == "run" and r.random() < 0.1 else query(r, kind == "legacy")
    return method, target + extra


class Driver:
    """Sends a share of the cases over one connection and judges the answers."""

    def __init__(self, gateway, cases):
        self.gateway, self.cases, self.faults = gateway, cases, []
        self.connection = gateway.connect()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def send(self, number, method, target):
        headers = [("X-API-Key", KEY), ("X-N", str(number))]
        body = b'{"enabled":true,"configuration":{"type":"Cron"}}' if "schedules" in target else b"{}"
        body = body if method in ("POST", "PATCH", "PUT") else None
        answer = self.connection.request(method, target, headers, body)
        if "close" in (answer.get("Connection") or ""):
            self.connection.close()
            self.connection = self.gateway.connect()
        return answer

    def run(self):
        for number, method, target in self.cases:
            status, code, _ = expect(method, target)
            try:
                answer = self.send(number, method, target)
                if status is not None and method != "HEAD":
                    check_error(answer, status, code)
                elif status is not None:
                    assert answer.status == status
                else:
                    assert answer.get("Proxy-Status") is None, answer
            except (AssertionError, Closed, ValueError, OSError, AttributeError) as error:
                self.faults.append(f"{number} {method} {target}: expected {status} {code}: {error}")
                self.connection.close()
                self.connection = self.gateway.connect()
        self.connection.close()


def test_generated_urls(fleet):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    r = random.Random(seed)
    cases = [(n, *generate(r)) for n in range(COUNT)]
    sim = fleet.simulator("--job-seconds", 600)
    gateway = fleet.gateway(sim)
    drivers = [Driver(gateway, cases[i::THREADS]) for i in range(THREADS)]
    for driver in drivers:
        driver.thread.join()
    faults = [fault for driver in drivers for fault in driver.faults]
    assert not faults, f"seed {seed}, {len(faults)} faults:\n" + "\n".join(faults[:20])

    arrived = {}
    for entry in sim.ledger():
        number, = field(entry, "X-N")
        assert number not in arrived, f"seed {seed}: {number} was sent twice"
        arrived[number] = (entry["method"], entry["target"])
    wanted = {str(n): (method, expect(method, target)[2]) for n, method, target in cases
              if expect(method, target)[0] is None}
    wrong = [(cases[int(n)], wanted.get(n), arrived.get(n)) for n in wanted.keys() | arrived.keys()
             if wanted.get(n) != arrived.get(n)]
    assert not wrong, f"seed {seed}, {len(wrong)} wrong:\n" + "\n".join(map(str, wrong[:20]))
    assert COUNT // 4 < len(wanted) < COUNT * 9 // 10, "the generator hits both sides"
