# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured once, in limits.toml, and how far above it is too far."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

Figures = Mapping[str, float]

FILE = Path(__file__).with_name("limits.toml")
HEADROOM = 0.15

_HEAD = """\
# SPDX-License-Identifier: GPL-2.0-or-later
# Written by: make guard-limits. Of each job: instructions of the core per flow; of `conntrack -C`: modules
# that a bare interpreter does not load, and all instructions as a multiple of that one's.
"""


def read_limits() -> dict[str, float]:
    return {name: float(value) for name, value in tomllib.loads(FILE.read_text())["measured"].items()}


def write_limits(figures: Figures) -> None:
    lines = [f"{name} = {value}\n" for name, value in figures.items()]
    FILE.write_text(f"{_HEAD}\n[measured]\n{''.join(lines)}")


def compare(figures: Figures, limits: Figures) -> tuple[list[str], list[str]]:
    """A line for each figure, and one for each thing that is wrong."""
    lines, wrong = [], []
    for name in sorted(figures.keys() | limits.keys(), key=[*figures, *limits].index):
        if name not in limits or name not in figures:
            wrong.append(f"{name} is not in {FILE.name}" if name in figures else f"{name} was not measured")
            continue
        ratio = figures[name] / limits[name]
        lines.append(f"{name:20} {figures[name]:10.1f} {limits[name]:10.1f} {ratio:8.1%}")
        if ratio > 1 + HEADROOM:
            wrong.append(f"{name} costs {ratio - 1:.0%} more than it did")
    return lines, wrong
