# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.table import FlowTable

class ExpectationRequests:
    committed: int
    failed: int
    failures: dict[int, int]
    @property
    def receive_buffer(self) -> int: ...

class ExpectationCommit(ExpectationRequests):
    def __init__(self, table: FlowTable, flows: FlowTable) -> None: ...
    def step(self, fd: int) -> bool: ...

class ExpectationInjector(ExpectationRequests):
    def __init__(self, expectations: ExternalExpectations) -> None: ...
    def step(self, fd: int, now: int) -> None: ...
