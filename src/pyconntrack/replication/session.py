# SPDX-License-Identifier: GPL-2.0-or-later
"""What the replication modes have in common: the caches, the peers, the numbering, the face to the daemon.

The daemon drives a session like this: hand it each datagram with receive(), call advance() when deadline()
has come, and after each of these, and after changes to the internal cache, call fill() and send what it wrote
until it writes nothing.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.queue import write_alive, write_digest
from pyconntrack.replication.messages import Message, MessageErrors, read_digest
from pyconntrack.replication.peer import Peer

OWNERS_MAX = 64
TICK = 1.0
# Entries of the external cache that are looked at, or dropped, in one go: a few milliseconds.
SWEEP_SLOTS = 20_000
# Entries that a bulk queues in one go.
BULK_SLOTS = 50_000
# Seconds from one bulk that peers asked for to the next one.
BULK_PAUSE = 1.0


class Session(abc.ABC):
    """One node's side of a replication protocol.

    `first_sequence` is the number of the first message, `now` the time in seconds of any clock that does not
    go back. `says_digest` is to be set once the internal cache holds the whole kernel table, and unset while
    it does not.
    """

    def __init__(
        self, internal: InternalCache, external: ExternalCache, *, first_sequence: int, now: float
    ) -> None:
        self.internal = internal
        self.external = external
        self.sequence = first_sequence & 0xFFFFFFFF
        self.peers: dict[Hashable, Peer] = {}
        self.errors = MessageErrors()
        self.messages_received = 0
        self.messages_lost = 0
        self.messages_before = 0
        self.last_malformed: Hashable = None
        """Who sent the last message that was malformed."""
        self.last_before: Hashable = None
        """Who sent the last message that bore an earlier number than expected."""
        self.senders_refused = 0
        self.resyncs_requested = 0
        self.bulks_sent = 0
        self.bulks_answered = 0
        """Of the bulks, those that a peer asked for."""
        self.says_digest = False
        self._following = False
        self._alive_due = False
        self._bulk_due = False
        self._bulk_cursor: int | None = None
        self._next_bulk = now
        self._next_tick = now + TICK

    def receive(self, datagram: bytes, sender: Hashable, now: float) -> None:
        """Take a datagram from `sender`, whatever it holds.

        Malformed ones are counted, the rest of them is passed over.
        """
        peer = self.peers.get(sender) or self._meet(sender)
        if peer is None:
            self.senders_refused += 1
            return
        peer.last_heard = now
        malformed, before = self.malformed, self.messages_before
        self._take_datagram(datagram, peer, now)
        if self.malformed != malformed:
            self.last_malformed = sender
        if self.messages_before != before:
            self.last_before = sender

    @property
    def malformed(self) -> int:
        """How many messages, or entries in them, could not be read."""
        return self.errors.total + self.external.malformed

    def _meet(self, sender: Hashable) -> Peer | None:
        """A new peer; where there are too many, in place of the one unheard for longest that owns nothing."""
        owner = len(self.peers)
        if owner >= OWNERS_MAX:
            idle = [name for name, peer in self.peers.items() if not self.external.count_of(peer.owner)]
            if not idle:
                return None
            oldest = min(idle, key=lambda name: self.peers[name].last_heard)
            owner = self.peers.pop(oldest).owner
        peer = self.peers[sender] = Peer(owner=owner, followed=self._following)
        return peer

    @abc.abstractmethod
    def _take_datagram(self, datagram: bytes, peer: Peer, now: float) -> None: ...

    def advance(self, now: float) -> None:
        """Do what is due by the time `now`."""
        if self.external.sweeps:
            self.external.sweep(SWEEP_SLOTS)
        if now >= self._next_tick:
            self._next_tick = now + TICK
            self._alive_due = True
            self._tick()

    @abc.abstractmethod
    def _tick(self) -> None:
        """Do what the mode does each second, beside sending an ALIVE."""

    @abc.abstractmethod
    def fill(self, out: Datagrams, now: float) -> int:
        """Write the messages that may go out now into `out`, which is empty.

        Returns how many; 0 when nothing is left to do now.
        """

    def deadline(self) -> float:
        """When advance() or fill() has something to do, if nothing happens before; long ago for at once."""
        if self.external.sweeps or self._bulk_cursor is not None:
            return -math.inf
        bulk = self._next_bulk if self._bulk_due else math.inf
        return min(self._next_tick, bulk, self._send_deadline())

    @abc.abstractmethod
    def _send_deadline(self) -> float:
        """When what has to wait may go out; infinity where nothing waits."""

    def link_restored(self, now: float) -> None:
        """What is sent takes another way from now on, and what was under way may be lost.

        The peers hear from this node at once, so that they see where it sends, and what they lack.
        """
        self._alive_due = True

    def link_renewed(self, now: float) -> None:
        """The peer sends over a new connection from now on, and what it had sent may be lost.

        Where it would not tell that by itself, all is asked for again.
        """
        if self._following or self.peers:
            self.request_resync(now)

    @property
    def _all_say_digests(self) -> bool:
        """Whether all peers say what they have, as far as they are known: they ask for what they lack."""
        return bool(self.peers) and all(peer.says_digest for peer in self.peers.values())

    def request_resync(self, now: float) -> None:
        """Ask the peers for all they have, those that are not known yet included."""
        self._following = True
        self.resyncs_requested += 1
        for peer in self.peers.values():
            peer.resync_begins(self.external, now)
        self._queue_resync()

    @abc.abstractmethod
    def _queue_resync(self) -> None:
        """Let a RESYNC go out."""

    def send_bulk(self) -> None:
        """Queue the whole internal cache for the peers, in steps: fill() makes one."""
        self.bulks_sent += 1
        self._bulk_cursor = 0

    def _answer_resync(self) -> None:
        """A peer asks for all, and gets it, but not again at once: a RESYNC is short, a bulk is not."""
        self._bulk_due = True

    def _continue_bulk(self, now: float) -> None:
        if self._bulk_due and self._bulk_cursor is None and now >= self._next_bulk:
            self._bulk_due = False
            self._next_bulk = now + BULK_PAUSE
            self.bulks_answered += 1
            self.send_bulk()
        if self._bulk_cursor is not None:
            cursor = self.internal.queue.push_some(self._bulk_cursor, BULK_SLOTS)
            self._bulk_cursor = cursor if cursor > self._bulk_cursor else None

    @property
    def _nothing_waits(self) -> bool:
        """What was to be sent has gone out, so that a digest says what the peers should have."""
        return self.internal.queue.waiting == 0 and self._bulk_cursor is None

    def external_flushed(self) -> None:
        """The external cache was emptied on purpose:

        What the peers have is not missed until it is asked for again.
        """
        self._following = False
        for peer in self.peers.values():
            peer.followed = False

    def _advance_sequence(self, count: int) -> int:
        self.sequence = (self.sequence + count) & 0xFFFFFFFF
        return count

    def _write_alive(self, out: Datagrams, flags: int) -> bool:
        """Write an ALIVE, with the digest where the internal cache is whole."""
        if self.says_digest:
            wrote = write_digest(out, self.sequence, flags, len(self.internal), self.internal.digest)
        else:
            wrote = write_alive(out, self.sequence, flags)
        if wrote:
            self._alive_due = False
            self._advance_sequence(1)
        return bool(wrote)

    def _compare(self, datagram: bytes, message: Message, peer: Peer, now: float) -> None:
        peer.says_digest = True
        count, digest = read_digest(datagram, message)
        if peer.compare(self.external, count, digest, now):
            self.request_resync(now)
