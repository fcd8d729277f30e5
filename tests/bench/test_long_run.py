# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows that come and go leave nothing behind in the daemons' memory."""

from __future__ import annotations

from bench.memory_jobs import Churn, long_run
from bench.results import OURS
from bench.run import Run
from testbed import Testbed

TABLE = 2_048
TIMES = 100
HALF_AN_ENTRY = 70
"""Bytes. The resend queue, of 131,072 entries at most, may become longer than it was before."""


def test_flows_that_went_leave_no_memory_behind(bed: Testbed) -> None:
    run = Run(bed, sizes=[], rates=[], rounds=1, seconds=0)
    figures = long_run(run, OURS, Churn(run.sites[0].namespace, TABLE), TIMES)
    flows = TABLE * TIMES
    assert figures["long run sender"] * 1e6 / flows < HALF_AN_ENTRY
    assert figures["long run receiver"] * 1e6 / flows < 8
