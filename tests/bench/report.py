"""The comparison's figures as a table, as bounds held or missed, and as a drawing."""

import statistics
from html import escape

LUA, COALESCED, HAPROXY, PLAIN = "nginx+Lua+Redis", "nginx+Lua coalesced", "HAProxy", "nginx plain"
# What jobgate's ratio to a peer must be, with the journal on a tmpfs and on the disk (None: no bound), and what it aims at.
BOUNDS = (
    ("CPU per request", "cpu_us", LUA, 0.75, 0.95, 0.55),
    ("CPU per request", "cpu_us", COALESCED, 1.00, None, 0.80),
    ("CPU per request", "cpu_us", HAPROXY, 1.00, None, 0.80),
    ("CPU per request", "cpu_us", PLAIN, 1.45, None, 1.10),
    ("requests per second", "rps", LUA, 1.45, 1.15, 1.9),
    ("p99 at 64 connections", "p99_us", LUA, 0.75, 0.95, 0.45),
    ("p50 at 1 connection", "p50_1_us", LUA, 0.95, None, 0.75),
    ("Redis' CPU", "redis_us", LUA, 0.25, None, 0.10),
)
AT_LEAST = {"rps"}
BEFORE = "jobgate before"
SCRIPTS_MOST = 0.10
# What the p50 of one connection may have on the disk beyond that on a tmpfs and one fdatasync, in microseconds.
BEYOND_MOST = 200


def quartiles(values):
    """[first quartile, median, third]."""
    if not values:
        return [0, 0, 0]
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def table(found, kinds):
    """Print a row for each proxy: medians, with the quartiles of its CPU."""
    print(f"{'proxy':22} {'CPU us/request':>22} {'rps':>8} {'p50 ms':>8} {'p99 ms':>8} {'p50 of 1':>8} "
          f"{'Redis us':>9} {'scripts':>8} {'new conn':>8}")
    for name, row in found.items():
        low, mid, high = row["cpu_us"]
        print(f"{name:22} {mid:8.1f} ({low:5.1f} .. {high:5.1f}) {row['rps'][1]:8.0f} {row['p50_us'][1] / 1000:8.2f} "
              f"{row['p99_us'][1] / 1000:8.2f} {row['p50_1_us'][1] / 1000:8.2f} {row['redis_us'][1]:9.2f} {row['scripts'][1]:8.3f} "
              f"{row['new_connections'][1]:8.0f}")
    for name in found:
        kind = kinds[name]
        print(f"   {name}: {kind.does}" + (f"; without {kind.lacks}" if kind.lacks else ""))


def syncs(found, disk):
    """Print what an fdatasync cost meanwhile, and how much of one connection's p50 it does not explain."""
    print("   the peers' logs are synced by none of them")
    for words, figure in (("an fdatasync beside the rounds", "fdatasync_us"),
                          ("p50 at 1 connection, disk, beyond that of a tmpfs and one fdatasync", "beyond_us")):
        low, mid, high = found[figure]
        if not high:
            continue        # not measured
        print(f"   {disk.folder} ({disk.kind}): {words}: {mid:.0f} us ({low:.0f} .. {high:.0f})")


def compare(found):
    """Print what a change is worth."""
    for figure, (low, mid, high) in found["jobgate"]["ratio"].get(BEFORE, {}).items():
        print(f"   {figure} / {BEFORE}: {mid:.3f} ({low:.3f} .. {high:.3f})")


def hold(words, value, bound, at_least, aim):
    """Print one bound; whether it was missed."""
    held = value >= bound if at_least else value <= bound
    print(f"   {words:58} {value:8.3f}  {'>=' if at_least else '<='} {bound:<6} {'PASS' if held else 'MISSED'}   (aim {aim})")
    return not held


def _peers(found, name, place):
    """Print the bounds of a jobgate's ratios to peers; the number of those missed."""
    missed = 0
    for words, figure, peer, tmpfs, disk, aim in BOUNDS:
        bound = (tmpfs, disk)[place]
        ratio = found[name]["ratio"].get(peer, {}).get(figure)
        if bound is not None and ratio:
            missed += hold(f"{words} / {peer}", ratio[1], bound, figure in AT_LEAST, aim)
    return missed


def bounds(found, waits):
    """Print each bound; the number of those missed. WAITS: what syncs() printed."""
    missed = 0
    for place, name in enumerate(("jobgate", "jobgate, disk")):
        if name not in found:
            continue
        print(f"-- {name}: medians of the rounds' ratios")
        missed += _peers(found, name, place)
        missed += hold("script calls per request", found[name]["scripts"][1], SCRIPTS_MOST, False, 0.05)
        missed += hold("new upstream connections, worst round's median", found[name]["new_connections"][1], 0, False, 0)
        if place and any(waits["beyond_us"]):
            missed += hold("p50 at 1 connection, beyond tmpfs and one fdatasync, us", waits["beyond_us"][1], BEYOND_MOST, False, BEYOND_MOST)
    return missed


WIDTH, LEFT, RIGHT, ROW, TOP = 900, 260, 130, 34, 64
COLORS = {"jobgate": "#0b5cad", "jobgate, disk": "#5b93c7"}
GREY = "#b6c2cf"


def _bar(place, scale, name, quarters, color, words):
    """One bar to the median, with a line from quartile to quartile and the figure behind it."""
    low, mid, high = (value * scale for value in quarters)
    y = TOP + ROW * place
    middle = y + ROW / 2
    return [f"<text x='{LEFT - 10}' y='{middle + 4}' font-size='13' text-anchor='end' fill='#24292f'>{escape(name)}</text>",
            f"<rect x='{LEFT}' y='{y + 7}' width='{mid:.1f}' height='{ROW - 14}' fill='{color}'/>",
            f"<line x1='{LEFT + low:.1f}' x2='{LEFT + high:.1f}' y1='{middle}' y2='{middle}' stroke='#24292f' stroke-width='1.5'/>",
            f"<text x='{LEFT + max(mid, high) + 8:.1f}' y='{middle + 4}' font-size='12' fill='#24292f'>{escape(words)}</text>"]


def bars(rows, title, below, path):
    """Draw ROWS of (name, quartiles, color, words) under a TITLE and the line BELOW it."""
    scale = (WIDTH - LEFT - RIGHT) / (max((row[1][2] for row in rows), default=0) or 1)
    height = TOP + ROW * len(rows) + 40
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' font-family='DejaVu Sans, Helvetica, Arial, sans-serif'>",
           f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
           f"<text x='20' y='28' font-size='17' fill='#24292f'>{escape(title)}</text>",
           f"<text x='20' y='48' font-size='12' fill='#6e7781'>{escape(below)}</text>"]
    for place, (name, quarters, color, words) in enumerate(rows):
        out += _bar(place, scale, name, quarters, color, words)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*out, "</svg>"]) + "\n")


def chart(found, path):
    """Draw the medians of processor time with their quartiles."""
    rows = [(name, row["cpu_us"], COLORS.get(name, GREY), f"{row['cpu_us'][1]:.1f}")
            for name, row in sorted(found.items(), key=lambda item: item[1]["cpu_us"][1])]
    bars(rows, "Processor time of the proxy per request", "microseconds, median and quartiles of paired rounds; shorter is better", path)
