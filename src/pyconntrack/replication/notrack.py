# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode NOTRACK: best effort. Each change is sent once; what is lost is not resent.

  a change in the internal cache   goes out under the next number and is forgotten; or it is kept, as far as
                                   the resend queue goes, for a link that ends, and is back
  a message                        taken, whatever its number; numbers are followed for statistics only
  a RESYNC                         the whole internal cache goes out
  each second                      an ALIVE with a digest of the internal cache, see peer.py: between nodes of
                                   this kind a lasting difference is found and answered by a RESYNC
  a link that is back              what was lost on it is told again, and asked for again

Nothing tells how fast the peers can take messages, so a bulk goes out at the rate of pace.py at most.
"""

from __future__ import annotations

import math

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.queue import write_control
from pyconntrack.replication.messages import ALIVE, DIGEST, RESYNC, before, read_message
from pyconntrack.replication.pace import Pace
from pyconntrack.replication.peer import Peer
from pyconntrack.replication.session import Session


class Notrack(Session):
    """One node's side of the best-effort protocol."""

    def __init__(
        self, internal: InternalCache, external: ExternalCache, *, first_sequence: int, now: float
    ) -> None:
        super().__init__(internal, external, first_sequence=first_sequence, now=now)
        # Of a node without an internal cache, which only this mode allows.
        external.completes = True
        self._resync_due = False
        self._pace = Pace(now)

    def _take_datagram(self, datagram: bytes, peer: Peer, now: float) -> None:
        offset = 0
        while offset < len(datagram):
            message = read_message(datagram, offset, self.errors)
            if message is None:
                return
            self._track(message.sequence, peer)
            if message.is_data:
                offset = self.external.apply_run(
                    datagram, offset, message.sequence, True, peer.owner, int(now), message.flags
                )
                count = self.external.run_length
            else:
                offset += message.length
                count = 1
                if message.flags & RESYNC:
                    self._answer_resync()
                elif message.flags & DIGEST:
                    self._compare(datagram, message, peer, now)
                elif message.flags & ALIVE:
                    self.external.tells_changes(peer.owner)
            peer.expected = (message.sequence + count) & 0xFFFFFFFF
            self.messages_received += count

    def _track(self, sequence: int, peer: Peer) -> None:
        if peer.expected is None or sequence == peer.expected:
            return
        if before(sequence, peer.expected):
            self.messages_before += 1
        else:
            self.messages_lost += (sequence - peer.expected) & 0xFFFFFFFF

    def link_restored(self, now: float) -> None:
        """What was lost is told again; all of it to nodes that would not ask."""
        super().link_restored(now)
        self.internal.queue.send_all_again()
        if not self._all_say_digests:
            self.send_bulk()

    def _queue_resync(self) -> None:
        self._resync_due = True

    def _tick(self) -> None:
        """Nothing is acknowledged."""

    def fill(self, out: Datagrams, now: float) -> int:
        self._continue_bulk(now)
        written = self._send_resync(out) + self._send_queued(out, now)
        if self._alive_due and self._nothing_waits:
            written += self._write_alive(out, 0)
        return written

    def _send_resync(self, out: Datagrams) -> int:
        if not self._resync_due or not write_control(out, self.sequence, RESYNC, 0, 0):
            return 0
        self._resync_due = False
        return self._advance_sequence(1)

    def _send_queued(self, out: Datagrams, now: float) -> int:
        allowance = self._pace.allowance(now)
        sent = self._advance_sequence(self.internal.queue.fill(out, self.sequence, 0, allowance))
        self._pace.spend(sent)
        return sent

    def _send_deadline(self) -> float:
        return self._pace.next_burst if self.internal.queue.waiting else math.inf
