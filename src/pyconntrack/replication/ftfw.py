# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode FTFW: reliable replication over a network that loses, repeats and reorders.

What may happen, and what this node does then. Every message has a sequence number; `expected` is the next one
from a peer.

  a change in the cache      the entry joins the sending queue; it goes out as it then is, under the next
                             number, and waits in the resend queue until it is acknowledged
  a message as `expected`    taken; after `ack_window` of them, or a second, an ACK names first and last
  one numbered later         some are lost: ACK what came before, NACK the hole, go on from the later one
  one numbered earlier       dropped, whatever it holds; where all are for DEAF seconds, followed from there
  an ACK                     what it names leaves the resend queue
  a NACK                     what it names moves back to the sending queue, to go out under new numbers
  an ACK that passes some by what is older than an ACK of a second ago, and neither acknowledged nor NACKed,
                             goes out again: its answer is lost, or the peer began to follow only later
  a HELLO                    the peer has started: its numbers begin anew, and what it has not acknowledged
                             goes out again; the next message says HELLO-BACK
  a HELLO-BACK               the peer has heard that this node started; no more HELLO
  a RESYNC                   the whole internal cache joins the sending queue
  a C node's new connection  a RESYNC: it forgot at a HELLO what was under way, or never sent it
  each second                an ALIVE, so that a lost tail shows, with a digest of the cache, see peer.py

Sending is paced by acknowledgements: at most `window` messages are under way, and where nothing is
acknowledged (an older node with a larger window, or no node at all) that many again after each STALL.
"""

from __future__ import annotations

import math

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.messages import (
    ACK,
    DIGEST,
    HELLO,
    HELLO_BACK,
    NACK,
    RESYNC,
    Message,
    before,
    read_message,
    read_range,
)
from pyconntrack.replication.peer import Peer
from pyconntrack.replication.session import Session

STALL = 0.02
WINDOW_MAX = 0x7FFFFFFF
# A HELLO that comes so soon, numbered before others, was overtaken by them: no process starts that fast.
OVERTAKEN = 0.5
# Where all that a peer has sent for so long bore earlier numbers, it counts from there.
DEAF = 3.0


class Ftfw(Session):
    """One node's side of the reliable protocol. `ack_window` is how many messages an ACK stands for."""

    def __init__(
        self,
        internal: InternalCache,
        external: ExternalCache,
        *,
        first_sequence: int,
        now: float,
        ack_window: int = 300,
    ) -> None:
        super().__init__(internal, external, first_sequence=first_sequence, now=now)
        self.ack_window = ack_window
        self.window = min(max(2048, 4 * ack_window), WINDOW_MAX)
        self._saying_hello = True
        self._answer_hello = False
        self._acknowledged_from: int | None = None
        self._overtaken: int | None = None
        self._paced_until = 0.0
        self._granted = 0

    def _take_datagram(self, datagram: bytes, peer: Peer, now: float) -> None:
        offset = 0
        while offset < len(datagram):
            # Nearly all that comes is data in its order, without flags.
            end = self._take_data(datagram, offset, peer.expected, 0, peer, now)
            if end > offset:
                peer.greeted = False
                offset = end
                continue
            message = read_message(datagram, offset, self.errors)
            if message is None:
                return
            offset = self._take(datagram, message, peer, now)
        # Only data counts here: two nodes must not answer each other's acknowledgements at once, for ever.
        if peer.data_unacknowledged >= self.ack_window:
            self._acknowledge(peer)

    def _take(self, datagram: bytes, message: Message, peer: Peer, now: float) -> int:
        """Take the message, and the run of data that begins with it. Returns the offset behind."""
        if message.flags & HELLO:
            self._hear_hello(message, peer, now)
        else:
            peer.greeted = False
        if peer.expected is None:
            peer.expected = message.sequence
        elif before(message.sequence, peer.expected):
            if now - peer.taken_at < DEAF:
                self.messages_before += 1
                return message.offset + message.length
            peer.nothing_to_acknowledge()
        elif message.sequence != peer.expected:
            self._miss(message, peer)
        if message.is_data:
            end = self._take_data(datagram, message.offset, message.sequence, message.flags, peer, now)
        else:
            peer.take(message.sequence, 1, now)
            self.messages_received += 1
            end = message.offset + message.length
            self._take_control(datagram, message, peer, now)
        if message.flags & HELLO_BACK:
            self._saying_hello = False
        return end

    def _take_data(
        self, datagram: bytes, offset: int, first: int | None, flags: int, peer: Peer, now: float
    ) -> int:
        """Take the data at `offset` with these flags, numbered from `first` on. Returns the offset behind."""
        if first is None:
            return offset
        end = self.external.apply_run(datagram, offset, first, True, peer.owner, int(now), flags)
        taken = self.external.run_length
        if taken:
            peer.take(first, taken, now)
            peer.data_unacknowledged += taken
            self.messages_received += taken
        return end

    def _hear_hello(self, message: Message, peer: Peer, now: float) -> None:
        self._answer_hello = True
        if peer.greeted and peer.expected is not None:
            if not before(message.sequence, peer.expected):
                return
            if now - peer.taken_at < OVERTAKEN and not before(message.sequence, peer.greeted_from):
                return
        peer.greeted = True
        peer.greeted_from = message.sequence
        peer.expected = message.sequence
        peer.nothing_to_acknowledge()
        self.internal.queue.send_all_again()

    def _miss(self, message: Message, peer: Peer) -> None:
        """Messages between the expected one and this one are lost."""
        assert peer.expected is not None
        last = (message.sequence - 1) & 0xFFFFFFFF
        self.messages_lost += (message.sequence - peer.expected) & 0xFFFFFFFF
        if peer.unacknowledged:
            self._acknowledge(peer)
        peer.holes = True
        self.internal.queue.push_control(NACK, peer.expected, last)

    def _acknowledge(self, peer: Peer) -> None:
        self.internal.queue.push_control(ACK, peer.first_unacknowledged, peer.last_taken)
        peer.nothing_to_acknowledge()

    def _take_control(self, datagram: bytes, message: Message, peer: Peer, now: float) -> None:
        if message.flags & (ACK | NACK):
            first, last = read_range(datagram, message)
            if before(last, first):
                self.errors.malformed_header += 1
            elif not before(last, self.sequence):
                return  # Not for this node but for another one of the group, or made up.
            elif message.flags & ACK:
                self._acknowledged_from = first
                self.internal.queue.acknowledge(first, last)
                self._paced_until = 0.0
                self._granted = 0
            else:
                self.internal.queue.send_again(first, last)
        elif message.flags & RESYNC:
            self._answer_resync()
        elif message.flags & DIGEST:
            self._compare(datagram, message, peer, now)

    def link_renewed(self, now: float) -> None:
        """Ask a C node, which forgets at a HELLO what was under way; others send that again."""
        if not self._all_say_digests:
            super().link_renewed(now)

    def _queue_resync(self) -> None:
        self.internal.queue.push_control(RESYNC, 0, 0)

    def _tick(self) -> None:
        for peer in self.peers.values():
            if peer.unacknowledged:
                self._acknowledge(peer)
        if self._overtaken is not None:
            before_it = (self._overtaken - 1) & 0xFFFFFFFF
            self.internal.queue.send_again((self._overtaken - 0x7FFFFFFF) & 0xFFFFFFFF, before_it)
        self._overtaken, self._acknowledged_from = self._acknowledged_from, None

    def fill(self, out: Datagrams, now: float) -> int:
        self._continue_bulk(now)
        queue = self.internal.queue
        flags = HELLO if self._saying_hello else 0
        if self._answer_hello:
            flags |= HELLO_BACK
        written = self._advance_sequence(queue.fill(out, self.sequence, flags, self._allowance(now)))
        self._granted = max(0, self._granted - written)
        if (self._alive_due or (self._answer_hello and not written)) and self._nothing_waits:
            written += self._write_alive(out, flags)
        if written:
            self._answer_hello = False
        return written

    def _allowance(self, now: float) -> int:
        """How many messages may go out now."""
        free = self.window - self.internal.queue.unacknowledged
        if free > 0:
            return free
        if self._granted:
            return self._granted
        if self._paced_until == 0.0:
            self._paced_until = now + STALL
        if now < self._paced_until:
            return 0
        self._paced_until = now + STALL
        self._granted = self.window
        return self.window

    def _send_deadline(self) -> float:
        return self._paced_until if self.internal.queue.waiting and self._paced_until else math.inf
