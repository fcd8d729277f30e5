# SPDX-License-Identifier: GPL-2.0-or-later
"""A batch: one piece of memory, seen through the buffer protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyconntrack import ConntrackTable, Flow, FlowBatch, Tuple

VALUES: dict[str, Any] = {
    "original": (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", 1000, 80, 0, 0, 0),
    "reply": (10, 58, b"\x01" * 16, b"\x02" * 16, 0, 0, 3, 2, 1),
    "reply_zone": 77,
    "master": (2, 17, b"\x0c\0\0\1", b"\x0c\0\0\2", 5, 6, 0, 0, 0),
    "status": 0x01020304,
    "timeout": 11,
    "mark": 12,
    "mark_mask": 13,
    "secmark": 14,
    "security_context": "context",
    "id": 15,
    "use": 16,
    "zone": 17,
    "tcp_state": 18,
    "tcp_flags_original": (19, 20),
    "tcp_flags_reply": (21, 22),
    "tcp_window_scale_original": 23,
    "tcp_window_scale_reply": 24,
    "sctp_state": 25,
    "sctp_vtag_original": 26,
    "sctp_vtag_reply": 27,
    "dccp_state": 28,
    "dccp_role": 29,
    "dccp_handshake_sequence": 1 << 40,
    "counters_original": (30, 31),
    "counters_reply": (32, 33),
    "timestamp_start": 34,
    "timestamp_stop": 35,
    "timestamp_event": 36,
    "helper_name": "ftp",
    "helper_info": b"\x25" * 5,
    "source_nat_address": b"\x26" * 4,
    "source_nat_port": 39,
    "destination_nat_address": b"\x28" * 4,
    "destination_nat_port": 41,
    "sequence_adjust_original": (42, 43, 44),
    "sequence_adjust_reply": (45, 46, 47),
    "syn_proxy": (48, 49, 50),
    "labels": b"\x33" * 16,
    "labels_mask": b"\x34" * 16,
    "origin": 53,
    "event": 1,
}


def test_a_record_keeps_every_value() -> None:
    batch = FlowBatch()
    assert batch.pack(VALUES) == 0
    assert batch.unpack(0) == VALUES
    assert batch.unpack(-1) == VALUES
    with pytest.raises(IndexError):
        batch.unpack(1)


def test_numpy_sees_every_value_in_place() -> None:
    batch = FlowBatch()
    batch.pack({})
    batch.pack(VALUES)
    array = np.asarray(batch)
    flow = array[1]
    for name in (
        "status",
        "timeout",
        "mark",
        "secmark",
        "id",
        "use",
        "origin",
        "zone",
        "tcp_state",
        "dccp_role",
        "event",
    ):
        assert flow[name] == VALUES[name]
    for name in ("timestamp_start", "timestamp_event", "dccp_handshake_sequence", "source_nat_port"):
        assert flow[name] == VALUES[name]
    assert tuple(flow["sequence_adjust_reply"]) == (45, 46, 47)
    assert (flow["syn_proxy_isn"], flow["syn_proxy_its"], flow["syn_proxy_tsoff"]) == (48, 49, 50)
    assert (flow["packets_reply"], flow["bytes_reply"]) == (32, 33)
    assert (flow["helper_name"], flow["security_context"]) == (b"ftp", b"context")
    assert bytes(flow["labels"]) == b"\x33" * 16
    assert (flow["helper_info_length"], bytes(flow["helper_info"][:5])) == (5, b"\x25" * 5)
    assert bytes(flow["original"]["source"][:4]) == b"\x0a\0\0\1"
    assert (flow["reply"]["zone"], flow["reply"]["icmp_id"], flow["reply"]["family"]) == (77, 3, 10)
    assert flow["present"] == (1 << len(FlowBatch.fields())) - 1 - (1 << FlowBatch.fields()["original_zone"])
    assert array[0]["present"] == 0
    assert array.dtype.itemsize == memoryview(batch).itemsize


def test_numpy_copies_nothing_and_the_batch_stays(table: ConntrackTable) -> None:
    for port in range(1, 101):
        table.create(Flow(original=Tuple("10.0.0.1", "10.0.0.2", 6, port, 80), timeout=100, mark=port * 2))
    batch = table.dump_batch()
    first, second = np.asarray(batch), np.asarray(batch)
    assert np.shares_memory(first, second)
    assert not first.flags.owndata
    assert not first.flags.writeable
    assert first.shape == (100,)
    assert sorted(first["original"]["source_port"] * 2) == sorted(first["mark"])
    for refused in (batch.clear, lambda: batch.pack({}), lambda: batch.extend(FlowBatch())):
        with pytest.raises(BufferError):
            refused()
    del first
    with pytest.raises(BufferError):
        batch.clear()
    del second
    batch.clear()
    assert len(batch) == 0


def test_an_array_outlives_the_name_of_its_batch() -> None:
    batch = FlowBatch()
    batch.pack(VALUES)
    array = np.asarray(batch)
    del batch
    assert array[0]["mark"] == 12


def test_an_empty_batch_is_an_empty_array() -> None:
    assert np.asarray(FlowBatch()).shape == (0,)
    assert memoryview(FlowBatch()).readonly


def test_a_batch_grows_and_takes_another_in() -> None:
    batch, other = FlowBatch(), FlowBatch(1)
    for mark in range(1000):
        batch.pack({"mark": mark})
    other.extend(batch)
    other.extend(other)
    assert [other.unpack(index)["mark"] for index in range(2000)] == [*range(1000)] * 2
    with pytest.raises(ValueError, match="negative"):
        FlowBatch(-1)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"nonsense": 1}, ValueError),
        ({"mark": 1 << 32}, OverflowError),
        ({"zone": -1}, OverflowError),
        ({"mark": "5"}, TypeError),
        ({"helper_name": "x" * 16}, ValueError),
        ({"helper_name": "a\0b"}, ValueError),
        ({"helper_info": b"x" * 33}, ValueError),
        ({"labels": b"x" * 17}, ValueError),
        ({"source_nat_address": b"x" * 5}, ValueError),
        ({"original": (7, 6, b"", b"", 0, 0, 0, 0, 0)}, ValueError),
        ({"original": (2, 6, b"123", b"1234", 0, 0, 0, 0, 0)}, ValueError),
        ({"original": (2, 6)}, ValueError),
        ({"syn_proxy": (1, 2)}, ValueError),
    ],
)
def test_a_bad_value_is_refused_and_nothing_appended(values: dict[str, Any], error: type[Exception]) -> None:
    batch = FlowBatch()
    with pytest.raises(error):
        batch.pack(values)
    assert len(batch) == 0
