# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.table import FlowTable

class ExpectationCommit:
    committed: int
    failed: int
    failures: dict[int, int]
    def __init__(self, table: FlowTable, flows: FlowTable) -> None: ...
    @property
    def receive_buffer(self) -> int: ...
    def step(self, fd: int) -> bool: ...
