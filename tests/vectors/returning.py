#!/usr/bin/env python3
"""Make returning.json: what the bucket of returning tokens must answer, by a model that shares no line with the C and Lua code.

The model keeps each token with the time at which it comes back, and pace and credit as exact fractions of tokens; it knows
nothing of rings and units. Run: ./returning.py > returning.json
"""
import json
import math
import random
from fractions import Fraction

LATENESS_US, SLOTS, WAITED_US = 20000, 256, 2000000


class Bucket:
    def __init__(self):
        self.epoch = None

    def take(self, quota, now, count, waiting=0, heard=(0, 0, -1), grace=0, paused=0):
        q = quota["requests"]
        slot = -(-(quota["window_us"] + quota["jitter_us"]) // SLOTS)
        life = slot * (SLOTS + 1)
        burst = quota["burst"]
        begun = self.epoch is None
        if begun:
            self.epoch, self.total, self.last, self.origin, self.tokens = now, 0, now, now, []
            self.pace = self.credit = Fraction(0)
            self.closed, self.waited = now + grace, now
        if now < self.last:
            by = now - self.last
            self.origin, self.closed, self.waited, self.last = self.origin + by, self.closed + by, self.waited + by, now
            self.tokens = [(back + by, is_burst) for back, is_burst in self.tokens]
        if heard[2] >= 0 and (begun or (heard[0] and (heard[0] != self.epoch or heard[1] > self.total))):
            self.closed = max(self.closed, now - heard[2] + life)
        rate = Fraction(q - sum(is_burst for _, is_burst in self.tokens), life)
        self.tokens = [(back, is_burst) for back, is_burst in self.tokens if back > now]
        bursts = sum(is_burst for _, is_burst in self.tokens)
        self.pace = min(1 + Fraction(q * LATENESS_US, life), self.pace + rate * (now - self.last))
        idle = now - max(self.last, self.waited)
        if idle > 0:
            self.credit += Fraction(q * idle, life)
        self.credit = max(Fraction(0), min(self.credit, Fraction(burst - bursts - int(self.pace))))
        self.last = now
        shut = max(0, self.closed - now, paused)
        if shut:
            self.pace = self.credit = Fraction(0)
            self.waited = max(self.waited, now + shut)
        granted = min(count, self.there(q))
        paced = min(granted, int(self.pace))
        self.pace -= paced
        self.credit -= granted - paced
        back = self.origin + ((now - self.origin) // slot + 1) * slot + SLOTS * slot
        self.tokens += [(back, i >= paced) for i in range(granted)]
        self.total += granted
        bursts += granted - paced
        if waiting > granted:
            self.waited = max(self.waited, now + WAITED_US)
        left, first = self.there(q), min((back for back, _ in self.tokens), default=now) - now
        if shut:
            wait = shut
        elif len(self.tokens) >= q:
            wait = first
        elif left:
            wait = 0
        else:
            wait = math.ceil((1 - self.pace) * life / (q - bursts)) if q > bursts else life
            if bursts:
                wait = min(wait, first)
        return [granted, wait, left, max(1, q - bursts), paused, self.epoch, self.total]

    def there(self, q):
        return max(0, min(q - len(self.tokens), int(self.pace) + int(self.credit)))


def quota(requests, window_us, jitter_us=250000, burst=None):
    return {"requests": requests, "window_us": window_us, "jitter_us": jitter_us, "burst": burst or requests * 3 // 4}


def case(name, q, steps):
    """STEPS: (now, count, {more}, expected granted or None)."""
    bucket, out = Bucket(), []
    for now, count, more, expected in steps:
        answer = bucket.take(q, now, count, **more)
        assert expected is None or answer[0] == expected, (name, now - T0, answer, expected)
        out.append({"now": now, "count": count, **more, "answer": answer})
    return {"name": name, "quota": q, "steps": out}


T0, S = 1700000000000000, 1000000
MINUTE, TEN, HIGH = quota(200, 60 * S), quota(100, 10 * S, 50000), quota(20000, 10 * S, 50000)


def walk(seed, q, steps, step_us, most):
    rng = random.Random(seed)
    now, out, bucket = T0, [], Bucket()
    for _ in range(steps):
        now += rng.choice((0, 1, rng.randrange(step_us), rng.randrange(step_us), rng.randrange(20 * step_us)))
        if rng.random() < 0.05:
            now -= rng.randrange(step_us)
        count = rng.randrange(most)
        more = {"waiting": count + rng.choice((0, 0, 5))}
        if rng.random() < 0.03:
            more["paused"] = rng.randrange(5 * S)
        if rng.random() < 0.02:
            more["heard"] = (T0 + rng.randrange(2), rng.randrange(200), rng.randrange(5 * S))
        out.append((now, count, more, None))
    return case(f"walk {seed}", q, out)


none = {}
cases = [
    case("a new bucket has all tokens, none of them at once", MINUTE,
         [(T0, 1, none, 0), (T0 + 302 * 1000, 1, none, 0), (T0 + 303 * 1000, 5, none, 2), (T0 + 10 * S, 200, none, 33)]),
    case("after a minute's idleness three quarters go at once, and one who comes later waits little", MINUTE,
         [(T0, 0, none, 0), (T0 + 61 * S, 200, {"waiting": 200}, 150), (T0 + 61 * S + 1210000, 1, {"waiting": 1}, 1),
          (T0 + 66 * S, 1, none, 1), (T0 + 67 * S, 9, none, None)]),
    case("credit does not grow while somebody waits, and does afterwards", MINUTE,
         [(T0, 0, {"waiting": 3}, 0)] + [(T0 + i * S, 0, {"waiting": 3}, 0) for i in range(1, 40)]
         + [(T0 + 41 * S, 9, {"waiting": 9}, 1), (T0 + 43 * S, 0, none, 0), (T0 + 53 * S, 90, none, 34)]),
    case("what was taken comes back after the window, the jitter and its slot, not before", quota(4, 10 * S, 250000, 4),
         [(T0, 0, none, 0), (T0 + 20 * S, 4, none, 4), (T0 + 30 * S, 1, none, 0), (T0 + 30 * S + 250000, 1, none, 0)]),
    case("nothing in the grace of a bucket that begins", TEN,
         [(T0, 1, {"grace": S}, 0), (T0 + 999999, 1, none, 0), (T0 + S + 200000, 1, none, 1)]),
    case("one that is missing for who has heard of grants: all are out", TEN,
         [(T0, 1, {"heard": (T0 - 5 * S, 7, 2 * S)}, 0), (T0 + 8 * S, 1, none, 0), (T0 + 8 * S + 300000, 9, none, None)]),
    case("one that lacks a grant that was heard of is stale", TEN,
         [(T0, 0, none, 0), (T0 + S, 1, none, 1), (T0 + 2 * S, 1, {"heard": (T0, 1, 0)}, 1),
          (T0 + 3 * S, 1, {"heard": (T0, 3, 1000)}, 0), (T0 + 13 * S, 1, none, 0), (T0 + 13 * S + 300000, 1, none, 1)]),
    case("after a pause no credit is left, and tokens come evenly", MINUTE,
         [(T0, 0, none, 0), (T0 + 61 * S, 1, none, 1), (T0 + 62 * S, 9, {"paused": 5 * S}, 0), (T0 + 66 * S, 0, {"paused": S}, 0),
          (T0 + 67 * S, 50, {"waiting": 50}, 1), (T0 + 67 * S + 1000, 50, {"waiting": 50}, 0)]),
    case("a clock that steps back", TEN,
         [(T0, 0, none, 0), (T0 + 20 * S, 100, none, 75), (T0 - 60 * S, 100, none, 0), (T0 - 60 * S + 500000, 1, none, 1)]),
    case("a step forward brings all back", TEN,
         [(T0, 0, none, 0), (T0 + 20 * S, 100, none, 75), (T0 + 1000 * S, 100, none, 75)]),
] + [walk(seed, q, 80, step, most) for seed, (q, step, most) in enumerate((
    (MINUTE, 900000, 30), (MINUTE, 90000, 4), (TEN, 300000, 20), (HIGH, 9000, 300), (quota(2, 3600 * S), 600 * S, 3),
    (quota(50, 5 * S, 1000, 50), 40000, 9), (quota(1000000, S, 1000), 20000, 90000), (quota(200, 60 * S, 250000, 2), 900000, 5)))]

print('{"cases": [')
for i, made in enumerate(cases):
    head = {key: value for key, value in made.items() if key != "steps"}
    print(json.dumps(head)[:-1] + ', "steps": [')
    print(",\n".join(" " + json.dumps(step) for step in made["steps"]))
    print("]}" + ("," if i + 1 < len(cases) else ""))
print("]}")
