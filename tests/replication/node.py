# SPDX-License-Identifier: GPL-2.0-or-later
"""A node of the simulation: real caches and a real session, driven as the daemon drives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.replication.alarm import Alarm
from pyconntrack.replication.ftfw import Ftfw
from pyconntrack.replication.notrack import Notrack
from pyconntrack.replication.session import Session
from tests.replication.kernel import EventsLostError, SimulatedKernel

# Of mode ALARM, in seconds.
REFRESH_TIME = 4
CACHE_TIMEOUT = 9


@dataclass(slots=True)
class Settings:
    """How all nodes are set up."""

    mode: str
    first_sequence: int
    resend_limit: int
    ack_window: int
    datagram_size: int
    window_scale: bool
    timeouts: bool
    says_digest: bool


class Node:
    """`send` is called as send(node, datagram). Until start() a node is down."""

    def __init__(
        self, name: str, kernel: SimulatedKernel, settings: Settings, send: Callable[[Node, bytes], None]
    ) -> None:
        self.name = name
        self.kernel = kernel
        self.settings = settings
        self.up = False
        self.address = name
        """Where it sends from."""
        self._send = send
        self.internal: InternalCache
        self.external: ExternalCache
        self.session: Session
        self._out = Datagrams(settings.datagram_size, 8)
        self._dump_place: tuple[bytes, ...] | None = None
        self._dump_piece: bytes | None = None
        self.overruns = 0

    def start(self, now: float) -> None:
        """A process begins: it subscribes to events and asks for a dump."""
        settings = self.settings
        sequence = (settings.first_sequence + int(now)) & 0xFFFFFFFF
        node_id = self.kernel.random.getrandbits(32) | 1
        self.external = ExternalCache()
        limit = settings.resend_limit if settings.mode == "ftfw" else 0
        self.internal = InternalCache(
            resend_limit=limit, timeouts=settings.timeouts, window_scale=settings.window_scale
        )
        if settings.mode == "ftfw":
            self.session = Ftfw(
                self.internal,
                self.external,
                first_sequence=sequence,
                now=now,
                node_id=node_id,
                ack_window=settings.ack_window,
            )
        elif settings.mode == "alarm":
            self.session = Alarm(
                self.internal,
                self.external,
                first_sequence=sequence,
                now=now,
                node_id=node_id,
                refresh_time=REFRESH_TIME,
                cache_timeout=CACHE_TIMEOUT,
            )
        else:
            self.session = Notrack(
                self.internal, self.external, first_sequence=sequence, now=now, node_id=node_id
            )
        self.up = True
        self.kernel.subscribe()
        self._begin_resync()

    def stop(self) -> None:
        self.up = False

    @property
    def busy(self) -> bool:
        """Whether events wait or a dump is under way."""
        return self.up and (self.kernel.dumping or self.kernel.readable)

    def receive(self, datagram: bytes, sender: str, now: float) -> None:
        if self.up:
            self.session.receive(datagram, sender, now)
            self.transmit(now)

    def tick(self, now: float) -> None:
        if self.up:
            self.session.advance(now)
            self.transmit(now)

    def request_resync(self, now: float) -> None:
        if self.up:
            self.session.request_resync(now)
            self.transmit(now)

    def flush_external(self, now: float) -> None:
        """`conntrackd -f external`, followed by `conntrackd -n`."""
        if self.up:
            self.external.flush()
            self.session.external_flushed()
            self.request_resync(now)

    def readdress(self, address: str, now: float) -> None:
        """Its link fails, and another one takes over."""
        self.address = address
        if self.up:
            self.session.link_restored(now)
            self.session.advance(now)
            self.transmit(now)

    def send_bulk(self, now: float) -> None:
        if self.up:
            self.session.send_bulk()
            self.transmit(now)

    def transmit(self, now: float) -> None:
        while self.session.fill(self._out, now):
            for index in range(len(self._out)):
                self._send(self, self._out[index])
            self._out.clear()

    def read_events(self, count: int, now: float) -> None:
        """Read up to `count` events.

        After a loss: first all that were queued before it, then the whole table.
        """
        if not self.up:
            return
        try:
            for _ in range(count):
                message = self.kernel.receive()
                if message is None:
                    break
                self.internal.follow(message, int(now))
        except EventsLostError:
            self.overruns += 1
            self._drain(now)
            self._begin_resync()
        self.transmit(now)

    def _drain(self, now: float) -> None:
        while True:
            try:
                message = self.kernel.receive()
            except EventsLostError:
                continue
            if message is None:
                return
            self.internal.follow(message, int(now))

    def _begin_resync(self) -> None:
        if self.kernel.dumping and self.kernel.random.random() < 0.5:
            self.internal.end_resync(complete=False)
        self.internal.begin_resync()
        self.kernel.dumping = True
        self._dump_place = None
        self._dump_piece = None

    def continue_dump(self, count: int, now: float) -> None:
        """Merge the piece that was read last time, and read the next: between the two, the table goes on."""
        if not self.up or not self.kernel.dumping:
            return
        if self._dump_piece is None:
            self._dump_piece, self._dump_place = self.kernel.dump_piece(None, count, now)
            return
        self.internal.merge_dump(self._dump_piece, int(now))
        if self._dump_place is None:
            self.kernel.dumping = False
            self._dump_piece = None
            self.internal.end_resync()
            self.session.says_digest = self.settings.says_digest
        else:
            self._dump_piece, self._dump_place = self.kernel.dump_piece(self._dump_place, count, now)
        self.transmit(now)
