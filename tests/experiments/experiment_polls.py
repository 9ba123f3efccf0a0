"""
500 pollers of 50 jobs over 3 instances, each asking once a second and changing instances, while 2 submissions a second come in: what it
costs upstream with answers kept and shared, and without. Everybody sees the end in time, nobody sees a state go back or what is not theirs.
"""

import asyncio
import itertools
import sys
import time

from bench import CALLERS, Experiment, callers_config, key_of, ms, percentile, show_quota, simulator, start_gateways
from harness import BASE, ITEM, WS, parse_time
from load import RUN, Client

OWN = [("Authorization", "Bearer own")]
# An item forgets ended jobs beyond its last hundred.
OTHER_RUN = RUN.replace(ITEM, WS)
RANK = {"NotStarted": 0, "InProgress": 1, "Completed": 2}


class Poller:
    """Asks for one job again and again; what it saw and when."""

    def __init__(self, clients, job):
        self.clients, self.job = itertools.cycle(clients), job
        self.fates, self.back, self.ended = [], [], None
        self.rank = -1

    async def run(self, end, delay):
        await asyncio.sleep(delay)
        while time.time() < end:
            began = time.monotonic()
            fate = await next(self.clients).request("GET", self.job.target, None, OWN)
            self.see(fate)
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))

    def see(self, fate):
        self.fates.append(fate)
        if fate.status != 200:
            return
        rank = RANK[fate.json()["status"]]
        if rank < self.rank:
            self.back.append(fate)
        self.rank = max(rank, self.rank)
        if rank == 2 and self.ended is None:
            self.ended = time.time()


class Job:
    def __init__(self, name):
        self.name, self.target = name, f"{BASE}/instances/{name}"


async def submit(client, fates, target=RUN):
    fate = await client.request("POST", target, b"{}", OWN)
    fates.append(fate)
    return Job(fate.headers.get("x-ms-job-id", ""))


async def keep_submitting(clients, rate, end, fates):
    """RATE submissions a second, each on its own."""
    tasks, clients = [], itertools.cycle(clients)
    while time.time() < end:
        tasks.append(asyncio.create_task(submit(next(clients), fates, OTHER_RUN)))
        await asyncio.sleep(1 / rate)
    await asyncio.gather(*tasks)


class Revoked(Poller):
    """A poller whose token is revoked on the way; what it was told later than its grant."""

    def __init__(self, clients, job, file, at, grant):
        super().__init__(clients, job)
        self.file, self.at, self.grant, self.late = file, at, grant, []

    async def run(self, end, delay):
        while time.time() < end:
            if time.time() > self.at and not self.file.exists():
                self.file.write_text("Bearer revoked\n")
            sent = time.time()
            fate = await next(self.clients).request("GET", self.job.target, None, [("Authorization", "Bearer revoked")])
            self.fates.append(fate)
            if fate.status == 200 and self.file.exists() and sent > self.at + self.grant + 1:
                self.late.append(fate)
            await asyncio.sleep(2)


class Stranger:
    """Asks for jobs that it may not see: without a token, with a key that may only run, with a key of nobody."""

    def __init__(self, ports, jobs):
        self.asks = itertools.cycle([(Client(p, key_of(name)), job, headers) for job in jobs for p in ports
                                     for name, headers in (("etl", []), ("runner", OWN), ("nobody", OWN))])
        self.fates = []

    async def run(self, end):
        while time.time() < end:
            client, job, headers = next(self.asks)
            self.fates.append(await client.request("GET", job.target, None, headers))
            client.close()
            await asyncio.sleep(1)


async def load(e, gateways):
    """The whole of it; returns (pollers, submissions, the stranger, begin)."""
    o = e.options
    ports = [g.port for g in gateways]
    clients = {name: [Client(p, key_of(name)) for p in ports] for name in CALLERS}
    started, submissions, jobs = [], [], []
    for n in range(o.jobs):     # so that they do not all end at once
        jobs.append(await submit(clients["etl"][n % len(ports)], started))
        await asyncio.sleep(o.spread / o.jobs)
    begin = time.time()
    end = begin + o.seconds
    pollers = [Poller(clients[CALLERS[n % len(CALLERS)]][n % len(ports):] + clients[CALLERS[n % len(CALLERS)]][:n % len(ports)],
                      jobs[n % o.jobs]) for n in range(o.pollers)]
    stranger = Stranger(ports, jobs)
    stranger.revoked = Revoked(clients["adhoc"], jobs[0], e.revoked, begin + o.seconds / 4, o.grant)
    await asyncio.gather(stranger.revoked.run(end, 0), keep_submitting(clients["finance"], o.rate, end, submissions), stranger.run(end),
                         *(p.run(end, n / o.pollers) for n, p in enumerate(pollers)))
    for one in clients.values():
        for client in one:
            client.close()
    return pollers, submissions, stranger, begin


def run_phase(e, refresh):
    """One run; its ledger, pollers, submissions, stranger and begin."""
    o = e.options
    e.revoked = e.fleet.folder / "revoked"
    sim = simulator(e, o.quota, o.window, "sliding", "--job-seconds", o.job, "--latency", 50, "--retry-after", 60,
                    "--require-authorization", "--revoked", e.revoked)
    redis = e.fleet.redis()
    callers = callers_config() + [dict(callers_config(["runner"])[0], allow=[{"operations": ["run"]}])]
    gateways = start_gateways(e, sim, redis, o.quota, o.window, callers=callers, wait=o.wait,
                              polls={"refresh": ms(refresh), "min_refresh": "1s", "grant": ms(o.grant)}, log={"level": "info"})
    pollers, submissions, stranger, begin = asyncio.run(load(e, gateways))
    kinds = {}
    for gateway in gateways:
        for name, value in gateway.metrics().items():
            if name.startswith("jobgate_polls_total"):
                kinds[name.split('"')[1]] = kinds.get(name.split('"')[1], 0) + int(value)
        gateway.stop()
    ledger = sim.ledger()
    sim.stop()
    redis.stop()
    return ledger, pollers, submissions, stranger, begin, kinds


def show_common(e, ledger, pollers, submissions, kinds):
    """What both runs show."""
    polls = [f for p in pollers for f in p.fates]
    gets = [entry for entry in ledger if entry["method"] == "GET" and entry["status"] != 401]
    e.shows("polls asked", len(polls), at_least=1)
    e.shows("upstream GETs", len(gets))
    e.figure("polls answered 200", sum(f.status == 200 for f in polls))
    e.figure("polls refused (429)", sum(f.status == 429 for f in polls))
    e.figure("answers by where they came from", ", ".join(f"{k} {v}" for k, v in sorted(kinds.items())) or "-")
    for name, found in (("polls", polls), ("submissions", submissions)):
        seconds = [f.seconds * 1000 for f in found]
        e.figure(f"{name}: median, ms", percentile(seconds, 0.5))
        e.figure(f"{name}: 99 %, ms", percentile(seconds, 0.99))
    e.shows("submissions", len(submissions), at_least=1)
    e.shows("submissions refused", sum(f.status != 202 for f in submissions))
    e.shows("longest wait of a submission for its call, ms", max(f.wait for f in submissions) * 1000)
    return gets


def show_sights(e, pollers, stranger, late_at_most=None):
    """Who saw the end, how late; whether anything went back; whether a stranger saw anything."""
    late, unseen = [], 0
    for poller in pollers:
        true_end = poller.job.started + e.options.job
        if poller.ended is None:
            unseen += true_end + (late_at_most or 0) < poller.until
        else:
            late.append(poller.ended - true_end)
    bounds = {} if late_at_most is None else {"at_most": late_at_most}
    e.shows("pollers that saw the end", len(late), **({} if late_at_most is None else {"at_least": 1}))
    e.shows("the latest of them, seconds after it", max(late, default=0.0), **bounds)
    e.shows("pollers that had not seen it by then", unseen, **({} if late_at_most is None else {"exactly": 0}))
    e.none("states that went back for a poller", [f for p in pollers for f in p.back], shows=True)
    e.figure("asked by strangers", len(stranger.fates), at_least=1)
    e.figure("answers to a token before it was revoked", sum(f.status == 200 for f in stranger.revoked.fates), at_least=1)
    e.none("answers to it later than its grant", stranger.revoked.late, shows=True)
    e.none("answers to strangers", [f for f in stranger.fates if f.status == 200], shows=True)


def show_phase(e, refresh):
    o = e.options
    ledger, pollers, submissions, stranger, begin, kinds = run_phase(e, refresh)
    posts = {}
    for poller in pollers:
        if poller.job.name not in posts:
            answer = next(f for f in poller.fates if f.status == 200)
            posts[poller.job.name] = parse_time(answer.json()["startTimeUtc"] + "Z")
        poller.job.started, poller.until = posts[poller.job.name], begin + o.seconds
    gets = show_common(e, ledger, pollers, submissions, kinds)
    show_sights(e, pollers, stranger, refresh + 2 if refresh else None)
    return gets, pollers, submissions, ledger


def run_on(e):
    o = e.options
    gets, pollers, submissions, ledger = show_phase(e, o.refresh)
    most = o.jobs * (o.seconds / o.refresh + 1)
    e.shows("upstream GETs, of at most a call per job and refresh", len(gets), at_most=most)
    e.shows("submissions refused, with polls kept", sum(f.status != 202 for f in submissions), exactly=0)
    e.shows("longest wait of a submission, ms", max(f.wait for f in submissions) * 1000, at_most=o.delay)
    e.none("polls that were not answered 200", [f for p in pollers for f in p.fates if f.status != 200], shows=True)
    show_quota(e, ledger, o.quota, o.window)


def run_off(e):
    show_phase(e, 0)


def main():
    # A submission's wait has its intent's fdatasync in it: on a busy machine that is what it takes.
    # 2 submissions a second and a GET per job every 15 s are 320 calls a minute; those who may not see are another 50.
    with Experiment("polls: one call for all who ask, and none kept", {"on": run_on, "off": run_off}, pollers=500, jobs=50, seconds=180.0,
                    rate=2.0, refresh=15.0, quota=500, window=60.0, job=130.0, spread=30.0, wait=20.0, delay=500.0,
                    grant=20.0) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
