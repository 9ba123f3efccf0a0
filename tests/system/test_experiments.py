"""Short versions of the experiments of tests/experiments: same figures, same bounds where size does not matter."""

import os
import subprocess

import pytest

from harness import BUILD, ROOT

SHORT = {
    # A short window leaves less of the quota (J and L weigh more), and a sanitized build takes less of that.
    "quota": ["--quota", "100", "--window", "2", "--seconds", "6", "--wait", "2", "--times", "3", "--least", "70"],
    "crash": ["--kills", "3", "--bytes", "30", "--stride", "20"],
    "kills": ["--count", "2000", "--every", "1"],
    "journal": ["--seconds", "1", "--count", "100", "--most", "100"],
    "disk": ["--ill", "3", "--health", "500"],
    "faults": ["--exchanges", "120"],
    "burst": ["burst", "--quota", "60", "--window", "4", "--jobs", "45", "--idle", "8"],
    # What the limiter adds is a figure of a quiet machine and a plain build: here it is only not allowed to be absurd.
    "fast": ["half", "--quota", "2000", "--window", "2", "--jitter", "0.25", "--seconds", "4", "--adds", "100"],
    # A short window here, too: 26 of the 30 that three seconds nominally have were seen here, and 28 at other times.
    "throttled": ["once", "--quota", "40", "--window", "4", "--seconds", "20", "--pause", "3", "--wait", "14",
                  "--least", "75"],
    "store": ["stop", "--quota", "40", "--window", "4", "--times", "2", "--least", "80", "--health", "500", "--wait", "2",
              "--measured", "8"],
    "slow": ["--clients", "40", "--seconds", "8", "--latency", "1500", "--cut", "4", "--wait", "1", "--window", "2",
             "--queue", "8", "--timeout", "2", "--longest", "5", "--drain", "2"],
    "tamper": ["fleet", "--count", "150", "--seconds", "5"],
    "idempotency": ["--keys", "60", "--at-once", "5"],
    # Seconds become tenths: a client gives up after 0.5 s, the upstream takes 0.8 s.
    "retries": ["--scale", "0.2", "--jobs", "60", "--posts", "300", "--at-once", "20", "--pace", "0.1"],
    # A sanitizer keeps what was freed.
    "year": ["--bytes", "3000000", "--memory", "512"],
    "polls": ["--pollers", "30", "--jobs", "6", "--seconds", "14", "--refresh", "2", "--job", "8", "--spread", "2", "--window", "30",
              "--wait", "4", "--delay", "2000", "--grant", "2"],
    "mixed": ["--window", "2", "--seconds", "40", "--wait", "1", "--times", "3", "--back", "5", "--health", "500",
              "--slack", "2"],
}


@pytest.mark.parametrize("name", SHORT)
def test_experiment(name):
    script = os.path.join(ROOT, "tests", "experiments", f"experiment_{name}.py")
    done = subprocess.run(["/usr/bin/python3", script, *SHORT[name]], capture_output=True, text=True, check=False,
                          timeout=170, env={**os.environ, "JOBGATE_BUILD": BUILD, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
