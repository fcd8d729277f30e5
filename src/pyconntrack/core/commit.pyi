# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.table import FlowTable

class Commit:
    committed: int
    failed: int
    failures: dict[int, int]
    def __init__(self, table: FlowTable, *, timeout: int = -1, window_tracking: bool = False) -> None: ...
    @property
    def receive_buffer(self) -> int: ...
    def step(self, fd: int, now: int) -> bool: ...
