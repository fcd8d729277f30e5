# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.table import FlowTable

def list_text(
    table: FlowTable, cursor: int, xml: bool, now: int, limit: int = 256, slots: int = 200_000
) -> tuple[bytes, int]: ...
def list_expectations(table: FlowTable, batch: ExpectationBatch) -> None: ...
