# SPDX-License-Identifier: GPL-2.0-or-later
"""Many requests to a send, and which of them the kernel refused."""

from __future__ import annotations

import errno

import pytest

from pyconntrack import (
    ConntrackError,
    ConntrackTable,
    Flow,
    FlowExistsError,
    FlowNotFoundError,
    Status,
    TableFilter,
    Tuple,
    TupleFilter,
)
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import prepare_creates
from pyconntrack.core.requests import RequestBatch
from pyconntrack.kernel.socket import ConntrackSocket
from testbed.namespace import Namespace

NEW, DELETE = 0, 2
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
EXCLUSIVE = NLM_F_CREATE | NLM_F_EXCL


def batch_of(numbers: range, timeout: int = 600) -> FlowBatch:
    """TCP flows that differ by their source port."""
    batch = FlowBatch()
    for number in numbers:
        batch.pack(
            {
                "original": (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", number, 80, 0, 0, 0),
                "timeout": timeout,
                "tcp_state": 3,
            }
        )
    prepare_creates(batch)
    return batch


def test_errors_are_matched_by_position(table: ConntrackTable) -> None:
    assert table.create_batch(batch_of(range(1, 1001, 2))) == []
    # Each second one exists by now.
    refused = table.create_batch(batch_of(range(1, 1001)))
    assert refused == [(position, errno.EEXIST) for position in range(0, 1000, 2)]
    assert len(table) == 1000


def test_an_error_is_matched_across_datagrams_and_reuse(namespace: Namespace, table: ConntrackTable) -> None:
    table.create_batch(batch_of(range(1, 2)))
    requests = RequestBatch(1024, first_sequence=0xFFFFFFFE)
    with ConntrackSocket(namespace=namespace.name) as socket:
        flows = batch_of(range(1, 30))
        outcomes = []
        start = 0
        while start < len(flows):
            end = requests.add_flows(flows, start, NEW, EXCLUSIVE)
            assert start < end
            assert len(requests) == end - start
            requests.send(socket.fileno())
            outcomes.append(requests.collect(socket.fileno()))
            requests.clear()
            start = end
    assert len(outcomes) > 3
    assert outcomes == [[(0, errno.EEXIST)], *[[]] * (len(outcomes) - 1)]
    assert len(table) == 29


def test_lost_errors_are_reported_as_such(namespace: Namespace, table: ConntrackTable) -> None:
    flows = batch_of(range(1, 301))
    table.create_batch(flows)
    requests = RequestBatch(65536)
    assert requests.add_flows(flows, 0, NEW, EXCLUSIVE) == 300
    with ConntrackSocket(namespace=namespace.name) as socket:
        assert socket.set_receive_buffer(20000) < requests.receive_buffer
        requests.send(socket.fileno())
        outcome = requests.collect(socket.fileno())
        # What came back is a run from the first on; behind it, nothing is claimed.
        known = [number for _, number in outcome].count(errno.EEXIST)
        assert 0 < known < 300
        assert [position for position, _ in outcome] == list(range(300))
        assert [number for _, number in outcome] == [errno.EEXIST] * known + [errno.ENOBUFS] * (300 - known)
        # The next batch is sound again.
        requests.clear()
        requests.add_flows(batch_of(range(400, 410)), 0, NEW, EXCLUSIVE)
        requests.send(socket.fileno())
        assert requests.collect(socket.fileno()) == []


def test_a_full_batch_of_errors_fits_the_buffer_asked_for(
    namespace: Namespace, table: ConntrackTable
) -> None:
    requests = RequestBatch(65536)
    flows = FlowBatch()
    for number in range(2000):
        # The shortest request there is.
        flows.pack({"original": (2, 50, b"\x0a\0\0\1", number.to_bytes(4, "big"), 0, 0, 0, 0, 0)})
    with ConntrackSocket(namespace=namespace.name) as socket:
        socket.set_receive_buffer(requests.receive_buffer)
        end = requests.add_flows(flows, 0, DELETE, 0)
        assert end > 800
        requests.send(socket.fileno())
        assert requests.collect(socket.fileno()) == [(position, errno.ENOENT) for position in range(end)]


def test_an_empty_batch_is_no_request(namespace: Namespace) -> None:
    with ConntrackSocket(namespace=namespace.name) as socket:
        requests = RequestBatch()
        requests.send(socket.fileno())
        assert requests.collect(socket.fileno()) == []


def test_a_bad_descriptor_is_an_error() -> None:
    requests = RequestBatch()
    requests.add_flows(batch_of(range(1, 2)), 0, NEW, EXCLUSIVE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        requests.send(-1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        requests.collect(-1)
    with pytest.raises(IndexError):
        requests.add_flows(FlowBatch(), 1, NEW, 0)
    with pytest.raises(ValueError, match="room for one message"):
        RequestBatch(100)


TCP = Tuple("10.0.0.1", "10.0.0.2", 6, 1000, 80)


def test_create_update_delete(table: ConntrackTable) -> None:
    flow = Flow(original=TCP, timeout=100)
    table.create(flow)
    with pytest.raises(FlowExistsError, match="exists") as refused:
        table.create(flow)
    assert refused.value.errno == errno.EEXIST
    table.update(Flow(original=TCP, mark=0xF0, status=Status.ASSURED))
    table.update(Flow(original=TCP, mark=0x0F, mark_mask=0x0F, timeout=5000))
    found = table.get(TCP)
    # The mask says what is replaced; the rest stays.
    assert found.mark == 0xFF
    assert found.status == Status.CONFIRMED | Status.ASSURED
    assert found.timeout is not None
    assert found.timeout > 4000
    table.update(Flow(reply=TCP.inverse(), mark=3))
    assert table.get(Flow(reply=TCP.inverse())).mark == 3
    table.delete(TCP)
    for attempt in (table.delete, table.get):
        with pytest.raises(FlowNotFoundError, match="no such flow"):
            attempt(TCP)
    with pytest.raises(FlowNotFoundError):
        table.update(Flow(original=TCP, mark=3))


def test_an_id_must_be_the_same(table: ConntrackTable) -> None:
    table.create(Flow(original=TCP, timeout=100))
    found = table.get(TCP)
    assert found.id is not None
    with pytest.raises(FlowNotFoundError):
        table.delete(Flow(original=TCP, id=found.id ^ 1))
    table.delete(found)
    assert len(table) == 0


def test_a_flow_of_another_zone_is_another_flow(table: ConntrackTable) -> None:
    for zone in (None, 1, 2):
        table.create(Flow(original=TCP, timeout=100, zone=zone, mark=zone))
    assert [table.get(TCP, zone=zone).mark for zone in (None, 1, 2)] == [0, 1, 2]
    table.delete(TCP, zone=1)
    with pytest.raises(FlowNotFoundError):
        table.get(TCP, zone=1)
    assert len(table) == 2


def test_batches_of_changes(table: ConntrackTable) -> None:
    table.create_batch(batch_of(range(1, 501)))
    changes = FlowBatch()
    for number in range(1, 1001):
        changes.pack({"original": (2, 6, b"\x0a\0\0\1", b"\x0a\0\0\2", number, 80, 0, 0, 0), "mark": number})
    assert table.update_batch(changes) == [(position, errno.ENOENT) for position in range(500, 1000)]
    assert sorted(flow.mark or 0 for flow in table) == list(range(1, 501))
    assert table.delete_batch(table.dump_batch()) == []
    assert len(table) == 0


def test_flush_selects(table: ConntrackTable) -> None:
    def fill() -> None:
        table.flush()
        for mark in range(4):
            table.create(Flow(original=Tuple("10.0.0.1", "10.0.0.2", 17, mark, 1), timeout=100, mark=mark))
            table.create(
                Flow(original=Tuple("fd00::1", "fd00::2", 17, mark, 1), timeout=100, mark=mark, zone=mark)
            )

    fill()
    table.flush(TableFilter(family=10))
    assert [flow.original.family for flow in table if flow.original] == [2] * 4
    fill()
    table.flush(TableFilter(mark=2, mark_mask=2))
    assert sorted(flow.mark or 0 for flow in table) == [0, 0, 1, 1]
    fill()
    table.flush(TableFilter(original=TupleFilter(source="10.0.0.1")))
    assert [flow.original.family for flow in table if flow.original] == [10] * 4
    fill()
    table.create(Flow(original=Tuple("fd00::3", "fd00::2", 17, 1, 1), timeout=100))
    table.flush(TableFilter(reply=TupleFilter(destination="fd00::1")))
    assert [str(flow.original.source) for flow in table.dump(family=10) if flow.original] == ["fd00::3"]
    assert len(table) == 5
    table.flush()
    assert len(table) == 0


def test_what_the_kernel_refuses_is_an_error_with_its_number(table: ConntrackTable) -> None:
    with pytest.raises(ConntrackError) as refused:
        table.create(Flow(original=TCP))
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(ConntrackError) as refused:
        table.create(
            Flow(original=TCP, timeout=1, zone=5, reply=Tuple("10.0.0.2", "10.0.0.1", 6, 80, 1000, zone=5))
        )
    assert refused.value.errno == errno.EINVAL
    table.create(Flow(original=TCP, timeout=100, status=Status.CONFIRMED | Status.ASSURED))
    with pytest.raises(ConntrackError) as refused:
        table.update(Flow(original=TCP, status=Status.CONFIRMED))
    assert refused.value.errno == errno.EBUSY
