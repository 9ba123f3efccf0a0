#!/usr/bin/env python3
"""Make bucket.json: what the bucket must answer, by a model that shares no line with the C and Lua code.

The model keeps tokens as exact fractions and knows nothing of units, save where a changed quota is
converted, which the product does in doubles. Run: ./bucket.py > bucket.json
"""
import json
import math
import random
from fractions import Fraction

LATENESS_US = 20000


class Bucket:
    def __init__(self):
        self.seen = False

    def take(self, quota, count, now):
        q = quota["requests"] - quota.get("outside", 0)
        period = quota["window_us"] + quota["jitter_us"] + LATENESS_US
        rate = Fraction(q - 1, period)  # tokens a microsecond
        depth = 1 + rate * LATENESS_US
        if not self.seen:
            self.seen, self.tokens, self.period, self.last = True, Fraction(0), period, now
        if self.period != period:
            share = float(int(self.tokens * self.period)) / float(self.period) * float(period)
            units = max(0, math.floor(share) - 1)
            self.tokens, self.period = Fraction(units, period), period
        self.tokens = min(depth, self.tokens + rate * max(0, now - self.last))
        self.last = now
        granted = min(count, int(self.tokens))
        self.tokens -= granted
        wait = 0 if self.tokens >= 1 else math.ceil((1 - self.tokens) / rate)
        units = self.tokens * period
        assert units.denominator == 1
        return granted, wait, "%d:%d:%d" % (units, now, period)


def quota(requests, window_us, jitter_us=250000, outside=0):
    return {"requests": requests, "window_us": window_us, "jitter_us": jitter_us, "outside": outside}


def case(name, steps, state=None):
    """Run STEPS of (quota, now, count[, expected granted]) and write down what the model says."""
    bucket, out = Bucket(), []
    for q, now, count, *expected in steps:
        granted, wait, after = bucket.take(q, count, now)
        assert not expected or granted == expected[0], (name, now, granted, expected)
        out.append({"quota": q, "now": now, "count": count, "granted": granted, "wait_us": wait, "state": after})
    made = {"name": name, "steps": out}
    if state is not None:
        made["state"] = state
    return made


def walk(seed, quotas, steps, step_us, count):
    rng = random.Random(seed)
    now, out, q = 1700000000000000, [], quotas[0]
    for _ in range(steps):
        now += rng.choice((0, 1, rng.randrange(step_us), rng.randrange(step_us), -rng.randrange(step_us) // 8))
        if rng.random() < 0.1:
            q = rng.choice(quotas)
        out.append((q, now, rng.randrange(count)))
    return case("walk %d" % seed, out)


T0 = 1700000000000000
MINUTE = quota(200, 60000000)
TEN = quota(100, 10000000)
LEAST = quota(2, 3600000000)
MOST = quota(10000000, 1000000, 1000)
DAYS = 86400 * 1000000

cases = [
    case("missing starts empty, the first token comes a period/(Q-1) later",
         [(TEN, T0, 1, 0), (TEN, T0 + 103737, 1, 0), (TEN, T0 + 103738, 1, 1)]),
    case("a look takes nothing and starts the filling", [(TEN, T0, 0, 0), (TEN, T0 + 200000, 0, 0), (TEN, T0 + 200000, 5, 1)]),
    case("late by L loses nothing, later does",
         [(TEN, T0, 0), (TEN, T0 + 123738, 1, 1), (TEN, T0 + 207476, 1, 1), (TEN, T0 + 10 * 1000000, 3, 1)]),
    case("the first wait is the promised wait, to the microsecond",
         [(MINUTE, T0, 1, 0), (MINUTE, T0 + 302864, 1, 0), (MINUTE, T0 + 302865, 1, 1)]),
    case("a clock that steps back neither freezes nor mints",
         [(TEN, T0, 0), (TEN, T0 + 200000, 1, 1), (TEN, T0 - 60000000, 1, 0), (TEN, T0 - 60000000 + 103738, 1, 1),
          (TEN, T0, 9, 1)]),
    case("a clock that steps far ahead gives one bucket", [(TEN, T0, 0), (TEN, T0 + 36500 * DAYS, 100, 1)]),
    case("a burst at a high rate takes what twenty milliseconds hold",
         [(MOST, T0, 1000, 0), (MOST, T0 + 1, 1000, 9), (MOST, T0 + 1000000, 10000000, 195887)]),
    case("the slowest quota: one in an hour", [(LEAST, T0, 1, 0), (LEAST, T0 + 3600270000 - 1, 1, 0), (LEAST, T0 + 3600270000, 1, 1)]),
    case("calls from outside are taken off", [(quota(100, 10000000, 250000, 98), T0, 1, 0), (quota(100, 10000000, 250000, 98), T0 + 10270000, 1, 1)]),
    case("a raised quota keeps the share of a token, rounded down",
         [(TEN, T0, 0), (TEN, T0 + 100000, 1, 0), (quota(200, 20000000), T0 + 100000, 1, 0), (quota(200, 20000000), T0 + 110000, 1, 1)]),
    case("a lowered quota is capped to its own depth",
         [(MOST, T0, 0), (MOST, T0 + 1000000, 0), (TEN, T0 + 1000000, 10, 1)]),
    case("two quotas in turn, as in a fleet half reloaded, still give tokens",
         [((TEN, MINUTE)[i % 2], T0 + i * 90000, 1) for i in range(40)]),
    case("state that is no state is an empty bucket", [(TEN, T0, 1, 0), (TEN, T0 + 103738, 1, 1)], "garbage"),
    case("state with a sign is no state", [(TEN, T0, 1, 0)], "-5:1700000000000000:10270000"),
    case("state of no units is no state", [(TEN, T0, 1, 0)], "5:1700000000000000:0"),
] + [
    walk(seed, quotas, 60, step_us, count)
    for seed, (quotas, step_us, count) in enumerate((
        ([TEN], 400000, 4), ([MINUTE], 900000, 3), ([MOST], 30000, 300000), ([LEAST], 7200000000, 2),
        ([TEN, MINUTE, quota(50, 60000000, 50000)], 500000, 3), ([MOST, LEAST, TEN], 4000000, 1000),
        ([quota(9999991, 3600000000, 3600000000, 3)], 40000, 100)))
]
print('{"cases": [')
for i, made in enumerate(cases):
    head = {key: value for key, value in made.items() if key != "steps"}
    print(json.dumps(head)[:-1] + ', "steps": [')
    print(",\n".join(" " + json.dumps(step) for step in made["steps"]))
    print("]}" + ("," if i + 1 < len(cases) else ""))
print("]}")
