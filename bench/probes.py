# SPDX-License-Identifier: GPL-2.0-or-later
"""When a daemon has taken a flow into its cache, whichever daemon it is: see `probe_clock.c`."""

from __future__ import annotations

import statistics
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.results import Figures
from bench.short_connections import MOST_PROBES

_SOURCE = Path(__file__).with_name("probe_clock.c")
_TIME = struct.Struct("=q")


class ProbesLostError(RuntimeError):
    """Some probes never arrived."""


class ProbeClock:
    """Made once; `reset` before each run of a daemon that has `environment`."""

    def __init__(self, directory: Path) -> None:
        """Compile the library. Raises OSError, subprocess.CalledProcessError."""
        library = directory / "probe_clock.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE)], check=True)
        self._times = directory / "probe_times"
        self.environment = {"LD_PRELOAD": str(library), "PROBE_CLOCK": str(self._times)}
        self.reset()

    def reset(self) -> None:
        self._times.write_bytes(bytes(MOST_PROBES * _TIME.size))

    def delays(self, begun: Sequence[int]) -> Figures:
        """Median and 99th percentile of the probes' ways, in milliseconds. Raises ProbesLostError."""
        arrived = [time for (time,) in _TIME.iter_unpack(self._times.read_bytes()[: len(begun) * _TIME.size])]
        lost = arrived.count(0)
        if lost or len(begun) < 2:
            raise ProbesLostError(f"{lost} of {len(begun)} probes never arrived")
        delays = [(end - begin) / 1e6 for begin, end in zip(begun, arrived, strict=True)]
        return {
            "delay median": statistics.median(delays),
            "delay 99": statistics.quantiles(delays, n=100, method="inclusive")[98],
        }
