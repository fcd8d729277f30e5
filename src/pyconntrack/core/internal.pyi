# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.counters import Counters
from pyconntrack.core.filter import EventFilter
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.core.queue import MessageQueue
from pyconntrack.core.table import FlowTable

class InternalCache:
    table: FlowTable
    queue: MessageQueue
    counters: Counters
    live: int
    digest: int
    filtered: int
    malformed: int
    resyncing: bool
    unheard: int
    listened: bool
    traffic_bytes: int
    traffic_packets: int
    def __init__(
        self,
        *,
        filter: EventFilter | None = None,
        limit: int = 0,
        buckets: int = 0,
        resend_limit: int = 0,
        timeouts: bool = True,
        window_scale: bool = False,
    ) -> None: ...
    def __len__(self) -> int: ...
    def receive_events(self, receiver: NetlinkReceiver, limit: int, now: int) -> int: ...
    def follow(self, messages: bytes | bytearray | memoryview, now: int) -> int: ...
    def merge_dump(self, messages: bytes | bytearray | memoryview, now: int) -> int: ...
    def merge_batch(self, batch: FlowBatch, now: int) -> None: ...
    def learn(self, flows: FlowBatch, now: int) -> None: ...
    def begin_resync(self) -> None: ...
    def sweep(self, limit: int) -> bool: ...
    def end_resync(self, complete: bool = True) -> int: ...
    def flush(self) -> int: ...
