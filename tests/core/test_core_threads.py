# SPDX-License-Identifier: GPL-2.0-or-later
"""What other threads change while the core works without the GIL harms no memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

BATCH = """
import threading
from pyconntrack.core import output
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.changes import FlowChange
from pyconntrack.core.label_names import LabelNames
from pyconntrack.core.match import FlowMatch

FLOW = {"original": (2, 17, b"1111", b"2222", 1, 2, 0, 0, 0), "mark": 1, "labels": b"\\xff" * 16}
batch, ended = FlowBatch(), threading.Event()
for _ in range(20000):
    batch.pack(FLOW)


def beside(work):
    def endlessly():
        while not ended.is_set():
            try:
                work()
            except BufferError:
                pass

    threading.Thread(target=endlessly, daemon=True).start()


def grow():
    for _ in range(1000):
        batch.pack(FLOW)
"""

SELECTING = """
beside(grow)
match, requests = FlowMatch(values={"mark": 1}), FlowBatch()
for _ in range(150):
    match.select(batch)
    FlowChange({"mark": 2}).prepare(batch, requests)
ended.set()
"""

NAMING = """
for _ in range(40):
    names, go = LabelNames(), threading.Event()
    names.add(0, "a")
    adding = threading.Thread(
        target=lambda: go.wait() and [names.add(bit, f"{bit}" + "a" * 1000) for bit in range(1, 128)]
    )
    adding.start()
    go.set()
    output.format_batch(batch, 0, 10000, output.JSON, 0, names)
    adding.join()
"""


@pytest.mark.parametrize("work", [SELECTING, NAMING])
def test_what_other_threads_change_harms_nothing(work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BATCH + work], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
