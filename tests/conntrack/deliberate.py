# SPDX-License-Identifier: GPL-2.0-or-later
"""The deliberate differences between the C tool and ours, each with a name; see docs/differences.md for why.

A case that names one must show it, and may show nothing else: each is a function that takes from a result
what differs, so that the rest can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.conntrack.tools import Result


@dataclass(frozen=True)
class Difference:
    """One difference that is meant."""

    documented: str
    """Words of its row in docs/differences.md."""
    without: Callable[[Result], Result]
    """The result without what differs."""
    table: bool = False
    """Whether the tables afterwards differ, too."""


DIFFERENCES: dict[str, Difference] = {}
