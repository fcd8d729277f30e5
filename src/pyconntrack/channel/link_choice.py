# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of several links is used for sending. No socket, no clock: what happens comes in, a choice comes out.

All links receive at all times, so that nothing is lost while two nodes send over different ones. What
happens, and what follows from it:

  the link in use stops running        the first one that runs takes over, in the order of preference
  ... and no other one runs            it stays, until the first one runs again, whichever
  another one begins to run            nothing: what works is left alone, even if the other is the default
  a message comes by another one       that is taken: a node that cannot hear or speak on the link in use has
                                       left it. Not in the first moments after a change, though

The last exception keeps nodes from chasing one another. Two that choose different links at the same moment
would both follow, for ever; as each waits for a time drawn by lot, one of them follows first, and the other
one then hears nothing from elsewhere any more.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

# Seconds for which a choice stands whatever the others use.
SHORTEST_HOLD = 0.5
LONGEST_HOLD = 1.5


class Reason(enum.Enum):
    """Why another link is used from now on, or none can be, or the same one again."""

    STOPPED = enum.auto()
    FOLLOWED = enum.auto()
    NONE_RUNS = enum.auto()
    RUNS_AGAIN = enum.auto()


@dataclass(frozen=True, slots=True)
class Change:
    """The choice is another one. `before` and `after` are numbers of links, and may be equal."""

    reason: Reason
    before: int
    after: int


class LinkChoice:
    """The choice among links number 0, 1, ...; `preference` is the order in which they are taken.

    `running` says which of them can carry anything; times are in seconds.
    """

    def __init__(
        self, preference: Sequence[int], running: Sequence[bool], random: Random, now: float
    ) -> None:
        self._preference = list(preference)
        self._running = list(running)
        self._random = random
        self._stands_until = now + self._draw()
        self.active = next((link for link in preference if running[link]), preference[0])
        self.any_runs = any(running)

    def set_running(self, link: int, running: bool, now: float) -> Change | None:
        """A link begins, or stops, to run."""
        self._running[link] = running
        if running:
            if self.any_runs:
                return None
            self.any_runs = True
            return self._choose(link, Reason.RUNS_AGAIN, now)
        if link != self.active or not self.any_runs:
            return None
        for other in self._preference:
            if self._running[other]:
                return self._choose(other, Reason.STOPPED, now)
        self.any_runs = False
        return Change(Reason.NONE_RUNS, link, link)

    def hear(self, link: int, now: float) -> Change | None:
        """A valid message came by a link."""
        if link == self.active or not self._running[link] or now < self._stands_until:
            return None
        return self._choose(link, Reason.FOLLOWED, now)

    def _choose(self, link: int, reason: Reason, now: float) -> Change:
        before, self.active = self.active, link
        self._stands_until = now + self._draw()
        return Change(reason, before, link)

    def _draw(self) -> float:
        return self._random.uniform(SHORTEST_HOLD, LONGEST_HOLD)
