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
    ("p99", "p99_us", LUA, 0.75, 0.95, 0.45),
    ("Redis' CPU", "redis_us", LUA, 0.25, None, 0.10),
)
AT_LEAST = {"rps"}
BEFORE = "jobgate before"
SCRIPTS_MOST = 0.10


def quartiles(values):
    """[first quartile, median, third]."""
    if not values:
        return [0, 0, 0]
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def table(found, kinds):
    """Print a row for each proxy: medians, with the quartiles of its CPU."""
    print(f"{'proxy':22} {'CPU us/request':>22} {'rps':>8} {'p50 ms':>8} {'p99 ms':>8} {'Redis us':>9} {'scripts':>8} {'new conn':>8}")
    for name, row in found.items():
        low, mid, high = row["cpu_us"]
        print(f"{name:22} {mid:8.1f} ({low:5.1f} .. {high:5.1f}) {row['rps'][1]:8.0f} {row['p50_us'][1] / 1000:8.2f} "
              f"{row['p99_us'][1] / 1000:8.2f} {row['redis_us'][1]:9.2f} {row['scripts'][1]:8.3f} {row['new_connections'][1]:8.0f}")
    for name in found:
        kind = kinds[name]
        print(f"   {name}: {kind.does}" + (f"; it has no {kind.lacks}" if kind.lacks else ""))


def compare(found):
    """Print what a change is worth."""
    for figure, (low, mid, high) in found["jobgate"]["ratio"].get(BEFORE, {}).items():
        print(f"   {figure} / {BEFORE}: {mid:.3f} ({low:.3f} .. {high:.3f})")


def _hold(words, value, bound, at_least, aim):
    held = value >= bound if at_least else value <= bound
    print(f"   {words:58} {value:8.3f}  {'>=' if at_least else '<='} {bound:<6} {'PASS' if held else 'MISSED'}   (aim {aim})")
    return not held


def bounds(found):
    """Print each bound; the number of those missed."""
    missed = 0
    for place, name in enumerate(("jobgate", "jobgate, disk")):
        if name not in found:
            continue
        print(f"-- {name}: medians of the rounds' ratios")
        for words, figure, peer, tmpfs, disk, aim in BOUNDS:
            bound = (tmpfs, disk)[place]
            if bound is not None and peer in found:
                missed += _hold(f"{words} / {peer}", found[name]["ratio"][peer][figure][1], bound, figure in AT_LEAST, aim)
        missed += _hold("script calls per request", found[name]["scripts"][1], SCRIPTS_MOST, False, 0.05)
        missed += _hold("new upstream connections, worst round's median", found[name]["new_connections"][1], 0, False, 0)
    return missed


WIDTH, LEFT, RIGHT, ROW, TOP = 860, 190, 90, 34, 64
COLORS = {"jobgate": "#0b5cad", "jobgate, disk": "#5b93c7"}


def chart(found, path):
    """Draw the medians of processor time with their quartiles as bars."""
    most = max(row["cpu_us"][2] for row in found.values()) or 1
    height = TOP + ROW * len(found) + 40
    scale = (WIDTH - LEFT - RIGHT) / most
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' font-family='DejaVu Sans, Helvetica, Arial, sans-serif'>",
           f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
           "<text x='20' y='28' font-size='17' fill='#24292f'>Processor time of the proxy per request</text>",
           "<text x='20' y='48' font-size='12' fill='#6e7781'>microseconds, median and quartiles of paired rounds; shorter is better</text>"]
    for place, (name, row) in enumerate(sorted(found.items(), key=lambda item: item[1]["cpu_us"][1])):
        low, mid, high = (value * scale for value in row["cpu_us"])
        y = TOP + ROW * place
        middle = y + ROW / 2
        out += [f"<text x='{LEFT - 10}' y='{middle + 4}' font-size='13' text-anchor='end' fill='#24292f'>{escape(name)}</text>",
                f"<rect x='{LEFT}' y='{y + 7}' width='{mid:.1f}' height='{ROW - 14}' fill='{COLORS.get(name, '#b6c2cf')}'/>",
                f"<line x1='{LEFT + low:.1f}' x2='{LEFT + high:.1f}' y1='{middle}' y2='{middle}' stroke='#24292f' stroke-width='1.5'/>",
                f"<text x='{LEFT + max(mid, high) + 8:.1f}' y='{middle + 4}' font-size='12' fill='#24292f'>{row['cpu_us'][1]:.1f}</text>"]
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
