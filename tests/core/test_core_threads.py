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


RECEIVING = """
import socket
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core import expectation_codec, expectation_text, kernel_codec
from pyconntrack.core.netlink_receiver import NetlinkReceiver

ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver = NetlinkReceiver(ours.fileno(), 8, 32768)


def received(datagram, receive, growing):
    for _ in range(20):
        for _ in range(4):
            kernel.send(datagram)
        receive(receiver, growing, 1 << 20, False)
        if len(growing) > 100000:
            growing.clear()
"""

RECEIVING_FLOWS = """
one = FlowBatch()
one.pack(FLOW)
batch.clear()
beside(grow)
message = kernel_codec.encode(one, 0, 0, 0, 1)
received(message * (32000 // len(message)), kernel_codec.receive_flows, batch)
ended.set()
"""

RECEIVING_EXPECTATIONS = """
TUPLE = (2, 17, b"1111", b"2222", 1, 2, 0, 0, 0)
expectations = ExpectationBatch()


def expect():
    for _ in range(1000):
        expectations.pack({"expected": TUPLE, "mask": TUPLE, "master": TUPLE, "timeout": 1})


expect()
message = expectation_codec.encode(expectations, 0, 0, 0, 1)
beside(expect)
received(message * (32000 // len(message)), expectation_codec.receive_expectations, expectations)
ended.set()
"""

FORMATTING_EXPECTATIONS = """
TUPLE = (2, 17, b"1111", b"2222", 1, 2, 0, 0, 0)
expectations = ExpectationBatch()


def expect():
    for _ in range(1000):
        expectations.pack({"expected": TUPLE, "mask": TUPLE, "master": TUPLE, "timeout": 1})


expect()
one = expectation_text.format_expectations(expectations, 0, 1)
beside(expect)
for _ in range(100):
    assert expectation_text.format_expectations(expectations, 0, 1000) == one * 1000
ended.set()
"""


@pytest.mark.parametrize("work", [RECEIVING_FLOWS, RECEIVING_EXPECTATIONS, FORMATTING_EXPECTATIONS])
def test_what_other_threads_add_while_the_core_receives_harms_nothing(work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BATCH + RECEIVING + work],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
