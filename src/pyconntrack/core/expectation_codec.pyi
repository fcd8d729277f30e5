# SPDX-License-Identifier: GPL-2.0-or-later
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.netlink_receiver import NetlinkReceiver

def decode(
    data: bytes | bytearray | memoryview, batch: ExpectationBatch
) -> tuple[int, int, int, int, int]: ...
def receive_expectations(
    receiver: NetlinkReceiver, batch: ExpectationBatch, limit: int, events: bool
) -> tuple[int, int, int]: ...
def encode(batch: ExpectationBatch, index: int, command: int, flags: int, sequence: int) -> bytes: ...
def table_request(
    command: int, flags: int, sequence: int, family: int = 0, of: ExpectationBatch | None = None
) -> bytes: ...
