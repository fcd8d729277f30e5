# SPDX-License-Identifier: GPL-2.0-or-later
"""What `conntrackd -i` shows where there is no internal cache: the kernel's table, as `conntrack -L` does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.output import PLAIN, XML, format_batch
from pyconntrack.kernel.dump import Dump
from pyconntrack.kernel.socket import ConntrackSocket

# Flows of a step, a few milliseconds.
_STEP_FLOWS = 1024


async def kernel_text(xml: bool) -> AsyncIterator[bytes]:
    """The text, in steps. Raises ConntrackError."""
    with ConntrackSocket() as socket:
        dump = Dump(socket)
        batch = FlowBatch(2 * _STEP_FLOWS)
        more = True
        while more:
            batch.clear()
            more = dump.read(batch, _STEP_FLOWS)
            if len(batch):
                yield format_batch(batch, 0, len(batch), XML if xml else PLAIN)
            await asyncio.sleep(0)
