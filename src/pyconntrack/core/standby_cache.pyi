# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.internal import InternalCache

class StandbyCache(InternalCache):
    incomplete: FlowBatch
    lent_count: int
    port: int
    def take_over(self) -> None: ...
    def learn(self, flows: FlowBatch, now: int) -> None: ...
