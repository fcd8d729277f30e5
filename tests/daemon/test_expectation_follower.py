# SPDX-License-Identifier: GPL-2.0-or-later
"""The way from the kernel's expectations to the cache, where the kernel cannot be read."""

from __future__ import annotations

import asyncio
import errno

import pytest

from pyconntrack.config import General
from pyconntrack.core.expectation_cache import InternalExpectations
from pyconntrack.core.internal import InternalCache
from pyconntrack.daemon import expectation_follower
from pyconntrack.daemon.expectation_follower import ExpectationFollower
from pyconntrack.kernel.errors import conntrack_error
from tests.daemon.test_follower import Silent


class Failing(ExpectationFollower):
    """Reads the kernel's expectations at the third attempt."""

    attempts = 0

    async def _read_all(self) -> int:
        self.attempts += 1
        if self.attempts < 3:
            raise conntrack_error(errno.EINTR)
        return 0


def test_what_could_not_be_read_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what was lost would stay unknown, for nobody asks again."""
    monkeypatch.setattr(expectation_follower, "_AFTER_FAILURE", 0.01)

    async def run() -> None:
        flows = InternalCache()
        cache = InternalExpectations(flows.table, flows.queue)
        follower = Failing(cache, flows, General(), Silent(), lambda: None)
        follower._resync_soon()
        while follower.attempts < 3:
            await asyncio.sleep(0.01)
        follower.stop()

    asyncio.run(asyncio.wait_for(run(), 10.0))
