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
from pyconntrack.core.queue import write_addressed, write_control
from pyconntrack.replication.messages import (
    ALIVE,
    EXTENDED,
    RESYNC,
    Message,
    before,
    read_extension,
    read_message,
)
from pyconntrack.replication.pace import Pace
from pyconntrack.replication.peer import Peer
from pyconntrack.replication.session import Session


class Notrack(Session):
    """One node's side of the best-effort protocol."""

    def __init__(
        self,
        internal: InternalCache,
        external: ExternalCache,
        *,
        first_sequence: int,
        now: float,
        node_id: int = 0,
    ) -> None:
        super().__init__(internal, external, first_sequence=first_sequence, now=now, node_id=node_id)
        # Of a node without an internal cache, which only this mode allows.
        external.completes = True
        self._resyncs: set[int] = set()
        """Nodes to be asked for all that they have, 0 for all nodes."""
        self._pace = Pace(now)

    def _take_datagram(self, datagram: bytes, peer: Peer, now: float) -> None:
        offset = 0
        while offset < len(datagram):
            message = read_message(datagram, offset, self.errors)
            if message is None:
                return
            if message.is_data:
                self._track(message.sequence, peer)
                offset = self.external.apply_run(
                    datagram, offset, message.sequence, True, peer.owner, int(now), message.flags
                )
                self._took(message.sequence, self.external.run_length, peer)
                continue
            offset += message.length
            sayer = self._take_control(datagram, message, peer, now)
            if sayer is None:
                return
            peer = sayer

    def _take_control(self, datagram: bytes, message: Message, peer: Peer, now: float) -> Peer | None:
        """Returns who says it; None where it is to be passed over, with what follows."""
        if not message.flags & EXTENDED:
            self._track(message.sequence, peer)
            self._took(message.sequence, 1, peer)
            if message.flags & RESYNC:
                self._answer_resync()
            elif message.flags & ALIVE:
                self.external.tells_changes(peer.owner)
            return peer
        extension = read_extension(datagram, message)
        sayer = self._identify(peer, extension.node, message.sequence, now)
        if sayer is not None:
            self._track(message.sequence, sayer)
            self._took(message.sequence, 1, sayer)
            if extension.control == RESYNC and extension.addressee == self.node_id:
                self._answer_resync()
            self._compare(extension, sayer, now)
        return sayer

    def _took(self, sequence: int, count: int, peer: Peer) -> None:
        peer.expected = (sequence + count) & 0xFFFFFFFF
        peer.received += count
        self.messages_received += count

    def _track(self, sequence: int, peer: Peer) -> None:
        if peer.expected is None or sequence == peer.expected:
            return
        if before(sequence, peer.expected):
            self._count_before(peer)
        else:
            lost = (sequence - peer.expected) & 0xFFFFFFFF
            self.messages_lost += lost
            peer.lost += lost

    def link_restored(self, now: float) -> None:
        """What was lost is told again; all of it to nodes that would not ask."""
        super().link_restored(now)
        self.internal.queue.send_all_again()
        if not self._all_say_digests:
            self.send_bulk()

    def _met(self, peer: Peer, now: float) -> None:
        super()._met(peer, now)
        self.external.tells_changes(peer.owner)

    def _merge(self, source: Peer, target: Peer) -> None:
        super()._merge(source, target)
        target.expected = source.expected

    def _queue_resync(self, node: int) -> None:
        self._resyncs.add(node)

    def _tick(self, now: float) -> None:
        """Nothing is acknowledged."""

    def fill(self, out: Datagrams, now: float) -> int:
        self._continue_bulk(now)
        written = self._send_resync(out)
        if self._identity_due and self.internal.queue.waiting:
            written += self._write_identity(out, 0)
        written += self._send_queued(out, now)
        if self._alive_due and self._nothing_waits:
            written += self._write_alive(out, 0)
        return written

    def _send_resync(self, out: Datagrams) -> int:
        written = 0
        while self._resyncs:
            node = self._resyncs.pop()
            if node:
                wrote = write_addressed(out, self.sequence, RESYNC, self.node_id, node)
            else:
                wrote = write_control(out, self.sequence, RESYNC, 0, 0)
            if not wrote:
                self._resyncs.add(node)
                break
            written += self._advance_sequence(1)
        return written

    def _send_queued(self, out: Datagrams, now: float) -> int:
        allowance = self._pace.allowance(now)
        sent = self._advance_sequence(self.internal.queue.fill(out, self.sequence, 0, allowance))
        self._pace.spend(sent)
        return sent

    def _send_deadline(self) -> float:
        return self._pace.next_burst if self.internal.queue.waiting else math.inf
