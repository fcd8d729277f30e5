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
        self.senders_refused = 0
        self.resyncs_requested = 0
        self.bulks_sent = 0
        self.says_digest = False
        self._following = False
        self._alive_due = False
        self._next_tick = now + TICK

    def receive(self, datagram: bytes, sender: Hashable, now: float) -> None:
        """Take a datagram from `sender`, whatever it holds.

        Malformed ones are counted, the rest of them is passed over.
        """
        peer = self.peers.get(sender)
        if peer is None:
            if len(self.peers) >= OWNERS_MAX:
                self.senders_refused += 1
                return
            peer = self.peers[sender] = Peer(owner=len(self.peers), followed=self._following)
        peer.last_heard = now
        self._take_datagram(datagram, peer, now)

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
        return -math.inf if self.external.sweeps else min(self._next_tick, self._send_deadline())

    @abc.abstractmethod
    def _send_deadline(self) -> float:
        """When what has to wait may go out; infinity where nothing waits."""

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

    def send_bulk(self) -> int:
        """Queue the whole internal cache for the peers. Returns how many entries."""
        self.bulks_sent += 1
        return int(self.internal.queue.push_all())

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
        count, digest = read_digest(datagram, message)
        if peer.compare(self.external, count, digest, now):
            self.request_resync(now)
