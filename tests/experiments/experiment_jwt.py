"""
What a token costs: its whole check (form, key, signature, claims) against OpenSSL's own measure of the same signature, in the
same run; and cjose against OpenSSL's EVP.
"""

import os
import re
import statistics
import subprocess
import sys

from bench import Experiment
from harness import BUILD, ROOT

LIBRARIES = ["-lcjose", "-ljansson", "-lcrypto", "-lm", "-lpthread"]
# The machine does other things too: each turn measures both, one after the other.
ROUNDS = 5
# What `openssl speed` calls the same signature check: a PSS differs by two SHA-256 of short texts.
SPEED = {"RS256": "rsa2048", "PS256": "rsa2048", "ES256": "ecdsap256"}


def build(folder):
    """The measuring program, linked with the build's own libraries."""
    program = os.path.join(folder, "jwt_speed")
    archives = [os.path.join(BUILD, f"libjobgate_{floor}.a") for floor in ("io", "rules", "base")]
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-I", os.path.join(ROOT, "gateway"), "-I",
                    os.path.join(ROOT, "tests", "unit"), os.path.join(ROOT, "tests", "experiments", "jwt_speed.c"), *archives,
                    *LIBRARIES, "-lcmocka", "-o", program], check=True)
    return program


def openssl_speed(name, seconds):
    """Microseconds of one check by `openssl speed`."""
    done = subprocess.run(["openssl", "speed", "-seconds", str(seconds), name], capture_output=True, text=True, check=True)
    # The last line ends in "sign/s verify/s".
    return 1e6 / float(re.findall(r"[\d.]+", done.stdout.splitlines()[-1])[-1])


def rounds(program, algorithm, seconds):
    """Medians of ROUNDS turns of both: what openssl speed needs, ours by way of checking, and the ratio within a turn."""
    theirs, ours, ratios = [], [], []
    for _ in range(ROUNDS):
        theirs.append(openssl_speed(SPEED[algorithm], max(1, seconds // 3)))
        done = subprocess.run([program, algorithm, str(seconds / 3)], capture_output=True, text=True, check=True)
        ours.append({name: float(us) for name, us in (line.split() for line in done.stdout.splitlines())})
        ratios.append(ours[-1]["whole"] / theirs[-1])
    return statistics.median(theirs), {way: statistics.median(one[way] for one in ours) for way in ours[0]}, statistics.median(ratios)


def main():
    with Experiment("jwt: what a token costs", seconds=6) as e:
        program = build(e.temporary.name)
        for algorithm, name in SPEED.items():
            theirs, ours, ratio = rounds(program, algorithm, e.options.seconds)
            e.figure(f"{algorithm}: openssl speed {name}, one check", theirs, unit="us")
            e.figure(f"{algorithm}: the signature by EVP", ours["evp"], unit="us")
            e.figure(f"{algorithm}: the signature by cjose", ours["cjose"], unit="us")
            e.figure(f"{algorithm}: the whole token", ours["whole"], unit="us")
            e.shows(f"{algorithm}: the whole token, in checks of openssl speed", ratio, at_most=2.0)
    sys.exit(e.finish())


main()
