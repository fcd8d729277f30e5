# SPDX-License-Identifier: GPL-2.0-or-later
"""A network between nodes that loses, repeats, reorders, delays, cuts and truncates datagrams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

# No datagram is on its way for longer; a node that restarts takes longer than that.
LONGEST_DELAY = 0.4


@dataclass(slots=True)
class Faults:
    """Probabilities of what befalls a datagram."""

    lost: float = 0.0
    repeated: float = 0.0
    delayed: float = 0.0
    truncated: float = 0.0
    # Of garbage from a stranger beside it.
    strange: float = 0.0


class Network:
    """`deliver` is called as deliver(delay, destination, sender, datagram)."""

    def __init__(
        self, random: Random, faults: Faults, deliver: Callable[[float, str, str, bytes], None]
    ) -> None:
        self.random = random
        self.faults = faults
        self.cuts: Counter[tuple[str, str]] = Counter()
        """How many faults keep datagrams from getting from the one to the other."""
        self._deliver = deliver
        self.sent = 0
        self.lost = 0

    def heal(self) -> None:
        self.faults = Faults()
        self.cuts.clear()

    def send(self, sender: str, address: str, destination: str, datagram: bytes) -> None:
        """Send from `address`, one of the sender's."""
        random, faults = self.random, self.faults
        self.sent += 1
        if random.random() < faults.strange:
            self._deliver(0.0, destination, "stranger", self._garbage(datagram))
        if self.cuts[sender, destination] > 0 or random.random() < faults.lost:
            self.lost += 1
            return
        for _ in range(2 if random.random() < faults.repeated else 1):
            delay = 0.0002
            if random.random() < faults.delayed:
                delay = random.choice((0.001, 0.01, LONGEST_DELAY)) * random.random()
            piece = datagram
            if random.random() < faults.truncated:
                piece = datagram[: random.randrange(len(datagram))]
            self._deliver(delay, destination, address, piece)

    def _garbage(self, datagram: bytes) -> bytes:
        """No message at all, or a real one cut off."""
        if self.random.random() < 0.5:
            return bytes([self.random.choice((0x00, 0x25, 0xFF))]) + self.random.randbytes(
                self.random.randrange(64)
            )
        length = int.from_bytes(datagram[2:4], "big")
        return datagram[: self.random.randrange(length)]
