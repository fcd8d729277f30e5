# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured: figures by name, for each kind of tool and each size of table, a value for each run."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

Figures = dict[str, float]

OURS = "pyconntrack"
THEIRS = "C"
KINDS = (OURS, THEIRS)
LIMIT = "the limit"
"""Not a tool: what the kernel alone needs."""


@dataclass
class Results:
    """`size` is a number of flows, 0 for what has no table."""

    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    """By the figure's name, the size, and the kind."""
    failures: list[str] = field(default_factory=list)
    """A line for each job that could not be done, and why."""
    refusals: list[str] = field(default_factory=list)
    """A line for each job that the C tool cannot do, with what it says."""
    circumstances: list[str] = field(default_factory=list)
    """A line for each thing to be known about machine and run."""

    def add(self, kind: str, figures: Figures, size: int = 0) -> None:
        """Take in what one run has measured."""
        for figure, value in figures.items():
            by_kind = self.values.setdefault(figure, {}).setdefault(str(size), {})
            by_kind.setdefault(kind, []).append(value)

    def sizes(self, figure: str) -> list[int]:
        """The sizes that it was measured at, by any kind."""
        return sorted(int(size) for size in self.values.get(figure, {}))

    def median(self, kind: str, figure: str, size: int = 0) -> float | None:
        """None where nothing was measured."""
        values = self._runs(kind, figure, size)
        return statistics.median(values) if values else None

    def spread(self, kind: str, figure: str, size: int = 0) -> float:
        """Half the distance between the lowest and the highest, in parts of the median."""
        values = self._runs(kind, figure, size)
        middle = statistics.median(values)
        # A time below the clock's tick is 0.
        return (max(values) - min(values)) / 2 / abs(middle) if middle else 0.0

    def _runs(self, kind: str, figure: str, size: int) -> list[float]:
        return self.values.get(figure, {}).get(str(size), {}).get(kind, [])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Results:
        """Raises OSError, ValueError."""
        return Results(**json.loads(path.read_text()))
