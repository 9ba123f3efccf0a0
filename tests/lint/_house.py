"""What the lint tests share: the repository's files and the way to complain."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FLOORS = ("base", "rules", "io", "gate", "command", "collect")


def files(*folders, ends=(".c", ".h")):
    """Paths of the source files below the folders, relative to the repository's root."""
    found = []
    for folder in folders:
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            found += [os.path.relpath(os.path.join(where, n), ROOT) for n in names if n.endswith(ends)]
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def run(*args):
    return subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def finish(faults, summary):
    """Print what is wrong, or the summary, and end with the exit code."""
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults; {summary}" if faults else summary)
    sys.exit(1 if faults else 0)
