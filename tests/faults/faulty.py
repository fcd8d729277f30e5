# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that no namespace has for itself: a clock that is set, a network without room. See `faulty.c`."""

from __future__ import annotations

import mmap
import subprocess
from pathlib import Path
from struct import pack_into

SOURCE = Path(__file__).with_name("faulty.c")
_SIZE = 16


class FaultySystem:
    """What a process sees whose environment has these variables, until it is told otherwise."""

    def __init__(self, directory: Path) -> None:
        library, told = directory / "faulty.so", directory / "faulty"
        options = ["-shared", "-fPIC", "-O1", "-Wall"]
        subprocess.run(["gcc", *options, "-o", str(library), str(SOURCE)], check=True)
        told.write_bytes(bytes(_SIZE))
        with told.open("r+b") as file:
            self._told = mmap.mmap(file.fileno(), _SIZE)
        self.variables = [f"LD_PRELOAD={library}", f"FAULTY={told}"]
        """For env(1)."""

    def set_clock(self, seconds: int) -> None:
        """Let the clock be so many seconds ahead, or behind where that is less than 0."""
        pack_into("=q", self._told, 0, seconds)

    def refuse_to_send(self, refuse: bool) -> None:
        """Let sending fail for want of buffers (ENOBUFS), or no more."""
        pack_into("=q", self._told, 8, int(refuse))
