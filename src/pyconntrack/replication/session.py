# SPDX-License-Identifier: GPL-2.0-or-later
"""What the replication modes have in common: the caches, the peers, the numbering, the face to the daemon.

The daemon drives a session like this: hand it each datagram with receive(), call advance() when deadline()
has come, and after each of these, and after changes to the internal cache, call fill() and send what it wrote
until it writes nothing.

Who is who. A node is known by the number that it drew when it started; a C node, which has none, by where it
sends from. What may happen at an address, and what this node makes of it:

  a first message                a node that is not known yet; it is followed from there
  a first number                 who it is; another one's means that it sends from there now, too
  another number, not known      the node has started again: all that it has not acknowledged goes out again
  ... the one before             late, and passed over; but after LATE it is believed like any other
  ... this node's own            its own words come back to it: passed over
  ... another node's             the address has changed hands; what its former owner had stays that one's
  messages, but no number        a C node is there now, after SILENCE
  nothing                        after SILENCE no answer is waited for; after OBLIVION, and where others have
                                 taken over all its flows, it is forgotten
"""

from __future__ import annotations

import abc
import math
import secrets
from collections.abc import Hashable

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.queue import write_digest, write_identity
from pyconntrack.replication.messages import Extension, MessageErrors
from pyconntrack.replication.peer import Peer

OWNERS_MAX = 64
TICK = 1.0
# Entries of the external cache that are looked at, or dropped, in one go: a few milliseconds.
SWEEP_SLOTS = 20_000
# Entries that a bulk queues in one go.
BULK_SLOTS = 50_000
# A node of which nothing was heard for so many seconds is silent; one that did not answer is not waited for.
SILENCE = 5.0
# A node that was silent for so many seconds, and all of whose flows others have taken over, has none left.
# One that has none is forgotten.
OBLIVION = 3600.0
# Seconds for which a process that has ended may still be heard, from messages under way.
LATE = 1.0
# Addresses that are remembered of one node: more than it has links.
NAMES_MAX = 8
# Seconds from one question for all, after a connection ended, to the next one; twice as many each time, until
# no connection has ended for a while.
RENEWAL_PAUSE = 2.0
LONGEST_RENEWAL_PAUSE = 300.0
QUIET = 60.0
# Seconds from one bulk that peers asked for to the next one.
BULK_PAUSE = 1.0


class Session(abc.ABC):
    """One node's side of a replication protocol.

    `first_sequence` is the number of the first message, `now` the time in seconds of any clock that does not
    go back. `says_digest` is to be set once the internal cache holds the whole kernel table, and unset while
    it does not. `node_id` is the number by which nodes of ours know this process, over all its links and
    addresses: at random where it is 0.
    """

    def __init__(
        self,
        internal: InternalCache,
        external: ExternalCache,
        *,
        first_sequence: int,
        now: float,
        node_id: int = 0,
    ) -> None:
        self.internal = internal
        self.external = external
        self.sequence = first_sequence & 0xFFFFFFFF
        self._sent = self.sequence + (1 << 32)
        """The next number, not wrapped."""
        self.node_id = node_id or 1 + secrets.randbelow(0xFFFFFFFF)
        self._sender: Hashable = None
        self.peers: dict[Hashable, Peer] = {}
        """The other nodes by where they send from; one that has several addresses stands here as often."""
        self.errors = MessageErrors()
        self.messages_received = 0
        self.messages_lost = 0
        self.messages_before = 0
        self._malformed = 0
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
        self._identity_due = True
        self._bulk_due = False
        self._bulk_cursor: int | None = None
        self._next_bulk = now
        self._next_tick = now + TICK
        self._renewal_due = False
        self._next_renewal = -math.inf
        self._renewal_pause = RENEWAL_PAUSE

    def receive(self, datagram: bytes, sender: Hashable, now: float) -> None:
        """Take a datagram from `sender`, whatever it holds.

        Malformed ones are counted, the rest of them is passed over.
        """
        self._sender = sender
        peer = self.peers.get(sender) or self._meet(sender)
        if peer is None:
            self.senders_refused += 1
            return
        peer.last_heard = now
        self._take_datagram(datagram, peer, now)
        malformed = self.errors.total + self.external.malformed
        if malformed != self._malformed:
            self._malformed = malformed
            self.last_malformed = sender

    def _count_before(self, peer: Peer) -> None:
        """A message of the peer bears an earlier number than expected."""
        self.messages_before += 1
        peer.before += 1
        self.last_before = self._sender

    @property
    def malformed(self) -> int:
        """How many messages, or entries in them, could not be read."""
        return self.errors.total + self.external.malformed

    @property
    def nodes(self) -> list[Peer]:
        """The other nodes, each once."""
        return list({id(peer): peer for peer in self.peers.values()}.values())

    def _meet(self, sender: Hashable) -> Peer | None:
        """A new peer; where there are too many, in place of the one unheard for longest that owns nothing."""
        taken = {peer.owner for peer in self.peers.values()}
        if len(taken) >= OWNERS_MAX:
            idle = [peer for peer in self.nodes if not self.external.count_of(peer.owner)]
            if not idle:
                return None
            oldest = min(idle, key=lambda peer: peer.last_heard)
            self._forget(oldest)
            taken.remove(oldest.owner)
        owner = next(number for number in range(OWNERS_MAX) if number not in taken)
        self.external.set_silent(owner, False)
        self.external.tells_changes(owner)
        peer = self.peers[sender] = Peer(owner=owner, followed=self._following)
        return peer

    def _forget(self, forgotten: Peer) -> None:
        for name in [name for name, peer in self.peers.items() if peer is forgotten]:
            del self.peers[name]

    def _identify(self, peer: Peer, node: int, sequence: int, now: float) -> Peer | None:
        """Who it is that names itself `node` in the message numbered `sequence`, where `peer` sends from.

        None where the message is to be passed over: a late one of a process that has ended.
        """
        peer.nameless = 0
        if node == peer.node or node == 0:
            return peer
        if node == self.node_id or (node == peer.former and now - peer.renamed_at < LATE):
            return None
        known = next((other for other in self.peers.values() if other.node == node), None)
        if known is None:
            restarted = peer.node != 0
            peer.former, peer.node, peer.renamed_at = peer.node, node, now
            if restarted:
                # Also where it was never seen to be equal: what its former process had may be gone.
                self.external.begin_resync(peer.owner)
                self._restarted(peer, sequence)
            self._met(peer, now)
            return peer
        # The node sends from another address: its link was lost, or its interface made anew.
        if peer.node == 0:
            self._merge(peer, known)
        elif list(self.peers.values()).count(peer) == 1:
            # Its address has changed hands; what it had is still its own.
            self.peers[f"{self._sender}, id={peer.node:08x}"] = peer
        self.peers[self._sender] = known
        known.last_heard = now
        known.nameless = 0
        names = [name for name, other in self.peers.items() if other is known and name != self._sender]
        for name in names[:-NAMES_MAX]:
            del self.peers[name]
        return known

    def _merge(self, source: Peer, target: Peer) -> None:
        """`source` was `target` at another address: what it sent there is followed on."""
        self.external.merge_owners(source.owner, target.owner)
        target.received += source.received
        target.lost += source.lost
        target.before += source.before

    def _restarted(self, peer: Peer, sequence: int) -> None:
        """The peer is another process than before, and `sequence` the number that it is at."""
        peer.expected = sequence

    def _met(self, peer: Peer, now: float) -> None:
        """The peer has told who it is."""
        peer.answered_at = now

    @abc.abstractmethod
    def _take_datagram(self, datagram: bytes, peer: Peer, now: float) -> None: ...

    def advance(self, now: float) -> None:
        """Do what is due by the time `now`."""
        if self.external.sweeps:
            self.external.sweep(SWEEP_SLOTS)
        if now >= self._next_tick:
            self._next_tick = now + TICK
            self._alive_due = True
            self._identity_due = True
            self._listen_for_silence(now)
            self._listen_for_names(now)
            self._ask_after_renewal(now)
            self._tick(now)

    def _listen_for_silence(self, now: float) -> None:
        for peer in self.nodes:
            silence = now - peer.last_heard
            if peer.silent != (silence > SILENCE):
                peer.silent = not peer.silent
                self.external.set_silent(peer.owner, peer.silent)
            claims = self.external.count_of(peer.owner)
            if silence > OBLIVION and claims == self.external.beneath_of(peer.owner):
                self.external.begin_resync(peer.owner)
                self.external.settle(peer.owner, 0, 0)
                if not claims:
                    self._forget(peer)

    def _listen_for_names(self, now: float) -> None:
        """One that no longer says who it is, which a node of ours does each second, is a C node by now."""
        for peer in self.nodes:
            peer.nameless += now - peer.last_heard < 2 * TICK
            if peer.node and peer.nameless > SILENCE / TICK:
                peer.node, peer.says_digest = 0, False

    @abc.abstractmethod
    def _tick(self, now: float) -> None:
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
        self._identity_due = True

    def link_renewed(self, now: float) -> None:
        """The peer sends over a new connection from now on, and what it had sent may be lost.

        Where it would not tell that by itself, all is asked for again; less and less often where that is what
        the connections end by.
        """
        if self._following or self.peers:
            self._renewal_due = True
            self._ask_after_renewal(now)

    def _ask_after_renewal(self, now: float) -> None:
        if not self._renewal_due or now < self._next_renewal:
            return
        if now - self._next_renewal > QUIET:
            self._renewal_pause = RENEWAL_PAUSE
        self._renewal_due = False
        self._next_renewal = now + self._renewal_pause
        self._renewal_pause = min(2 * self._renewal_pause, LONGEST_RENEWAL_PAUSE)
        self.request_resync(now)

    @property
    def _all_say_digests(self) -> bool:
        """Whether all peers say what they have, as far as they are known: they ask for what they lack."""
        return bool(self.peers) and all(peer.says_digest for peer in self.peers.values())

    def request_resync(self, now: float) -> None:
        """Ask the peers for all they have, those that are not known yet included."""
        self._following = True
        self.resyncs_requested += 1
        for peer in self.nodes:
            peer.resync_begins(self.external, now)
        self._queue_resync(0)

    @abc.abstractmethod
    def _queue_resync(self, node: int) -> None:
        """Let a RESYNC go out, to this node or, where it is 0, to all."""

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
        self._sent += count
        self.sequence = self._sent & 0xFFFFFFFF
        return count

    def _write_alive(self, out: Datagrams, flags: int) -> bool:
        """Write an ALIVE that says who this is and, where the internal cache is whole, its digest."""
        if not self.says_digest:
            wrote = self._write_identity(out, flags)
        else:
            internal = self.internal
            wrote = write_digest(out, self.sequence, flags, self.node_id, len(internal), internal.digest)
            self._advance_sequence(int(wrote))
        if wrote:
            self._alive_due = self._identity_due = False
        return wrote

    def _write_identity(self, out: Datagrams, flags: int) -> bool:
        """Say who this is, before what the peers are to take from it."""
        wrote = write_identity(out, self.sequence, flags, self.node_id)
        if wrote:
            self._identity_due = False
            self._alive_due &= self.says_digest
            self._advance_sequence(1)
        return wrote

    def _compare(self, extension: Extension, peer: Peer, now: float) -> None:
        """Hold what the peer says it has against what is here."""
        if extension.digest is None:
            return
        peer.says_digest = True
        if not peer.compare(self.external, *extension.digest, now):
            return
        self.resyncs_requested += 1
        peer.resync_begins(self.external, now)
        self._queue_resync(peer.node)
