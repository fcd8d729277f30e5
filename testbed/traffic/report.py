# SPDX-License-Identifier: GPL-2.0-or-later
"""What a traffic process tells: plain values that travel as one line of JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field


@dataclass
class ConnectionReport:
    """One end of a long connection."""

    number: int
    """Counts from 0; the same at both ends."""
    local_port: int
    sent: int = 0
    """Bytes handed to the kernel."""
    received: int = 0
    """Bytes that arrived and were equal to what was expected."""
    first_received: float = 0.0
    last_received: float = 0.0
    """Monotonic seconds; 0 while nothing came."""
    longest_gap: float = 0.0
    """Longest time without data in seconds, the one that lasts at the moment of the report included."""
    closed: bool = False
    """Both directions ended in good order."""
    error: str = ""
    """Why it broke; empty while it did not."""


@dataclass
class ShortReport:
    """The short connections of a client."""

    completed: list[tuple[float, float]] = field(default_factory=list)
    """Start and end, monotonic seconds, of each that was opened, carried its data and was closed."""
    failed: list[tuple[float, str]] = field(default_factory=list)
    """Start and reason of each that did not."""
    under_way: int = 0
    bytes_checked: int = 0


@dataclass
class TrafficReport:
    """One process's view of the traffic."""

    connections: list[ConnectionReport] = field(default_factory=list)
    short: ShortReport = field(default_factory=ShortReport)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrafficReport:
        values = json.loads(text)
        short = values["short"]
        return cls(
            [ConnectionReport(**connection) for connection in values["connections"]],
            ShortReport(
                [(start, end) for start, end in short["completed"]],
                [(start, reason) for start, reason in short["failed"]],
                short["under_way"],
                short["bytes_checked"],
            ),
        )
