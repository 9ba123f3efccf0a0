"""Draws arrivals against a quota as SVG, by hand: above those of the sliding window, below those of each second."""

import bisect
import math
from html import escape

WIDTH, LEFT, RIGHT, TOP = 960, 64, 24, 58
UPPER, LOWER, GAP, BOTTOM = 230, 120, 46, 46
HEIGHT = TOP + UPPER + GAP + LOWER + BOTTOM
PLOT = WIDTH - LEFT - RIGHT
INK, FAINT, LINE, AREA, QUOTA, MARK = "#24292f", "#d8dee4", "#0b5cad", "#cfe3f7", "#c4320a", "#6e7781"
FONT = "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'"


def step_of(most, steps):
    """A round distance between axis marks, so that about STEPS of them reach MOST."""
    rough = max(most, 1e-9) / steps
    unit = 10 ** math.floor(math.log10(rough))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)


def sliding_counts(times, window):
    """(time, arrivals in the half-open window that ends there) at each change; TIMES are sorted seconds."""
    changes = sorted([(t, 1) for t in times] + [(t + window, -1) for t in times])
    steps, count = [], 0
    for at, change in changes:
        count += change
        if steps and steps[-1][0] == at:
            steps[-1] = (at, count)
        else:
            steps.append((at, count))
    return steps


class Panel:
    """One pair of axes: x is shared, y goes from 0 to MOST."""

    def __init__(self, out, top, height, begin, end, most, label):
        self.out, self.top, self.height = out, top, height
        self.begin, self.end, self.most = begin, max(end, begin + 1e-6), max(most, 1)
        self._axes(label)

    def x(self, time):
        return LEFT + PLOT * (min(max(time, self.begin), self.end) - self.begin) / (self.end - self.begin)

    def y(self, value):
        return self.top + self.height * (1 - min(value, self.most) / self.most)

    def text(self, x, y, words, anchor="middle", color=INK, size=12, more=""):
        self.out.append(f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{color}' font-size='{size}' {more}>"
                        f"{escape(words)}</text>")

    def line(self, x1, y1, x2, y2, color, more=""):
        self.out.append(f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{color}' {more}/>")

    def _axes(self, label):
        bottom = self.top + self.height
        step = max(1, step_of(self.most, self.height / 45))
        for n in range(int(self.most / step) + 1):
            self.line(LEFT, self.y(n * step), LEFT + PLOT, self.y(n * step), FAINT)
            self.text(LEFT - 8, self.y(n * step) + 4, f"{n * step:g}", "end")
        step = step_of(self.end - self.begin, 10)
        for n in range(math.ceil(self.begin / step), int(self.end / step) + 1):
            self.line(self.x(n * step), bottom, self.x(n * step), bottom + 5, INK)
            self.text(self.x(n * step), bottom + 18, f"{n * step:g}")
        self.line(LEFT, bottom, LEFT + PLOT, bottom, INK)
        self.line(LEFT, self.top, LEFT, bottom, INK)
        middle = self.top + self.height / 2
        self.text(18, middle, label, more=f"transform='rotate(-90 18 {middle:.1f})'")

    def steps(self, points):
        """A filled step line through (time, value)."""
        path = [f"M{self.x(self.begin):.1f} {self.y(0):.1f}"]
        for at, value in points:
            path.append(f"H{self.x(at):.1f}V{self.y(value):.1f}")
        path.append(f"H{self.x(self.end):.1f}")
        self.out.append(f"<path d='{''.join(path)}V{self.y(0):.1f}Z' fill='{AREA}' stroke='none'/>")
        self.out.append(f"<path d='{''.join(path)}' fill='none' stroke='{LINE}' stroke-width='1.4'/>")

    def bars(self, counts, width):
        for at, count in counts:
            left, right = self.x(at), self.x(at + width)
            self.out.append(f"<rect x='{left:.1f}' y='{self.y(count):.1f}' width='{max(0.6, (right - left) * 0.85):.1f}' "
                            f"height='{self.y(0) - self.y(count):.1f}' fill='{LINE}'/>")

    def mark(self, at, words, row):
        """A moment of which the reader should know; ROW keeps the words of neighbours apart."""
        self.line(self.x(at), self.top, self.x(at), self.top + self.height, MARK, "stroke-dasharray='3 3'")
        if words:
            late = self.x(at) > LEFT + PLOT * 0.8
            self.text(self.x(at) + (-4 if late else 4), self.top + self.height * 0.4 + 14 * row, words,
                      "end" if late else "start", INK, 11)


def draw_arrivals(file, title, times, quota, window, marks=()):
    """
    Write an SVG to FILE of TIMES (seconds; any origin) against QUOTA per WINDOW seconds. MARKS are (time, words) of the
    same origin. Where the quota itself changed, QUOTA is a list of (from when, quota), the first from the beginning on.
    """
    times = sorted(times)
    origin = times[0] if times else 0.0
    times = [t - origin for t in times]
    marks = [(at - origin, words) for at, words in marks]
    levels = quota if isinstance(quota, list) else [(origin, quota)]
    levels = [(at - origin, level) for at, level in levels]
    begin = min([0.0] + [at for at, _ in marks])
    end = max(times[-1:] + [at for at, _ in marks] + [begin + 1.0])
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' {FONT}>",
           f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>"]
    counts = sliding_counts(times, window)
    most = max([level for _, level in levels] + [count for _, count in counts])
    upper = Panel(out, TOP, UPPER, begin, end, most * 1.12, f"in the last {window:g} s")
    upper.text(LEFT, 22, title, "start", size=15, more="font-weight='600'")
    upper.text(LEFT, 42, f"arrivals upstream, {len(times)} in all; the dark red line is the quota", "start", MARK)
    upper.steps([(at, count) for at, count in counts if at <= end])
    for (at, level), after in zip(levels, levels[1:] + [(end, 0)]):
        upper.line(upper.x(at if at > begin and at != levels[0][0] else begin), upper.y(level), upper.x(after[0]),
                   upper.y(level), QUOTA, "stroke-width='2'")
    upper.text(LEFT + PLOT, upper.y(levels[-1][1]) - 6, f"quota {levels[-1][1]} per {window:g} s", "end", QUOTA)
    # At most 480 bars are told apart; each is still an average per second.
    width = max(1.0, math.ceil((end - begin) / 480))
    edges = [begin + n * width for n in range(math.ceil((end - begin) / width))]
    rates = [(at, (bisect.bisect_left(times, at + width) - bisect.bisect_left(times, at)) / width) for at in edges]
    lower = Panel(out, TOP + UPPER + GAP, LOWER, begin, end, max([rate for _, rate in rates] + [1]) * 1.12, "per second")
    lower.bars(rates, width)
    lower.text(LEFT + PLOT / 2, HEIGHT - 8, "seconds since the first arrival")
    for row, (at, words) in enumerate(marks):
        upper.mark(at, words, row % 8)
        lower.mark(at, "", 0)
    with open(file, "w", encoding="utf-8") as svg:
        svg.write("\n".join([*out, "</svg>", ""]))
