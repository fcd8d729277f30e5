# SPDX-License-Identifier: GPL-2.0-or-later
"""How the checks look at the machine: files, sysctls, processes, programs that only list."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyconntrack.daemon.privileges import Capability

_PROGRAMS = ":".join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"))
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """A process of this network namespace: its id, its name (comm), and the file that it executes."""

    pid: int
    name: str
    program: str


class Machine:
    """The machine, or for tests a directory that stands for its root."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """A path, given as an absolute one, on this machine."""
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str | None:
        """A file's text; None where it cannot be read."""
        try:
            return self.path(name).read_text(errors="replace")
        except OSError:
            return None

    def sysctl(self, name: str) -> int | None:
        """A number by its dotted name; None where this kernel, or this namespace, does not have it.

        A slash stands for a dot, as in the name of a VLAN: see sysctl(8).
        """
        text = self.read("/proc/sys/" + name.translate(str.maketrans("./", "/.")))
        try:
            return None if text is None else int(text.split()[0])
        except (ValueError, IndexError):
            return None

    def list(self, *command: str) -> str | None:
        """What a program prints; None where it is not there, fails, or takes long."""
        program = shutil.which(command[0], path=_PROGRAMS)
        if program is None:
            return None
        try:
            done = subprocess.run(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def has_program(self, name: str) -> bool:
        """Whether it is in the usual places."""
        return shutil.which(name, path=_PROGRAMS) is not None

    def processes(self) -> Iterator[RunningProgram]:
        """The processes of this network namespace, as far as they may be seen."""
        own = _network_namespace(self.path("/proc/self"))
        for entry in self.path("/proc").iterdir():
            if entry.name.isdigit() and _network_namespace(entry) == own:
                try:
                    name = (entry / "comm").read_text().strip()
                    program = (entry / "exe").readlink().name.removesuffix(" (deleted)")
                except OSError:
                    continue
                yield RunningProgram(int(entry.name), name, program)

    def capable(self, capability: Capability) -> bool:
        """Whether this process has a capability."""
        for line in (self.read("/proc/self/status") or "").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> capability & 1)
        return False


def _network_namespace(process: Path) -> str | None:
    try:
        return str((process / "ns" / "net").readlink())
    except OSError:
        return None
