# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.standby_cache import StandbyCache

class Injector(ExternalCache):
    waits: int
    failures: dict[int, int]
    def __init__(self, *, expectations: ExternalExpectations | None = None) -> None: ...
    def open(self, internal: StandbyCache, fd: int, *, window_tracking: bool = False) -> None: ...
    def retry(self, now: int) -> None: ...
