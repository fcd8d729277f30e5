# SPDX-License-Identifier: GPL-2.0-or-later
"""Count what the jobs cost, and fail where one costs more than its limit: python -m guard"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from guard.callgrind import count_jobs, count_process
from guard.limits import HEADROOM, compare, read_limits, write_limits
from testbed import require_root

FLOWS = 10_000
# The core may call Python for a batch or a datagram, but not for a flow.
PYTHON_CALLS_PER_FLOW = 1.0

_BARE = "import sys; sys.argv = ['conntrack', '-C']"
_START = f"{_BARE}; bare = set(sys.modules); from pyconntrack.cli.program import conntrack; conntrack()"
_MODULES = f"import os; os._exit = lambda _: None; {_START}; print(len(sys.modules.keys() - bare))"


def _measure_start(directory: Path) -> dict[str, float]:
    """What `conntrack -C` takes, where its bytecode is there: it is run once before."""
    command = [sys.executable, "-c", _MODULES]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    bare = count_process([sys.executable, "-c", _BARE], directory)
    started = count_process([sys.executable, "-c", _START], directory)
    return {"start_modules": int(told.split()[-1]), "start_instructions": round(started / bare, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m guard", description=__doc__)
    parser.add_argument("--write", action="store_true", help="let what is measured now be the measure")
    arguments = parser.parse_args()
    if platform.machine() != "x86_64":
        print(f"the limits are of x86_64, not of {platform.machine()}: nothing is measured")
        return 0
    require_root()
    with tempfile.TemporaryDirectory(prefix="guard-") as name:
        costs = count_jobs(Path(name))
        figures = {job: round(cost.instructions / FLOWS, 1) for job, cost in costs.items()}
        figures |= _measure_start(Path(name))
    wrong = [
        f"{job} calls Python {cost.python_calls} times for {FLOWS} flows"
        for job, cost in costs.items()
        if cost.python_calls >= PYTHON_CALLS_PER_FLOW * FLOWS
    ]
    if arguments.write:
        write_limits(figures)
    lines, dearer = compare(figures, read_limits())
    print(f"{'':20} {'now':>10} {'before':>10}   (the limit is {1 + HEADROOM:.0%})")
    print("\n".join([*lines, *wrong, *dearer]))
    return 1 if wrong or dearer else 0


if __name__ == "__main__":
    sys.exit(main())
