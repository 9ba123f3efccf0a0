"""audit.anchors: instances show each other the heads of their journals, and `jobgate audit verify` holds them to it."""

import json
import os
import signal
import subprocess

from harness import BASE, binary
from journals import rechain
from redis_double import RedisDouble
from wire import wait_for

RUN = f"{BASE}/DefaultJob/instances"
KEY = "jobgate:3:heads"
OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


def heads(redis):
    """What is shown, as [journal, seq, hash]."""
    return [line.split()[:3] for line in redis.command("GET", KEY).decode().split("\r\n", 1)[1].split("\n") if line.strip()]


def showings(redis, count):
    """Wait for so many, of whom it may be."""
    for _ in range(count):
        old = redis.command("GET", KEY)
        wait_for(lambda old=old: redis.command("GET", KEY) != old, what="a showing")


def folder(gateway):
    return os.path.join(gateway.folder, "audit")


def uuid(gateway):
    return gateway.records()[0]["journal"]


def start(fleet, count, store, anchors="1s"):
    """So many gateways over one store; each is settled and has a trigger in its journal."""
    sim = fleet.simulator()
    gateways = []
    for i in range(count):
        config = fleet.config(sim.port, store={"redis": store}, instance=f"gate-{i}")
        config["audit"] = {"directory": "audit", "anchors": anchors}
        gateways.append(fleet.gateway(sim, config=config))
    for gateway in gateways:
        gateway.settle()
        assert gateway.request("POST", RUN).status == 202
    return gateways


def head(gateway):
    """The place of the last record that is no anchor."""
    return [record for record in gateway.records() if record["kind"] != "anchor"][-1]["seq"]


def is_anchored(witness, gateway):
    """Whether WITNESS has written down all that GATEWAY has but anchors."""
    return any(r["of_journal"] == uuid(gateway) and r["of_seq"] >= head(gateway) for r in witness.records("anchor"))


def wait_anchored(gateways):
    for gateway in gateways:
        for witness in gateways:
            if witness is not gateway:
                wait_for(lambda w=witness, g=gateway: is_anchored(w, g), what="an anchor")


def verify(*folders):
    return subprocess.run([binary("jobgate"), "audit", "verify", *map(str, folders)], capture_output=True, text=True, timeout=60,
                          check=False)


def test_each_writes_down_the_others_heads(fleet):
    redis = fleet.redis()
    gateways = start(fleet, 3, redis.url)
    wait_anchored(gateways)
    records = {uuid(g): {r["seq"]: r["hash"] for r in g.records()} for g in gateways}
    for gateway in gateways:
        anchors = gateway.records("anchor")
        assert {r["of_journal"] for r in anchors} == set(records) - {uuid(gateway)}
        assert all(records[r["of_journal"]][r["of_seq"]] == r["of_hash"] for r in anchors)
        heads = [(r["of_journal"], r["of_seq"], r["of_hash"]) for r in anchors]
        assert len(heads) == len(set(heads))                        # none is written twice
        assert gateway.metrics()['jobgate_audit_records_total{kind="anchor"}'] >= len(anchors)
        assert gateway.metrics()["jobgate_audit_anchors_up"] == 1
    life = int(redis.command("PTTL", KEY)[1:])
    assert 86_000_000 < life <= 86_400_000


def test_an_idle_fleet_is_quiet(fleet):
    """An anchor moves its own journal's head: had that counted as news, two idle instances would have answered each other
    for ever, a record a minute and neighbour."""
    redis = fleet.redis()
    gateways = start(fleet, 2, redis.url)
    wait_anchored(gateways)
    before = None
    for _ in range(20):                                             # until the last records have been answered
        if before == (before := ([len(g.records("anchor")) for g in gateways], sorted(heads(redis)))):
            break
        showings(redis, 4)
    showings(redis, 6)
    assert ([len(g.records("anchor")) for g in gateways], sorted(heads(redis))) == before


def test_off_and_without_redis_nothing_is_shown(fleet):
    redis = fleet.redis()
    gateways = start(fleet, 2, redis.url, anchors="0s")
    assert redis.command("EXISTS", KEY) == b":0\r\n"
    for gateway in gateways:                                        # by a reload it begins
        config = json.loads(open(gateway.config_file, encoding="utf-8").read())
        config["audit"]["anchors"] = "1s"
        gateway.write_config(config)
        gateway.send_signal(signal.SIGHUP)
    wait_anchored(gateways)


def test_a_store_that_is_full_hurts_nobody_by_it(fleet):
    """The head's call is refused, the bucket's is not: the store is well, and the head is shown once it can be."""
    redis = fleet.redis()
    double = RedisDouble(redis.port)
    double.refuse = lambda words: OOM if any(word.endswith(b":heads") for word in words) else None
    gateway = start(fleet, 1, f"redis://127.0.0.1:{double.port}")[0]
    assert "OOM" in gateway.wait_event("audit head not shown")["why"]
    assert gateway.metrics()["jobgate_audit_anchors_up"] == 0 and gateway.metrics()["jobgate_store_up"] == 1
    assert gateway.request("POST", RUN).status == 202
    assert not gateway.events("store down") and json.loads(gateway.admin("/readyz").body)["reasons"] == []
    double.refuse = lambda words: None
    gateway.wait_event("audit head shown again")
    assert gateway.metrics()["jobgate_audit_anchors_up"] == 1


def test_a_store_that_is_away_and_comes_back(fleet):
    redis = fleet.redis()
    gateways = start(fleet, 2, redis.url)
    wait_anchored(gateways)
    redis.send_signal(signal.SIGSTOP)
    for gateway in gateways:
        gateway.wait_event("audit head not shown")
    redis.send_signal(signal.SIGCONT)
    for gateway in gateways:
        gateway.wait_event("audit head shown again")
        gateway.settle()
        assert gateway.request("POST", RUN).status == 202
    wait_anchored(gateways)


def test_what_stands_in_redis_is_not_believed(fleet):
    """Whoever may write there: what is no head is passed over, and there are never more than 63."""
    redis = fleet.redis()
    lines = [f"{i:08x}-0000-4000-8000-000000000000 {i + 1} {'ab' * 32} 99999999999999\n" for i in range(100)]
    lines[3:3] = ["x 1 aa 99999999999999\n", f"{'A' * 36} 1 {'ab' * 32} 99999999999999\n",
                  f"00000000-0000-4000-8000-00000000000A 1 {'ab' * 32} 99999999999999\n",
                  f"00000000-0000-4000-8000-00000000000b 0 {'ab' * 32} 99999999999999\n",
                  f"00000000-0000-4000-8000-00000000000c 99999999999999999999 {'ab' * 32} 99999999999999\n",
                  f"00000000-0000-4000-8000-00000000000d 1 {'AB' * 32} 99999999999999\n", "rubbish", "\n\n"]
    assert redis.command("SET", KEY, "".join(lines)) == b"+OK\r\n"
    gateway = start(fleet, 1, redis.url)[0]
    anchors = gateway.wait_records("anchor", 50)
    assert all(r["of_journal"].endswith("-0000-4000-8000-000000000000") for r in anchors) and len(anchors) <= 63
    assert len(heads(redis)) == 64


def only_file(gateway):
    return os.path.join(folder(gateway), [name for name in os.listdir(folder(gateway)) if name.endswith(".jsonl")][0])


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))


def fails(done):
    """{directory: what is said of it} of those that failed."""
    return {line.split(": FAILED at ")[0]: line.split(": FAILED at ")[1] for line in done.stdout.splitlines() if ": FAILED at " in line}


def test_verify_holds_each_to_what_the_others_saw(fleet, tmp_path):
    """While they write, as copies, cut, and rewritten with all hashes made anew."""
    gateways = start(fleet, 3, fleet.redis().url)
    for gateway in gateways:
        assert gateway.request("POST", RUN).status == 202
    wait_anchored(gateways)
    folders = [folder(g) for g in gateways]
    for _ in range(5):                                              # which are being written
        done = verify(*folders)
        assert done.returncode == 0 and done.stdout.count("anchors of other journals have it right") == 3, done.stdout
    done = verify(folders[0])
    assert done.returncode == 0 and f"are of journal {uuid(gateways[1])}, which was not given" in done.stdout
    for gateway in gateways:
        gateway.stop()
    assert verify(*folders).returncode == 0
    path = only_file(gateways[1])
    lines = read_lines(path)
    seen = [r["of_seq"] for g in (gateways[0], gateways[2]) for r in g.records("anchor") if r["of_journal"] == uuid(gateways[1])]

    keep = max(seen) - 2                                            # the end is cut off, the last anchor's record with it
    write_lines(path, lines[:keep])
    os.rename(os.path.join(folders[1], "journal.checkpoint"), tmp_path / "checkpoint")
    assert verify(folders[1]).returncode == 0                       # by itself nobody could tell
    done = verify(*folders)
    assert list(fails(done)) == [folders[1]] and f"{path}:{keep}: records are missing at the end" in done.stdout, done.stdout
    assert f"it ends with seq {keep}, but" in done.stdout and done.returncode == 1
    assert verify("--as-of", "1d", *folders).returncode == 0        # that may be an older copy
    assert verify("--as-of", "0s", *folders).returncode == 1

    at = lines.index(next(line for line in lines if '"kind":"intent"' in line))     # "that was not us"
    last = [line.replace('"caller":"etl"', '"caller":"abc"') for line in lines[at:at + 1]] + lines[at + 1:]
    write_lines(path, lines[:at] + rechain(last, json.loads(lines[at])["prev"]))
    assert verify(folders[1]).returncode == 0
    done = verify(*folders)
    first = max([s for s in seen if s <= at], default=0) + 1
    end = min(s for s in seen if s > at)
    assert list(fails(done)) == [folders[1]], done.stdout
    assert f"{path}:{first}: rewritten: the first bad record is one of seq {first} to {end};" in done.stdout, done.stdout
    assert verify("--as-of", "1d", *folders).returncode == 1

    write_lines(path, [])                                           # nothing is left of it but its name
    done = verify(*folders)
    assert list(fails(done)) == [folders[1]] and "it ends with seq 0" in done.stdout
    write_lines(path, lines)
    assert verify(*folders).returncode == 0
