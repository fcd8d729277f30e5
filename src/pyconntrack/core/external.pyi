# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.counters import Counters
from pyconntrack.core.table import FlowTable

class ExternalCache:
    table: FlowTable
    counters: Counters
    malformed: int
    ignored: int
    run_length: int
    sweeps: int
    def __init__(self, *, limit: int = 0, buckets: int = 0) -> None: ...
    def __len__(self) -> int: ...
    def apply_run(
        self,
        datagram: bytes | bytearray | memoryview,
        offset: int,
        expected: int,
        in_order: bool,
        owner: int,
        now: int,
        flags: int = 0,
    ) -> int: ...
    def count_of(self, owner: int) -> int: ...
    def begin_resync(self, owner: int) -> None: ...
    def settle(self, owner: int, count: int, digest: int) -> bool: ...
    def sweep(self, limit: int) -> bool: ...
    def flush(self) -> int: ...
