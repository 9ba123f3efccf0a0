#!/usr/bin/python3
"""Sizes: no function over 80 lines, no file over 600; medians and 90th percentiles are printed (STYLE)."""

import statistics

from _house import files, finish, read, run

FUNCTION_MAX, FILE_MAX, WIDTH_MAX = 80, 600, 120
FOLDERS = ("gateway", "tests/fabricsim")


def functions(folders):
    """(lines, path, name) of each C function."""
    for line in run("ctags", "--languages=C", "--kinds-C=f", "--fields=+ne", "-o", "-", "-R", *folders).splitlines():
        parts = line.split("\t")
        where = dict(p.split(":", 1) for p in parts[3:] if ":" in p)
        if "line" in where and "end" in where:
            yield int(where["end"]) - int(where["line"]) + 1, parts[1], parts[0]


def p90(values):
    return sorted(values)[int(0.9 * (len(values) - 1))]


def width(line):
    return len(line.expandtabs(8))


def main():
    faults = []
    lengths = list(functions(FOLDERS))
    for lines, path, name in lengths:
        if lines > FUNCTION_MAX:
            faults.append(f"{path}: {name} has {lines} lines, over {FUNCTION_MAX}")
    sizes = {path: read(path).count("\n") for path in files(*FOLDERS)}
    others = {path: read(path).count("\n") for path in files("tests", "deploy", ends=(".py", ".sh", ".c"))}
    for path, lines in {**sizes, **others}.items():
        if lines > FILE_MAX:
            faults.append(f"{path}: {lines} lines, over {FILE_MAX}")
    wide = sum(width(line) > WIDTH_MAX for path in sizes for line in read(path).splitlines())
    gate = [lines for lines, path, _ in lengths if path.startswith("gateway/")]
    gate_files = [lines for path, lines in sizes.items() if path.startswith("gateway/")]
    longest = max(lengths)
    summary = (f"functions: {len(gate)}, median {statistics.median(gate):g}, p90 {p90(gate)}, longest {longest[0]} "
               f"({longest[2]}); files: {len(gate_files)}, median {statistics.median(gate_files):g}, p90 {p90(gate_files)}, "
               f"longest {max(gate_files)}; {sum(gate_files)} lines, {wide} of them over {WIDTH_MAX} columns")
    finish(faults, summary)


main()
