#!/usr/bin/python3
"""House rules about names and words: the top level, file names, unfinished work, this machine's paths."""

import os
import re
import subprocess

from _house import FLOORS, ROOT, files, finish, read

TOP = {"CMakeLists.txt", "gateway", "config", "deploy", "tests", "README.md"}
# Put together from halves, so that this file does not complain of itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|not impl" r"emented|unimpl" r"emented", re.I)
REFUSAL = re.compile(r"is not impl" r"emented\"|NOT_IMPL" r"EMENTED|Not Impl" r"emented\"")
# Folders of whoever develops this are nobody else's.
MACHINE = re.compile(r"(?<![\w./-])/(wo" r"rk|fa" r"rm|root|home/\w+)/")
SHAPELESS = {"util", "utils", "common", "misc", "helpers", "helper"}


def tracked():
    """The files git knows or would add; all that belong there without git."""
    try:
        done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True,
                              capture_output=True, check=False)
    except FileNotFoundError:
        done = None
    if done is not None and done.returncode == 0:
        return sorted(p for p in set(done.stdout.splitlines()) if os.path.isfile(os.path.join(ROOT, p)))
    return files("gateway", "config", "deploy", "tests", ends=("",)) + ["README.md", "CMakeLists.txt"]


def judge_words(path):
    try:
        text = read(path)
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED.search(line) and not REFUSAL.search(line):
            yield f"{path}:{number}: a word of unfinished work: {line.strip()}"
        if MACHINE.search(line):
            yield f"{path}:{number}: a path of one machine: {line.strip()}"


def main():
    paths = tracked()
    faults = [f"{top}: does not belong at the top level" for top in sorted({p.split("/")[0] for p in paths})
              if top not in TOP and not top.startswith(".")]
    for path in paths:
        if "/corpus/" not in path:
            faults += judge_words(path)
    for path in files("gateway"):
        parts = path.split("/")
        if parts[1] not in FLOORS and parts[1] != "main.c":
            faults.append(f"{path}: no such floor")
        if os.path.splitext(parts[-1])[0] in SHAPELESS:
            faults.append(f"{path}: say what it is for")
    finish(faults, f"{len(paths)} files have their names and words in order")


main()
