# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode ALARM: best effort, over and over. What is lost is told again within the refresh time.

  a change in the internal cache   goes out at once, under the next number
  an entry of the internal cache   goes out again, as it is, once in each `refresh_time`
  a message                        taken, whatever its number; numbers are followed for statistics only
  an entry of the external cache   is dropped where no message told of it for `cache_timeout`
  a RESYNC                         the whole internal cache goes out, at the pace of a bulk

It is NOTRACK that repeats itself instead of saying what it has. A C node in this mode sends no control
messages and passes over those that it gets. A node of ours sends none, but a RESYNC where it is told to.

No entry has a timer. A hand goes round the slots of each table, see pace.py: in the internal one it queues
what it passes, as far as nothing else waits; in the external one it drops what was not heard of for too long.
"""

from __future__ import annotations

import math

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.pace import BURST, Hand
from pyconntrack.replication.session import SWEEP_SLOTS

# The external cache is looked through so many times in a cache timeout, at most once a second.
ROUNDS = 32
# A node that stood still for so long has not heard what was said meanwhile.
ABSENCE = 3.0


class Alarm(Notrack):
    """One node's side of the protocol. `refresh_time` and `cache_timeout` are in seconds."""

    def __init__(
        self,
        internal: InternalCache,
        external: ExternalCache,
        *,
        first_sequence: int,
        now: float,
        node_id: int = 0,
        refresh_time: int = 60,
        cache_timeout: int = 180,
    ) -> None:
        super().__init__(internal, external, first_sequence=first_sequence, now=now, node_id=node_id)
        external.completes = False
        self.refresh_time = refresh_time
        self.cache_timeout = cache_timeout
        self._refresh = Hand(refresh_time, now)
        self._expiry = Hand(max(1.0, cache_timeout / ROUNDS), now)
        self._advanced = now
        self._expires_from = now

    def link_restored(self, now: float) -> None:
        """What was lost is told again in time."""

    def link_renewed(self, now: float) -> None:
        """What was lost is heard again in time."""

    def send_bulk(self) -> None:
        """Send the whole internal cache: the hand goes round once as fast as messages may go out."""
        self.bulks_sent += 1
        self._refresh.hurry(self.internal.table.slots)

    def advance(self, now: float) -> None:
        super().advance(now)
        if now - self._advanced > ABSENCE:
            self._expires_from = now + self.refresh_time
        self._advanced = now
        slots = self.external.table.slots
        first, count = self._expiry.move(min(self._expiry.due(slots, now), SWEEP_SLOTS), slots)
        if now >= self._expires_from:
            self.external.expire(first, count, int(now), self.cache_timeout)

    def fill(self, out: Datagrams, now: float) -> int:
        self._continue_bulk(now)
        written = self._send_resync(out) + self._send_queued(out, now)
        if self._nothing_waits and self._queue_refreshes(now):
            written += self._send_queued(out, now)
        return written

    def _queue_refreshes(self, now: float) -> bool:
        """Queue the entries that the hand passes now, at most as many as may go out. Whether it moved."""
        slots = self.internal.table.slots
        limit = min(self._refresh.due(slots, now), self._pace.allowance(now), BURST)
        first, count = self._refresh.move(limit, slots)
        self.internal.queue.push_some(first, count)
        return count > 0

    def deadline(self) -> float:
        return min(super().deadline(), self._expiry.deadline(self.external.table.slots))

    def _send_deadline(self) -> float:
        due = self._refresh.deadline(self.internal.table.slots)
        if self.internal.queue.waiting or due == -math.inf:
            return self._pace.next_burst
        return due
