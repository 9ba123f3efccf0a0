#!/usr/bin/python3
"""The floors: who may include whom, and which floor knows which outside library (DESIGN 3)."""

import re

from _house import files, finish, read

# Floors that a floor's files may include.
MAY = {
    "base": {"base"},
    "rules": {"base", "rules"},
    "io": {"base", "io"},
    "gate": {"base", "rules", "io", "gate"},
    "command": {"base", "rules", "io", "gate", "command"},
    "collect": {"base", "rules", "io", "gate", "collect"},
    "main.c": {"base", "rules", "io", "gate", "command"},
}
# Outside libraries by the beginning of their headers' names.
LIBRARIES = {"event2/": "libevent", "event.h": "libevent", "openssl/": "OpenSSL", "hiredis/": "hiredis",
             "jansson": "jansson", "cmocka": "cmocka", "cjose/": "cjose", "libpq": "libpq"}
KNOWN = {"base": set(), "rules": {"jansson"}, "io": {"libevent", "OpenSSL", "hiredis", "cjose"}, "gate": set(),
         "command": set(), "collect": {"libpq"}, "main.c": set()}
# What decides may not look at the world: these headers have no place in rules/.
IMPURE = re.compile(r"^(sys/(socket|epoll|eventfd|select|time|stat|file|mman|uio|wait)|netinet/|poll|pthread|time|"
                    r"unistd|fcntl|signal|dirent|threads)")
# A double of a descriptor that epoll watches: with the changelist epoll goes on watching it after it was closed (io/loop.c).
DOUBLES = re.compile(r"\b(dup[23]?\s*\(|F_DUPFD)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def judge(path, floor):
    """The faults of one file's includes."""
    for kind, name in INCLUDE.findall(read(path)):
        if kind == '"':
            other = name.split("/")[0]
            if other not in MAY[floor]:
                yield f"{path}: {floor} may not include {name}"
            continue
        for start, library in LIBRARIES.items():
            if name.startswith(start) and library not in KNOWN[floor]:
                yield f"{path}: {floor} may not know {library} ({name})"
        if floor == "rules" and name.startswith("jansson") and path.endswith(".h"):
            yield f"{path}: jansson belongs inside a .c of rules"
        if floor == "rules" and IMPURE.match(name):
            yield f"{path}: rules are pure and may not include {name}"
    if DOUBLES.search(read(path)):
        yield f"{path}: descriptors are not doubled"


def main():
    sources = files("gateway")
    faults = [fault for path in sources for fault in judge(path, path.split("/")[1])]
    finish(faults, f"{len(sources)} files keep to their floors")


main()
