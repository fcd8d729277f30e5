# SPDX-License-Identifier: GPL-2.0-or-later
"""What this node knows of another one: the numbers it sends under, and whether its flows are all here.

A node of ours says in each ALIVE how many entries its internal cache has and what their digest is. That is
how a difference is found which no sequence number shows: messages that left a full resend queue, a partition
that was longer than it, flows that ended while this node was away. The answer to a lasting difference is the
protocol's own RESYNC, after which the external cache drops what is left over.

A node follows its peers whole only from its first resync on: until somebody asks for their tables
(`conntrackd -n`, StartupResync), and again after the external cache was flushed, the caches differ because
they were told to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyconntrack.core.external import ExternalCache
from pyconntrack.replication.messages import before
from pyconntrack.replication.ranges import Ranges

# How often an ALIVE must contradict the external cache before a resync is asked for. A first time may be a
# message still under way.
_PATIENCE = 2
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 300.0


@dataclass(slots=True, eq=False)
class Peer:
    """Another node.

    `owner` is its number in the external cache, `node` the one that it gave itself when it started: 0 for a C
    node, or as long as it is not known. Sequence numbers count modulo 2**32, times are in seconds.
    """

    owner: int
    node: int = 0
    former: int = 0
    """Its `node` before it last started."""
    renamed_at: float = 0.0
    """When its `node` became another one."""
    nameless: int = 0
    """Seconds in which it was heard since it last said its `node`."""
    expected: int | None = None
    greeted: bool = False
    greeted_from: int = 0
    taken_at: float = 0.0
    unacknowledged: int = 0
    data_unacknowledged: int = 0
    first_unacknowledged: int = 0
    holes: bool = False
    last_heard: float = 0.0
    silent: bool = False
    answered_at: float = 0.0
    """When it last acknowledged, or asked for, messages of this node's, or this node met it."""
    acknowledged: Ranges = field(default_factory=Ranges)
    """Of this node's messages, those that it need not get any more."""
    acknowledged_from: int | None = None
    """What the newest of its ACKs begins with, of those that came within this second."""
    overtaken: int | None = None
    sent_again_at: float = 0.0
    received: int = 0
    lost: int = 0
    before: int = 0
    followed: bool = False
    says_digest: bool = False
    differences: int = 0
    pause: float = _FIRST_PAUSE
    next_resync: float = 0.0

    def take(self, first: int, count: int, now: float) -> None:
        """`count` messages, the first of them numbered `first`, have arrived in order."""
        self.taken_at = now
        if self.unacknowledged == 0:
            self.first_unacknowledged = first
        self.unacknowledged += count
        self.received += count
        self.expected = (first + count) & 0xFFFFFFFF

    def nothing_to_acknowledge(self) -> None:
        """An acknowledgement goes out, or the peer would not know what of."""
        self.unacknowledged = 0
        self.data_unacknowledged = 0

    def acknowledges_from(self, first: int) -> None:
        """An ACK of it begins with the number `first`; one that is repeated comes behind newer ones."""
        if self.acknowledged_from is None or before(self.acknowledged_from, first):
            self.acknowledged_from = first

    @property
    def last_taken(self) -> int:
        """The number of the last message that arrived."""
        return ((self.expected or 0) - 1) & 0xFFFFFFFF

    def resync_begins(self, external: ExternalCache, now: float) -> None:
        """The peer is being asked for all that it has."""
        external.begin_resync(self.owner)
        self.followed = True
        self.differences = 0
        self.next_resync = now + self.pause
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)

    def compare(self, external: ExternalCache, count: int, digest: int, now: float) -> bool:
        """Hold what the peer says it has against what is here. True where it must be asked for all of it."""
        if external.settle(self.owner, count, digest):
            self.followed = True
            self.differences = 0
            self.pause = _FIRST_PAUSE
            return False
        # Behind a hole its messages are still to come again; that is no difference yet.
        holes, self.holes = self.holes, False
        if not self.followed or holes:
            return False
        if external.full:
            # What there is no room for would be asked for in vain.
            return False
        self.differences += 1
        return self.differences >= _PATIENCE and now >= self.next_resync
