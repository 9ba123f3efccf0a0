"""Thousands of tamperings with the journals of a fleet: each is detected, in the right journal and at the right place.

Three instances over one Redis write their journals under load, with anchors. Then the journals are cut into files of every
length and one of them (of the forgers who work together: two) is tampered with, as clumsily or as carefully as can be; and
`jobgate audit verify` is asked. Journals that nobody has touched must be found good as often.
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bench import CALLERS, Experiment, callers_config, key_of
from harness import BASE, binary
from journals import ZEROS, rechain
from wire import wait_for

COUNT = 3
PREV = ',"prev":"'


class Book:
    """One journal: its lines without newlines, and how they are cut into files."""

    def __init__(self, lines, starts=(0,)):
        self.lines, self.starts = list(lines), list(starts)

    def copy(self):
        return Book(self.lines, self.starts)

    def files(self):
        """[first line's index, end] of each file."""
        return list(zip(self.starts, self.starts[1:] + [len(self.lines)]))

    def where(self, index):
        """The file (its number) and the line in it of line INDEX."""
        number = max(n for n, start in enumerate(self.starts) if start <= index)
        return number, index - self.starts[number] + 1


def field(line, name):
    return json.loads(line)[name]


class World:
    """The journals as they were written, and what each has seen of the others."""

    def __init__(self, books):
        self.books = books
        self.records = [[json.loads(line) for line in lines] for lines in books]
        self.uuids = [records[0]["journal"] for records in self.records]

    def seen(self, which, witnesses):
        """The seqs of journal WHICH that the WITNESSES' anchors have, in order."""
        return sorted({r["of_seq"] for w in witnesses for r in self.records[w]
                       if r["kind"] == "anchor" and r["of_journal"] == self.uuids[which]})


# --- tamperings: each takes (random, world, book, which) and gives ({file number: bytes or None}, expected) -----------

class Case:
    """What was done: to which journals, and where verify must put its finger."""

    def __init__(self, books):
        self.books, self.raw, self.gone, self.names = books, {}, set(), {}
        self.expect = {}        # journal: (file number, line) or a function of the verdict's text
        self.slandered = {}     # journal: what a forged anchor says of it, where nobody knows better

    def put(self, which, number, text):
        """File NUMBER of journal WHICH has these bytes, whatever its lines are."""
        self.raw[which, number] = text


def file_text(book, number):
    first, end = book.files()[number]
    return "".join(line + "\n" for line in book.lines[first:end]).encode()


def tamper_byte(random, case, world, which):
    """One byte becomes another."""
    book = case.books[which]
    index = random.randrange(len(book.lines))
    number, line = book.where(index)
    text = bytearray(file_text(book, number))
    begin = sum(len(other.encode()) + 1 for other in book.lines[book.files()[number][0]:index])
    at = begin + random.randrange(len(book.lines[index].encode()) + 1)
    text[at] = random.choice([b for b in range(256) if b != text[at]])
    case.put(which, number, bytes(text))
    case.expect[which] = (number, line)


def tamper_drop(random, case, world, which):
    """A line is taken out; not one of the end, which is a cut."""
    book = case.books[which]
    index = random.randrange(len(book.lines) - 1)
    number, line = book.where(index)
    first, end = book.files()[number]
    lines = book.lines[first:index] + book.lines[index + 1:end]
    case.put(which, number, "".join(line + "\n" for line in lines).encode())
    if not lines:
        case.expect[which] = (number, 0)
    elif index == end - 1:
        case.expect[which] = (number + 1, 1)
    else:
        case.expect[which] = (number, line)


def tamper_file(random, case, world, which):
    """A whole file is taken away, but the last one."""
    book = case.books[which]
    number = random.randrange(len(book.starts) - 1)
    case.gone.add((which, number))
    case.expect[which] = (number + 1, 1)


def tamper_swap(random, case, world, which):
    """Two lines change places."""
    book = case.books[which]
    a, b = sorted(random.sample(range(len(book.lines)), 2))
    if random.random() < 0.5:
        b = a + 1 if a + 1 < len(book.lines) else a
        a = b - 1
    book.lines[a], book.lines[b] = book.lines[b], book.lines[a]
    case.expect[which] = book.where(a)


def expect_cut(case, which, keep):
    """The journal ends with line KEEP (of 0: with none); verify says so, and where."""
    book = case.books[which]
    number, line = book.where(keep - 1) if keep else (0, 1)
    case.expect[which] = (number, line, f"it ends with seq {field(book.lines[keep - 1], 'seq') if keep else 0}, but")


def tamper_cut(random, case, world, which):
    """The end is cut off, at a line or within one, and the checkpoint with it; the last that anybody has seen goes too."""
    book = case.books[which]
    last = world.seen(which, [w for w in range(COUNT) if w != which])[-1]
    keep = random.randrange(last)
    expect_cut(case, which, keep)
    torn = book.lines[keep].encode()[:random.randrange(1, len(book.lines[keep]))] if random.random() < 0.5 else b""
    for number, (first, end) in enumerate(book.files()):
        if first > keep:
            case.gone.add((which, number))
        elif end > keep:
            case.put(which, number, "".join(line + "\n" for line in book.lines[first:keep]).encode() + torn)


def renumber(lines, seq):
    """The lines with seqs from SEQ on."""
    out = []
    for line in lines:
        begin, rest = line.split(',"seq":', 1)
        out.append(f'{begin},"seq":{seq},{rest.split(",", 1)[1]}')
        seq += 1
    return out


def forge_line(random, line):
    """A record that says something else."""
    record = json.loads(line)
    if record["kind"] == "anchor":
        old = record["of_hash"]
        return line.replace(old, old[::-1] if old != old[::-1] else ZEROS)
    if record.get("caller") and random.random() < 0.5:
        return line.replace(f'"caller":"{record["caller"]}"', '"caller":"nobody"')
    old = record["time"]
    return line.replace(old, old[:-7] + f"{(int(old[-7:-1]) + 1) % 1000000:06d}Z")


def pairs_of(lines):
    """Indices of intents and of their outcomes."""
    outcomes = {field(line, "request_id"): i for i, line in enumerate(lines) if '"kind":"outcome"' in line}
    return [(i, outcomes[field(line, "request_id")]) for i, line in enumerate(lines)
            if '"kind":"intent"' in line and field(line, "request_id") in outcomes]


def forge(random, lines, limit):
    """The lines with one changed, a trigger taken out or one put in; the index of the first that differs, below LIMIT."""
    pairs = [pair for pair in pairs_of(lines) if pair[1] < limit]
    what = random.choice(["change", "out", "in"]) if pairs else "change"
    if what == "change":
        at = random.randrange(limit)
        return lines[:at] + [forge_line(random, lines[at])] + lines[at + 1:], at
    intent, outcome = random.choice(pairs)
    if what == "out":
        return [line for i, line in enumerate(lines) if i not in (intent, outcome)], intent
    another = f"{random.getrandbits(128):032x}"
    made = [lines[i].replace(field(lines[intent], "request_id"), another) for i in (intent, outcome)]
    at = random.randrange(limit)
    return lines[:at] + made + lines[at:], at


def expect_rewritten(case, which, seen, at):
    """All seqs from AT + 1 on are other records: verify knows that one of the seqs between two that were seen is the first."""
    book = case.books[which]
    first, last = max([s for s in seen if s <= at], default=0) + 1, min(s for s in seen if s > at)
    number, line = book.where(first - 1)
    if last > len(book.lines):      # what was taken out has made it end before that
        case.expect[which] = book.where(len(book.lines) - 1) + (f"it ends with seq {len(book.lines)}, but",)
    else:
        case.expect[which] = (number, line, f"the first bad record is one of seq {first} to {last};")
    case.widths.append(last - first + 1)


def expect_slander(case, world, which, at, line):
    """
    A forged anchor, at AT, accuses an innocent journal. The third knows its author for a liar where it has seen what follows; else
    it is one's word against the other's, and verify cannot but report both.
    """
    record = json.loads(line)
    if record["kind"] != "anchor":
        return
    accused = world.uuids.index(record["of_journal"])
    if not [seq for seq in world.seen(which, [COUNT - which - accused]) if seq > at]:
        case.slandered[accused] = f"gate{which} has seen another seq {record['of_seq']} (its anchor at seq {at + 1})"


def tamper_rewrite(random, case, world, which):
    """Something is forged and all that follows is made anew: seqs, prevs, hashes. The chain is good."""
    book = case.books[which]
    seen = world.seen(which, [w for w in range(COUNT) if w != which])
    lines, at = forge(random, book.lines, seen[-1])
    if len(lines) == len(book.lines):
        expect_slander(case, world, which, at, book.lines[at])
    prev = field(lines[at - 1], "hash") if at else ZEROS
    book.lines = lines[:at] + rechain(renumber(lines[at:], at + 1), prev)
    book.starts = [start for start in book.starts if start < len(book.lines)]
    expect_rewritten(case, which, seen, at)


def relink(world, case, which, at, friend):
    """Make WHICH from line AT on and FRIEND's whole journal anew, so that each has seen what the other now has."""
    mine, theirs = case.books[which].lines, case.books[friend].lines
    old = {(which, r["seq"]): r["hash"] for r in world.records[which]} | {(friend, r["seq"]): r["hash"] for r in world.records[friend]}
    new, done = dict(old), {which: at, friend: 0}
    books = {which: mine, friend: theirs}
    while any(done[w] < len(books[w]) for w in done):
        moved = False
        for w, other in ((which, friend), (friend, which)):
            while done[w] < len(books[w]):
                i, line = done[w], books[w][done[w]]
                record = json.loads(line)
                if record["kind"] == "anchor" and record["of_journal"] == world.uuids[other]:
                    if record["of_seq"] > done[other]:
                        break
                    line = line.replace(record["of_hash"], new[other, record["of_seq"]])
                books[w][i] = rechain([line], new[w, i] if i else ZEROS)[0]
                new[w, i + 1] = field(books[w][i], "hash")
                done[w], moved = i + 1, True
        assert moved, "anchors in a circle"


def tamper_collude(random, case, world, which):
    """Two journals of three are made anew, each with anchors of what the other has become: the third has seen both."""
    friend = random.choice([w for w in range(COUNT) if w != which])
    third = 3 - which - friend
    seen = world.seen(which, [third])
    at = random.choice([i for i in range(seen[-1]) if world.records[which][i]["kind"] != "anchor"])
    before = list(case.books[friend].lines)
    case.books[which].lines[at] = forge_line(random, case.books[which].lines[at])
    relink(world, case, which, at, friend)
    expect_rewritten(case, which, seen, at)
    changed = [i for i, (a, b) in enumerate(zip(before, case.books[friend].lines)) if a != b]
    theirs = world.seen(friend, [third])
    if changed and changed[0] < theirs[-1]:
        expect_rewritten(case, friend, theirs, changed[0])
    elif changed:
        case.unseen = True      # the friend's anchor is newer than all that the third has seen of it


def tamper_nothing(random, case, world, which):
    """Nothing is done."""


KINDS = {"byte": tamper_byte, "drop": tamper_drop, "file": tamper_file, "swap": tamper_swap, "cut": tamper_cut,
         "rewrite": tamper_rewrite, "collude": tamper_collude, "nothing": tamper_nothing}


# --- running --------------------------------------------------------------------------------------------------------

def cut_into_files(random, lines):
    """A book of one to six files."""
    starts = {0} | {random.randrange(1, len(lines)) for _ in range(random.randrange(1, 6))}
    return Book(lines, sorted(starts))


def write_case(folder, world, case):
    """Write the directories; {journal: names of its files by number}."""
    names = {}
    for which, book in enumerate(case.books):
        directory = os.path.join(folder, f"gate{which}")
        os.makedirs(directory)
        with open(os.path.join(directory, "journal.id"), "w", encoding="ascii") as file:
            file.write(world.uuids[which] + "\n")
        starts = case.starts[which]
        names[which] = [f"{start + 1:020d}-20261129.jsonl" for start in starts]
        for number in range(len(starts)):
            if (which, number) in case.gone or (number >= len(book.starts) and (which, number) not in case.raw):
                continue
            text = case.raw.get((which, number))
            with open(os.path.join(directory, names[which][number]), "wb") as file:
                file.write(file_text(book, number) if text is None else text)
    return names


def judge(case, names, folder, done):
    """What is wrong with verify's answer; None: nothing."""
    failed = {}
    for line in done.stdout.splitlines():
        head, found, rest = line.partition(": FAILED at ")
        if found:
            failed[int(head[-1])] = rest
    slandered = {which for which in set(failed) - set(case.expect) if case.slandered.get(which, "\n") in failed[which]}
    if set(failed) - slandered != set(case.expect) or done.returncode != (1 if case.expect else 0):
        return f"found bad: {sorted(failed)}, tampered with: {sorted(case.expect)}, exit {done.returncode}"
    for which, (number, line, *words) in case.expect.items():
        place = os.path.join(folder, f"gate{which}", names[which][number]) + (f":{line}" if line else "")
        if not failed[which].startswith(place + ": ") or not all(word in failed[which] for word in words):
            return f"{place} {words} was expected"
    return None


class Run:
    """Tampers and asks, on several threads."""

    def __init__(self, e, world):
        self.e, self.world, self.lock = e, world, threading.Lock()
        self.count, self.wrong, self.widths, self.unseen, self.slandered = dict.fromkeys(KINDS, 0), [], [], 0, 0

    def one(self, number):
        random = __import__("random").Random(f"{self.e.options.seed}/{number}")
        kinds = list(KINDS)
        kind = kinds[number % len(kinds)]
        case = Case([cut_into_files(random, lines) for lines in self.world.books])
        case.starts, case.widths, case.unseen = [list(book.starts) for book in case.books], [], False
        KINDS[kind](random, case, self.world, random.randrange(COUNT))
        folder = os.path.join(str(self.e.fleet.folder), f"case{number}")
        names = write_case(folder, self.world, case)
        done = subprocess.run([binary("jobgate"), "audit", "verify", *(os.path.join(folder, f"gate{w}") for w in range(COUNT))],
                              capture_output=True, text=True, timeout=120, check=False)
        fault = judge(case, names, folder, done)
        with self.lock:
            self.count[kind] += 1
            self.widths += case.widths
            self.unseen += case.unseen
            self.slandered += len(case.slandered)
            if fault:
                self.wrong.append(f"{number} {kind}: {fault}: {done.stdout}{done.stderr}")
        if not fault:
            subprocess.run(["rm", "-r", folder], check=True)


def record(e):
    """Let three instances write, and keep what they wrote."""
    o = e.options
    sim, redis = e.fleet.simulator("--latency", 2), e.fleet.redis()
    gateways = [e.fleet.gateway(sim, store={"redis": redis.url}, instance=f"gate{n}", callers=callers_config(),
                                audit={"directory": "audit", "anchors": "1s"}) for n in range(COUNT)]
    for gateway in gateways:
        gateway.settle()
    end = time.monotonic() + o.seconds
    while time.monotonic() < end:
        gateway = e.random.choice(gateways)
        gateway.request("POST", f"{BASE}/DefaultJob/instances", key=key_of(e.random.choice(CALLERS)))
        if e.random.random() < 0.02:
            gateway.request("POST", f"{BASE}/DefaultJob/instances", key="sk-nobody")
        time.sleep(e.random.random() * 2 / o.rate)
    for gateway in gateways:
        wait_for(lambda g=gateway: len(g.records("anchor")) >= 2, what="anchors")
    folders = []
    for gateway in gateways:
        gateway.stop()
        folders.append(os.path.join(gateway.folder, "audit"))
    done = subprocess.run([binary("jobgate"), "audit", "verify", *folders], capture_output=True, text=True, check=False)
    e.figure("the fleet's own directories, exit code of verify", done.returncode, exactly=0)
    books = []
    for folder in folders:
        lines = []
        for name in sorted(n for n in os.listdir(folder) if n.endswith(".jsonl")):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                lines += file.read().splitlines()
        books.append(lines)
    return World(books)


def fleet(e):
    """Three instances; e.options.count tamperings."""
    world = record(e)
    e.figure("records of the three journals", sum(map(len, world.books)))
    e.figure("  of them anchors", sum(r["kind"] == "anchor" for records in world.records for r in records), at_least=6)
    run, begun = Run(e, world), time.monotonic()
    with ThreadPoolExecutor(e.options.threads) as pool:
        list(pool.map(run.one, range(e.options.count * len(KINDS) // (len(KINDS) - 1))))
    for kind, count in run.count.items():
        e.figure(f"cases: {kind}", count)
    e.shows("tamperings", sum(run.count.values()) - run.count["nothing"], at_least=e.options.count - len(KINDS))
    e.shows("journals that nobody had tampered with", run.count["nothing"], at_least=1)
    widths = sorted(run.widths)
    e.figure("records among which the first bad one of a rewritten journal is, median", widths[len(widths) // 2])
    e.figure("  most", widths[-1])
    e.figure("cases of `collude` whose friend's change nobody had seen yet", run.unseen)
    e.figure("forged anchors that only the accused could contradict", run.slandered)
    e.figure("a second", sum(run.count.values()) / (time.monotonic() - begun))
    e.none("verdicts that were wrong, or at the wrong place", run.wrong, shows=True)


def main():
    with Experiment("tamper: what somebody does to the journals of a fleet, and whether verify finds it", {"fleet": fleet}, count=5000,
                    seconds=40.0, rate=12.0, threads=2) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
