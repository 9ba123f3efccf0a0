#!/usr/bin/python3
"""README: the paths, commands and links that it names exist, and the two commands stand in it."""

import os
import re

from _house import ROOT, finish, read

# Commands of the system that a reader may be told to run.
SYSTEM = {"cmake", "curl", "sudo", "systemctl", "jobgate", "jobgate-collect", "psql", "fabricsim", "git", "podman", "docker", "redis-cli", "cd",
          "export", "openssl", "ctest", "install", "kill", "cp", "mkdir", "useradd", "journalctl", "promtool", "gh", "cat",
          "echo", "chmod", "chown", "tail", "jq", "sha256sum", "apt-get", "adduser", "head", "ls", "printf"}


def commands(text):
    """The first word of each command line in the fenced shell blocks; what follows a backslash belongs to the line before."""
    for block in re.findall(r"```(?:sh|shell|bash|console)\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line and not line.startswith(("#", "{", "}")):
                yield re.sub(r"^(sudo|\w+=\S+)\s+", "", line).split()[0]


def judge_command(word):
    if word.startswith("./") or "/" in word and not word.startswith(("/", "build")):
        path = os.path.join(ROOT, word)
        if not os.access(path, os.X_OK):
            return f"the command {word} does not exist or cannot be run"
    elif "/" not in word and word not in SYSTEM:
        return f"the command {word} is not known"
    return None


def main():
    if not os.path.exists(os.path.join(ROOT, "README.md")):
        finish(["README.md is missing"], "")
    text = read("README.md")
    words = list(commands(text))
    faults = [fault for word in words if (fault := judge_command(word))]
    for needed in ("./deploy/quickstart.sh", "./tests/run.sh"):
        if needed not in text:
            faults.append(f"{needed} is not in README.md")
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)]
    named = re.findall(r"`((?:gateway|config|deploy|tests)/[\w./-]+)`", text)
    for path in links + named:
        if path and not os.path.exists(os.path.join(ROOT, path)):
            faults.append(f"{path} is named in README.md and does not exist")
    finish(faults, f"{len(words)} commands and {len(links) + len(named)} paths exist")


main()
