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
_START = f"{_BARE}; from pyconntrack.cli.program import conntrack; sys.exit(conntrack())"


def _imports(program: str) -> int:
    """How many modules are imported from the interpreter's start to its end."""
    command = [sys.executable, "-X", "importtime", "-c", program]
    run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return run.stderr.count("import time:")


def _measure_start(directory: Path) -> dict[str, float]:
    """What `conntrack -C` takes. By counting the imports, the bytecode comes to be there, too."""
    modules = _imports(_START) - _imports(_BARE)
    bare = count_process([sys.executable, "-c", _BARE], directory)
    started = count_process([sys.executable, "-c", _START], directory)
    return {"start_modules": modules, "start_instructions": round(started / bare, 3)}


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
