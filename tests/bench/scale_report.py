"""The sweep's figures as a table, as bounds held or missed, and as a drawing."""

from report import COLORS, GREY, bars, hold

# The same work for more connections, callers or waiters may cost this much more; one connection has nothing to share with.
GROWTH_MOST = 1.10
SAME_WORK = ("512 connections", "5000 connections", "100 callers", "10000 callers, 100 at work", "10000 callers", "10000 waiting")
BOUNDS = (
    ("refusing CPU / forwarding CPU", 0.35, False, 0.20),
    ("refusing CPU / forwarding CPU, as fast as both can", 0.35, False, 0.20),
    ("1 worker / 2, half the rate, one core", 0.9, True, 0.97),
    ("1 worker / 2, half the rate, two cores", 0.9, True, 0.97),
    ("a KB beyond 16 / a KB below", GROWTH_MOST, False, 1),
)


def table(found, skipped):
    """Print a row for each case: medians, the quartiles of its CPU, and the ratio to its base."""
    print(f"{'case':32} {'CPU us/request':>22} {'/ base':>26} {'rps':>8} {'Redis us':>9} {'scripts':>8} "
          f"{'waiting':>8} {'new conn':>8}")
    for name, row in found.items():
        low, mid, high = row["cpu_us"]
        ratio = "{1:8.3f} ({0:6.3f} .. {2:6.3f})".format(*row["ratio"]) if "ratio" in row else ""
        print(f"{name:32} {mid:8.1f} ({low:5.1f} .. {high:5.1f}) {ratio:>26} {row['rps'][1]:8.0f} {row['redis_us'][1]:9.2f} "
              f"{row['scripts'][1]:8.3f} {row['waiting'][1]:8.0f} {row['new_connections'][1]:8.0f}")
    for words in skipped:
        print(f"   not measured: {words}")


def bounds(found, derived, failed):
    """Print each bound; the number of those missed. A case that went wrong is one."""
    print("-- medians of the rounds' ratios")
    missed = len(failed)
    for name, words in failed.items():
        print(f"   {name}: WRONG ({words})")
    for name in SAME_WORK:
        if name in found:
            missed += hold(f"CPU per request, {name} / {found[name]['base']}", found[name]["ratio"][1], GROWTH_MOST, False, 1)
    for name, bound, at_least, aim in BOUNDS:
        if name in derived:
            missed += hold(name, derived[name][1], bound, at_least, aim)
    for name, quarters in derived.items():
        if name not in [bound[0] for bound in BOUNDS]:
            print(f"   {name:58} {quarters[1]:8.3f}")
    return missed


def chart(found, path):
    """Draw the medians of processor time with their quartiles."""
    rows = [(name, row["cpu_us"], GREY if "ratio" in row else COLORS["jobgate"],
             f"{row['cpu_us'][1]:.1f}" + (f" (x {row['ratio'][1]:.2f})" if "ratio" in row else "")) for name, row in found.items()]
    bars(rows, "Processor time of jobgate per request", "microseconds, median and quartiles; in brackets the ratio to its base, paired", path)
