#!/usr/bin/python3
"""The rules' objects call nothing impure: no socket, clock, file, thread, random number or outside library but jansson."""

import glob
import os
import re

from _house import ROOT, finish, run

IMPURE = re.compile(r"""^(
    socket|connect|bind|listen|accept4?|send|sendto|sendmsg|recv|recvfrom|recvmsg|shutdown|getaddrinfo|getnameinfo|
    poll|select|epoll_\w+|eventfd\w*|
    time|clock|clock_\w+|gettimeofday|localtime\w*|gmtime\w*|mktime|strftime|nanosleep|usleep|sleep|
    open|openat|fopen\w*|read|write|pread\w*|pwrite\w*|readv|writev|close|fsync|fdatasync|rename|unlink|stat\w*|fstat\w*|
    opendir|readdir|mkdir|getenv|secure_getenv|setenv|
    pthread_\w+|thrd_\w+|mtx_\w+|fork|execv\w*|kill|raise|signal|sigaction|
    rand|srand|random|srandom|rand_r|drand48|getrandom|getentropy|arc4random\w*|
    printf|fprintf|vfprintf|puts|putchar|fputs|fputc|fwrite|perror|syslog|__printf_chk|__fprintf_chk|
    setlocale|strtok|
    event_\w+|evbuffer_\w+|bufferevent_\w+|evhttp_\w+|evutil_\w+|
    SSL_\w+|EVP_\w+|X509_\w+|BIO_\w+|ERR_\w+|RAND_\w+|SHA\w+|
    redis\w+|hi_\w+|cjose_\w+|
    clock_now_\w+|log_\w+|random_bytes|loop_\w+|journal_\w+|upstream_\w+|front_\w+
)$""", re.X)
# Of base, these format or compute and ask the machine nothing.
PURE = {"clock_civil", "clock_format_rfc3339", "clock_format_http", "clock_parse_rfc3339", "clock_parse_date_time", "clock_parse_http", "log_level_from"}


def archive():
    """The newest build's rules library."""
    found = glob.glob(os.path.join(ROOT, "build*", "libjobgate_rules.a"))
    # A sanitized object calls the sanitizer's runtime; the plain one is what is judged.
    plain = [path for path in found if not re.search(r"build-(asan|tsan)", path)]
    return max(plain, key=os.path.getmtime) if plain else None


def main():
    path = archive()
    if path is None:
        finish(["no build*/libjobgate_rules.a: build first"], "")
    faults, member, symbols = [], "", 0
    for line in run("nm", "-u", path).splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line.strip():
            symbol = line.split()[-1].split("@")[0]
            symbols += 1
            if IMPURE.match(symbol) and symbol not in PURE:
                faults.append(f"{member}: calls {symbol}")
    for line in run("nm", path).splitlines():
        # Writable data that outlives a call is state; tables are constant and live in r or d.rel.ro.
        parts = line.split()
        if len(parts) == 3 and parts[1] in "bBC":
            faults.append(f"a global that changes: {parts[2]}")
    finish(faults, f"{symbols} undefined symbols, none of them impure")


main()
