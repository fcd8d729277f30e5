# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's connection tracking table in miniature:

It makes events, drops them as the kernel does, and can be dumped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

from tests.core.support_flows import (
    ASSURED,
    GROUPS,
    SEEN_REPLY,
    FlowTuple,
    KernelFlow,
    change,
    random_flow,
    random_tuple,
)
from tests.core.support_netlink import destroy, dumped, event

Key = tuple[FlowTuple, int]


class EventsLostError(OSError):
    """ENOBUFS: events were dropped."""


def draw_pool(random: Random, tuples: int) -> list[Key]:
    """Tuples and zones for flows."""
    return [(random_tuple(random), random.choice((0, 0, 0, 0, 5))) for _ in range(tuples)]


class SimulatedKernel:
    """`queue_limit` is how many events wait for their reader, `pool` what its flows may be named.

    Times are in seconds.
    """

    def __init__(self, random: Random, queue_limit: int, pool: Sequence[Key]) -> None:
        self.random = random
        self.queue_limit = queue_limit
        self.flows: dict[Key, KernelFlow] = {}
        self._pool = pool
        self._queue: deque[bytes] = deque()
        self._congested = False
        self._loss_told = True
        self._next_id = random.getrandbits(31)
        self._ended: deque[KernelFlow] = deque(maxlen=8)
        self.events_lost = 0
        self.dumping = False

    # What happens to flows. Each returns a word for the trace.

    def operate(self, now: float) -> str:
        """One change at random."""
        random = self.random
        key = random.choice(self._pool)
        flow = self.flows.get(key)
        if flow is None:
            return self._create(key, now)
        if random.random() < 0.55:
            return self._update(flow, now)
        if random.random() < 0.6:
            return self._destroy(flow)
        return self._replace(flow, now)

    def reboot(self) -> None:
        self.flows.clear()
        self.subscribe()

    def _create(self, key: Key, now: float) -> str:
        self._next_id += 1
        number = self._next_id
        same = None
        if self._ended and self._ended[-1].key == key and self.random.random() < 0.3:
            # The kernel makes the id from the object's address and the tuples, and takes the object again.
            same = self._ended[-1]
            number = same.id
        flow = random_flow(self.random, number, key[0], key[1])
        if same is not None:
            # Where both events were lost, a dump cannot tell the two apart but by what they differ in.
            flow.told_timeouts |= same.told_timeouts
        self._touch(flow, now)
        self.flows[key] = flow
        told = [group for group in GROUPS if group != "protocol" or self.random.random() < 0.9]
        if "protocol" not in told:
            flow.tcp = flow.sctp = flow.dccp = None
        self._emit(event(flow, True, told))
        return "new"

    def _update(self, flow: KernelFlow, now: float) -> str:
        groups = self.random.sample(GROUPS, self.random.randrange(4))
        for group in groups:
            change(self.random, flow, group)
        if flow.master is not None:
            flow.status |= 1
        flow.status |= self.random.choice((0, SEEN_REPLY, SEEN_REPLY | ASSURED))
        if self.random.random() < 0.8:
            flow.timeout = self.random.choice((30, 60, 432000))
        self._touch(flow, now)
        self._emit(event(flow, False, groups))
        return "update " + " ".join(sorted(groups))

    def _destroy(self, flow: KernelFlow) -> str:
        del self.flows[flow.key]
        self._ended.append(flow)
        self._emit(destroy(flow))
        return "destroy"

    def _replace(self, flow: KernelFlow, now: float) -> str:
        """The same tuple again at once under another id, the end of the old flow told late or never."""
        old = self.flows.pop(flow.key)
        self._ended.clear()
        self._create(flow.key, now)
        # While a dump runs, nothing would tell that the flow it shows ended before the one in the events.
        if self.random.random() < 0.5 or self.dumping:
            self._emit(destroy(old))
            return "replace, destroy told late"
        return "replace, destroy not told"

    def _touch(self, flow: KernelFlow, now: float) -> None:
        flow.timeout_set = now
        flow.told_timeouts.add(flow.timeout)

    # The event socket: once it overran, everything is dropped until its reader has emptied it (af_netlink.c).

    def _emit(self, message: bytes) -> None:
        if self._congested or len(self._queue) >= self.queue_limit:
            if not self._congested:
                self._congested = True
                self._loss_told = False
            self.events_lost += 1
            return
        self._queue.append(message)

    @property
    def readable(self) -> bool:
        return bool(self._queue) or not self._loss_told

    def subscribe(self) -> None:
        self._queue.clear()
        self._congested = False
        self._loss_told = True

    def receive(self) -> bytes | None:
        """One event; None where none waits.

        Raises EventsLostError once for each overrun, before what is left is read.
        """
        if not self._loss_told:
            self._loss_told = True
            raise EventsLostError
        message = self._queue.popleft() if self._queue else None
        if not self._queue:
            self._congested = False
        return message

    # Dumps.

    def _order(self, key: Key) -> tuple[bytes, ...]:
        original, zone = key
        return original.source, original.destination, repr((original, zone)).encode()

    def dump_piece(
        self, after: tuple[bytes, ...] | None, count: int, now: float
    ) -> tuple[bytes, tuple[bytes, ...] | None]:
        """The next flows of a dump, and where it goes on; None at its end.

        Flows that come behind the place are not in it.
        """
        keys = sorted((self._order(key), key) for key in self.flows)
        rest = [(order, key) for order, key in keys if after is None or order > after]
        piece = rest[:count]
        data = b"".join(self._dumped(self.flows[key], now) for _, key in piece)
        return data, piece[-1][0] if len(rest) > count else None

    def _dumped(self, flow: KernelFlow, now: float) -> bytes:
        timeout = max(0, flow.timeout - int(now - flow.timeout_set))
        flow.told_timeouts.add(timeout)
        return dumped(flow, timeout)
