# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.internal import InternalCache

STAMP_LENGTH: int

class StatisticsCache(InternalCache):
    lines: bool
    lost: int
    def take_lines(self) -> bytes: ...
