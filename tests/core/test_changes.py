# SPDX-License-Identifier: GPL-2.0-or-later
"""Updates of flows that exist: what is sent for which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.changes import FlowChange, set_aside

Values = dict[str, Any]

ORIGINAL = (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", 10, 20, 0, 0, 0)
FOUND: Values = {
    "original": ORIGINAL,
    "reply": (2, 6, b"\x0a\0\0\2", b"\x0a\0\0\1", 20, 10, 0, 0, 0),
    "status": 0x0E,
    "timeout": 100,
    "mark": 0b0110,
    "id": 77,
    "use": 1,
    "zone": 3,
    "tcp_state": 3,
    "tcp_flags_original": (0x23, 0),
    "counters_original": (5, 500),
}


def prepared(change: FlowChange, *flows: Values) -> tuple[FlowBatch, FlowBatch]:
    found, requests = FlowBatch(), FlowBatch()
    for flow in flows:
        found.pack(flow)
    change.prepare(found, requests)
    return found, requests


def request(change: FlowChange, flow: Values) -> Values | None:
    """What is sent, besides the names of the flow; None where nothing is."""
    found, requests = prepared(change, flow)
    assert len(found) == len(requests)
    if not len(requests):
        return None
    sent = requests.unpack(0)
    assert sent.pop("event") == 0
    for name in ("original", "zone", "original_zone"):
        assert sent.pop(name, None) == flow.get(name)
    return sent


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({}, None),
        ({"mark": 5}, {"mark": 5}),
        ({"mark": 6}, None),
        ({"mark": 0b1001, "mark_mask": 0b0011}, {"mark": 0b1001, "mark_mask": 0b0011}),
        ({"mark": 0b0010, "mark_mask": 0b0011}, None),
        ({"mark": 0, "mark_mask": 0}, None),
        ({"status": 0x04}, None),
        ({"status": 0x400}, {"status": 0x40E}),
        ({"timeout": 100}, None),
        ({"timeout": 99}, {"timeout": 99}),
        # All that is to be set is sent where anything changes.
        ({"timeout": 100, "mark": 1}, {"timeout": 100, "mark": 1}),
        ({"status": 0x04, "mark": 1}, {"status": 0x0E, "mark": 1}),
        ({"tcp_state": 3, "tcp_flags_original": (0x0A, 0x0A)}, None),
        (
            {"tcp_state": 7, "tcp_flags_original": (0x0E, 0x0E)},
            {"tcp_state": 7, "tcp_flags_original": (0x0E, 0x0E)},
        ),
        ({"tcp_flags_original": (0x08, 0x08)}, {"tcp_flags_original": (0x08, 0x08)}),
        ({"sctp_state": 4}, {"sctp_state": 4}),
        ({"helper_name": "ftp"}, {"helper_name": "ftp"}),
        # What names or selects a flow is no change.
        ({"id": 5, "zone": 9, "source_nat_address": b"\1\1\1\1", "reply": ORIGINAL}, None),
    ],
)
def test_what_is_sent(values: Values, sent: Values | None) -> None:
    assert request(FlowChange(values), FOUND) == sent


def test_a_flow_in_the_zone_of_one_direction_is_named_by_it() -> None:
    flow = {name: value for name, value in FOUND.items() if name != "zone"} | {"original_zone": 7}
    assert request(FlowChange({"mark": 1}), flow) == {"mark": 1}


ONE, TWO = b"\2" + bytes(15), b"\4" + bytes(15)


@pytest.mark.parametrize("labels", [None, bytes(16), ONE, b"\xff" * 16])
def test_labels_that_are_added_are_sent_always(labels: bytes | None) -> None:
    flow = FOUND if labels is None else FOUND | {"labels": labels}
    sent = {"labels": TWO, "labels_mask": TWO}
    assert request(FlowChange({"labels": TWO[:4]}), flow) == sent


def test_labels_are_deleted_where_there_are_any() -> None:
    some = FlowChange(delete_labels=ONE[:1])
    everything = FlowChange(delete_labels=True)
    assert request(some, FOUND) is None
    assert request(everything, FOUND) is None
    flow = FOUND | {"labels": ONE}
    assert request(some, flow) == {"labels": bytes(16), "labels_mask": ONE}
    assert request(everything, flow) == {"labels": bytes(16), "labels_mask": b"\xff" * 16}
    both = FlowChange({"labels": TWO}, delete_labels=True)
    assert request(both, flow) == {"labels": TWO, "labels_mask": b"\xff" * 16}


def test_a_template_is_one_flow() -> None:
    template = FlowBatch()
    with pytest.raises(ValueError, match="one flow"):
        FlowChange.of_template(template)
    template.pack({"original": ORIGINAL, "mark": 9, "labels": ONE})
    assert request(FlowChange.of_template(template), FOUND) == {"mark": 9}
    assert request(FlowChange.of_template(template, TWO), FOUND) == {
        "mark": 9,
        "labels": TWO,
        "labels_mask": TWO,
    }
    assert request(FlowChange.of_template(template, b"", True), FOUND) == {"mark": 9}
    with pytest.raises(ValueError, match="16 bytes"):
        FlowChange.of_template(template, b"", bytes(17))


@given(st.lists(st.integers(0, 3), max_size=200), st.integers(0, 3))
def test_requests_stand_where_their_flows_do(marks: list[int], mark: int) -> None:
    flows = [FOUND | {"mark": old, "use": number} for number, old in enumerate(marks)]
    found, requests = prepared(FlowChange({"mark": mark}), *flows)
    changed = [number for number, old in enumerate(marks) if old != mark]
    assert [found.unpack(index)["use"] for index in range(len(found))] == changed
    assert [requests.unpack(index)["mark"] for index in range(len(requests))] == [mark] * len(changed)


def test_one_batch_cannot_be_both() -> None:
    batch = FlowBatch()
    with pytest.raises(ValueError, match="two batches"):
        FlowChange().prepare(batch, batch)
    other = FlowBatch()
    batch.pack({"mark": 1})
    with memoryview(other), pytest.raises(BufferError):
        FlowChange().prepare(batch, other)


@given(st.integers(0, 50), st.sets(st.integers(0, 49)))
def test_what_is_set_aside(length: int, positions: set[int]) -> None:
    batch, aside = FlowBatch(), FlowBatch()
    for number in range(length):
        batch.pack({"mark": number})
    aside.pack({"mark": 99})
    taken = sorted(position for position in positions if position < length)
    set_aside(batch, taken, aside)
    left = [number for number in range(length) if number not in positions]
    assert [batch.unpack(index)["mark"] for index in range(len(batch))] == left
    assert [aside.unpack(index)["mark"] for index in range(len(aside))] == [99, *taken]
    with pytest.raises(IndexError):
        set_aside(batch, [len(batch)], aside)
