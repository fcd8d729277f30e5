# SPDX-License-Identifier: GPL-2.0-or-later
"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from pyconntrack.version import VERSION


def machine() -> list[str]:
    """Processor, kernel and versions, a line each."""
    return [
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gigabytes():.0f} GB; Linux {platform.release()}",
        f"pyconntrack {VERSION}, Python {platform.python_version()}",
        f"{_version('conntrack')}, {_version('conntrackd')}",
    ]


def load() -> str:
    """What else runs, a line."""
    return f"load average before: {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _memory_gigabytes() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _version(program: str) -> str:
    try:
        said = subprocess.run(
            [f"/usr/sbin/{program}", "-V" if program == "conntrack" else "-v"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except OSError:
        return f"no {program}"
    match = re.search(r"v([\d.]+\d)", said)
    return f"{program} {match[1]}" if match else f"{program} of unknown version"
