# SPDX-License-Identifier: GPL-2.0-or-later
from collections.abc import Mapping

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.table import FlowTable

def list_text(
    table: FlowTable,
    cursor: int,
    external: bool,
    xml: bool,
    now: int,
    limit: int = 4096,
    expires: int = 0,
    owners: Mapping[int, str] | None = None,
) -> tuple[bytes, int]: ...
def list_flows(table: FlowTable, batch: FlowBatch, cursor: int, limit: int = 4096) -> int: ...
