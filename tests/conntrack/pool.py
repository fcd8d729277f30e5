# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the cases of a test session ahead of the tests, some at a time; or each when it is asked for."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from testbed import Testbed
from tests.conntrack.cases import Case
from tests.conntrack.harness import Comparison
from tests.conntrack.tools import OURS, C

WORKERS = min(4, os.cpu_count() or 1)


class Pool:
    """Comparisons of the C tool with ours, several at once, each in a namespace of its own."""

    def __init__(self, bed: Testbed, cases: Iterable[Case]) -> None:
        """Begins with `cases`, in this order, before anybody asks about them."""
        begun = list(cases)
        workers = WORKERS if begun else 1
        self._free: queue.SimpleQueue[Comparison] = queue.SimpleQueue()
        self._comparisons = [Comparison(bed, C, OURS, f"worker-{number}") for number in range(workers)]
        for comparison in self._comparisons:
            self._free.put(comparison)
        self._executor = ThreadPoolExecutor(workers)
        self._begun: dict[Case, Future[list[str]]] = {}
        for case in begun:
            if case not in self._begun:
                self._begun[case] = self._executor.submit(self._differences, case)

    def differences(self, case: Case) -> list[str]:
        """See :meth:`Comparison.differences`."""
        begun = self._begun.get(case)
        return self._differences(case) if begun is None else begun.result()

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        for comparison in self._comparisons:
            comparison.close()

    def _differences(self, case: Case) -> list[str]:
        comparison = self._free.get()
        try:
            return comparison.differences(case)
        finally:
            self._free.put(comparison)
