# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows that come and go leave nothing behind in the daemons' memory."""

from __future__ import annotations

from bench.memory_jobs import Churn, long_run
from bench.results import OURS
from bench.run import Run
from testbed import Testbed

TABLE = 2_048
TIMES = 50
PAGES_AT_A_TIME = 0.5
"""MB: an allocator takes some pages more now and then."""


def test_flows_that_went_leave_no_memory_behind(bed: Testbed) -> None:
    run = Run(bed, sizes=[], rates=[], rounds=1, seconds=0)
    figures = long_run(run, OURS, Churn(run.sites[0].namespace, TABLE), TIMES)
    # Eight bytes left by each of them would be seen.
    assert max(figures.values()) < PAGES_AT_A_TIME
