"""P2 over power cuts: what the journal does to its directory, played back to many cuts with all that no sync covers in doubt.

The recording and the disk are tests/unit/test_journal_power.c, which tries 200 cuts in the ordinary run.
"""

import os
import re
import subprocess
import sys

from bench import Experiment
from harness import BUILD


def main():
    with Experiment("power: cuts after any call of the journal, unsynced pages in any state", cuts=2000, runs=3) as e:
        for number in range(e.options.runs):
            done = subprocess.run([os.path.join(BUILD, "unit", "test_journal_power")], capture_output=True, text=True, check=False,
                                  env={**os.environ, "JOBGATE_CUTS": str(e.options.cuts),
                                       "JOBGATE_SEED": str((e.options.seed + number) % 2 ** 31)})
            told = re.search(r"^\d+ calls recorded.*", done.stdout, re.M)
            e.say(f"   {told.group(0) if told else done.stdout[-2000:]}")
            e.figure("exit code: each start took the journal, no synced record was lost", done.returncode, exactly=0)
            if done.returncode:
                e.say("\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("{")))
    sys.exit(e.finish())


main()
