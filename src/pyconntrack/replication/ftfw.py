# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode FTFW: reliable replication over a network that loses, repeats and reorders.

What may happen, and what this node does then. Every message has a sequence number; `expected` is the next one
from a peer.

  a change in the cache      the entry joins the sending queue; it goes out as it then is, under the next
                             number, and waits in the resend queue until it is acknowledged
  a message as `expected`    taken; after `ack_window` of them, or a second, an ACK names first and last
  one numbered later         some are lost: ACK what came before, NACK the hole, go on from the later one
  one numbered earlier       dropped, whatever it holds; where all are for DEAF seconds, followed from there
  an ACK                     what it names leaves the resend queue, once no other node lacks it
  a NACK                     what it names moves back to the sending queue, to go out under new numbers
  an ACK that passes some by what is older than an ACK of a second ago, and neither acknowledged nor NACKed,
                             goes out again: its answer is lost, or the peer began to follow only later
  a HELLO                    the peer has started: its numbers begin anew, and what it has not acknowledged
                             goes out again; the next message says HELLO-BACK
  a HELLO-BACK               the peer has heard that this node started; no more HELLO
  a RESYNC                   the whole internal cache joins the sending queue
  a C node's new connection  a RESYNC: it forgot at a HELLO what was under way, or never sent it
  each second                an ALIVE, so that a lost tail shows, with a digest of the cache, see peer.py

Sending is paced by acknowledgements: at most `window` messages are under way. Where they hold a bulk up, each
widens the window by what it names, since for two nodes to wait for each other costs more than the messages.
A NACK narrows it to half, beyond which it widens no more: the peer's socket may not hold as many. NACKs of
what was sent before that narrow it no further, for they tell of the same window. But a message may be lost
anywhere, so each FORGIVEN in which it was not narrowed lets it widen to twice as much again. Where nothing
is acknowledged (an older node with a larger window, or no node at all), as many as at first go out after
each STALL.

Of several nodes in one group each has numbers of its own, so an acknowledgement must say whose it means.
Nodes of ours name themselves in each ALIVE, and send each other ACK and NACK in ALIVEs that bear more, see
docs/protocol.md; a C node takes them for nothing, and gets plain ones. A message stays in the resend queue
until each node of ours has it that has answered at all within SILENCE; one that comes back later finds by
the digest what it has missed. Where there is a node of ours, what C nodes acknowledge decides nothing: they
keep one count for all nodes together.
"""

from __future__ import annotations

import math

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.messages import (
    ACK,
    EXTENDED,
    HELLO,
    HELLO_BACK,
    NACK,
    RESYNC,
    Extension,
    Message,
    before,
    read_extension,
    read_message,
    read_range,
)
from pyconntrack.replication.peer import Peer
from pyconntrack.replication.ranges import Ranges
from pyconntrack.replication.session import SILENCE, Session

STALL = 0.02
NARROWEST_WINDOW = 2048
FIRST_WINDOW = 2048
WIDEST_WINDOW = 16384
FORGIVEN = 3600.0
WINDOW_MAX = 0x7FFFFFFF
# A HELLO that comes so soon, numbered before others, was overtaken by them: no process starts that fast.
OVERTAKEN = 0.5
# Where all that a peer has sent for so long bore earlier numbers, it counts from there.
DEAF = 3.0
# A C node that hears several of ours asks for what it does not lack: it gets it so often, in seconds.
REPEAT_PAUSE = 1.0


class Ftfw(Session):
    """One node's side of the reliable protocol. `ack_window` is how many messages an ACK stands for."""

    def __init__(
        self,
        internal: InternalCache,
        external: ExternalCache,
        *,
        first_sequence: int,
        now: float,
        node_id: int = 0,
        ack_window: int = 300,
    ) -> None:
        super().__init__(internal, external, first_sequence=first_sequence, now=now, node_id=node_id)
        self.ack_window = ack_window
        self.first_window = min(max(FIRST_WINDOW, 4 * ack_window), WINDOW_MAX)
        self.window = self.first_window
        # What left a full resend queue could not be sent again.
        self._widest_ever = max(self.window, min(WIDEST_WINDOW, internal.queue.resend_limit))
        self._widest = self._widest_ever
        self._forgiven_at = math.inf
        self._narrowed_at = 0
        """What was the next number, not wrapped, when the window was last narrowed."""
        self._saying_hello = True
        self._answer_hello = False
        self._awaited: list[Peer] = []
        """Nodes of ours without whose acknowledgement nothing leaves the resend queue."""
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
            if message.flags & EXTENDED:
                sayer = self._identify(peer, read_extension(datagram, message).node, message.sequence, now)
                if sayer is None:
                    return
                peer = sayer
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
                self._count_before(peer)
                return message.offset + message.length
            peer.nothing_to_acknowledge()
        elif message.sequence != peer.expected:
            self._miss(message.sequence, peer)
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
        self._begin_anew(peer, message.sequence, peer.node)

    def _begin_anew(self, peer: Peer, sequence: int, former: int) -> None:
        """The peer has started, counts from `sequence`, and lost what it got as the node `former`."""
        peer.expected = sequence
        peer.nothing_to_acknowledge()
        self._send_all_again(peer, former)

    def _send_all_again(self, peer: Peer, former: int) -> None:
        peer.acknowledged = Ranges()
        peer.acknowledged_from = peer.overtaken = None
        self.internal.queue.send_all_again(former)

    def _restarted(self, peer: Peer, sequence: int) -> None:
        if peer.greeted and peer.expected == sequence:
            # Its HELLO was heard, and is followed.
            self._send_all_again(peer, peer.former)
        else:
            self._begin_anew(peer, sequence, peer.former)

    def _met(self, peer: Peer, now: float) -> None:
        super()._met(peer, now)
        self._group_changed(now)

    def _merge(self, source: Peer, target: Peer) -> None:
        super()._merge(source, target)
        if source.expected is None or target.expected is None:
            return
        if target.unacknowledged:
            self._acknowledge(target)
        if before(target.expected, source.expected):
            # What came from the new address was another node's till now: the end of a flow ended nothing.
            self._miss(source.expected, target)
            target.expected = source.expected
            target.taken_at = source.taken_at

    def _group_changed(self, now: float) -> None:
        """A node has come, or answers again, or does not."""
        self._awaited = [peer for peer in self.nodes if peer.node and now - peer.answered_at <= SILENCE]

    def _miss(self, sequence: int, peer: Peer) -> None:
        """Messages between the expected one and the one numbered `sequence` are lost."""
        assert peer.expected is not None
        lost = (sequence - peer.expected) & 0xFFFFFFFF
        self.messages_lost += lost
        peer.lost += lost
        if peer.unacknowledged:
            self._acknowledge(peer)
        peer.holes = True
        self._answer(NACK, peer, peer.expected, (sequence - 1) & 0xFFFFFFFF)

    def _acknowledge(self, peer: Peer) -> None:
        self._answer(ACK, peer, peer.first_unacknowledged, peer.last_taken)
        peer.nothing_to_acknowledge()

    def _answer(self, control: int, peer: Peer, first: int, last: int) -> None:
        queue = self.internal.queue
        if peer.node:
            queue.push_addressed(control, self.node_id, peer.node, first, last)
            return
        # A node of ours that hears this must know that it is not for itself.
        self._identity_due |= len(self.peers) > 1
        queue.push_control(control, first, last)

    def _take_control(self, datagram: bytes, message: Message, peer: Peer, now: float) -> None:
        if message.flags & EXTENDED:
            self._take_extension(read_extension(datagram, message), peer, now)
        elif message.flags & (ACK | NACK):
            # A node of ours names whom it means: a plain one of it is for a C node.
            if not peer.node:
                first, last = read_range(datagram, message)
                self._take_answer(message.flags & (ACK | NACK), first, last, peer, now)
        elif message.flags & RESYNC:
            self._answer_resync()

    def _take_extension(self, extension: Extension, peer: Peer, now: float) -> None:
        if extension.control and extension.addressee == self.node_id:
            if extension.control == RESYNC:
                self._answer_resync()
            elif extension.control in (ACK, NACK):
                self._take_answer(extension.control, extension.first, extension.last, peer, now)
        self._compare(extension, peer, now)

    def link_renewed(self, now: float) -> None:
        """Ask a C node, which forgets at a HELLO what was under way; others send that again."""
        if not self._all_say_digests:
            super().link_renewed(now)

    def _take_answer(self, control: int, first: int, last: int, peer: Peer, now: float) -> None:
        if before(last, first):
            self.errors.count("malformed_header")
            return
        if not before(last, self.sequence):
            return  # Not for this node but for another one of the group, or made up.
        peer.answered_at = now
        if peer.node:
            if peer not in self._awaited:
                self._group_changed(now)
        elif self._awaited and now - peer.sent_again_at < REPEAT_PAUSE:
            return
        if control == ACK:
            if peer.node:
                peer.acknowledged.add(self._unwrapped(first), self._unwrapped(last))
            self._take_acknowledgement(first, last, peer)
        else:
            peer.sent_again_at = now
            self._narrow_window(self._unwrapped(last), now)
            self._send_again(self._unwrapped(first), self._unwrapped(last), peer)

    def _take_acknowledgement(self, first: int, last: int, peer: Peer) -> None:
        queue = self.internal.queue
        kept = queue.unacknowledged
        if not self._awaited or self._awaited == [peer]:
            peer.acknowledges_from(first)
            queue.acknowledge(first, last)
        elif peer.node:
            peer.acknowledges_from(first)
            self._release(self._unwrapped(first), self._unwrapped(last))
        if self._paced_until:
            self.window = min(self.window + kept - queue.unacknowledged, self._widest)
        self._paced_until = 0.0
        self._granted = 0

    def _narrow_window(self, lost: int, now: float) -> None:
        """The message numbered `lost` is lost. What else of its window is tells nothing more of the peer."""
        if lost < self._narrowed_at:
            return
        self._narrowed_at = self._sent
        narrowest = min(max(NARROWEST_WINDOW, 2 * self.ack_window), self.first_window)
        self._widest = self.window = max(narrowest, self.window // 2)
        self._forgiven_at = now + FORGIVEN

    def _forgive_loss(self, now: float) -> None:
        if now >= self._forgiven_at:
            self._widest = min(2 * self._widest, self._widest_ever)
            self._forgiven_at = now + FORGIVEN if self._widest < self._widest_ever else math.inf

    def _send_again(self, first: int, last: int, peer: Peer) -> None:
        """The peer lacks what is numbered `first` to `last`; it will not get it under these numbers."""
        self.internal.queue.send_again(first & 0xFFFFFFFF, last & 0xFFFFFFFF, peer.node)
        if peer in self._awaited:
            peer.acknowledged.add(first, last)
            self._release(first, last)

    def _release(self, first: int, last: int) -> None:
        """What all have of the messages numbered `first` to `last` leaves the resend queue."""
        pieces = [(first, last)]
        for peer in self._awaited:
            pieces = [common for piece in pieces for common in peer.acknowledged.common(*piece)]
        for piece in pieces:
            self.internal.queue.acknowledge(piece[0] & 0xFFFFFFFF, piece[1] & 0xFFFFFFFF)

    def _unwrapped(self, sequence: int) -> int:
        """A number that was sent, as it is beyond 2**32."""
        return self._sent - ((self.sequence - sequence) & 0xFFFFFFFF)

    def _queue_resync(self, node: int) -> None:
        if node:
            self.internal.queue.push_addressed(RESYNC, self.node_id, node, 0, 0)
        else:
            self.internal.queue.push_control(RESYNC, 0, 0)

    def _tick(self, now: float) -> None:
        self._forgive_loss(now)
        for peer in self.nodes:
            if peer.unacknowledged:
                self._acknowledge(peer)
            if peer in self._awaited or not self._awaited:
                self._send_overtaken_again(peer)
        awaited = self._awaited
        self._group_changed(now)
        oldest = self.internal.queue.oldest
        first = self._sent if oldest is None else self._unwrapped(oldest)
        if self._awaited and self._awaited != awaited:
            self._release(first, self._sent - 1)
        for peer in self.nodes:
            peer.acknowledged.drop_before(first)

    def _send_overtaken_again(self, peer: Peer) -> None:
        """What an ACK of a second ago passed by goes out again."""
        oldest = self.internal.queue.oldest
        if peer.overtaken is not None and oldest is not None:
            last = self._unwrapped(peer.overtaken) - 1
            for gap in peer.acknowledged.gaps(self._unwrapped(oldest), last):
                self._send_again(*gap, peer)
        peer.overtaken, peer.acknowledged_from = peer.acknowledged_from, None

    def fill(self, out: Datagrams, now: float) -> int:
        self._continue_bulk(now)
        queue = self.internal.queue
        flags = HELLO if self._saying_hello else 0
        if self._answer_hello:
            flags |= HELLO_BACK
        written = 0
        if queue.waiting:
            if self._identity_due:
                written += self._write_identity(out, flags)
            written += self._advance_sequence(queue.fill(out, self.sequence, flags, self._allowance(now)))
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
        self._granted = min(self.window, self.first_window)
        return self._granted

    def _send_deadline(self) -> float:
        return self._paced_until if self.internal.queue.waiting and self._paced_until else math.inf
