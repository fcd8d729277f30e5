# SPDX-License-Identifier: GPL-2.0-or-later
"""Events, waited for and awaited, and what happens when there are too many."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from pyconntrack import ConntrackTable, Event, Flow, FlowBatch, MessagesLostError, Tuple
from pyconntrack.core.kernel_codec import receive_flows
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.core.requests import table_request
from pyconntrack.kernel.socket import GROUP_NEW, ConntrackSocket
from testbed.namespace import Namespace
from testbed.privilege import in_user_namespace

DEADLINE = 20.0
TCP = Tuple("10.0.0.1", "10.0.0.2", 6, 1000, 80)


def many(count: int) -> FlowBatch:
    batch = FlowBatch()
    for number in range(count):
        source = b"\x0a" + number.to_bytes(3, "big")
        batch.pack(
            {"original": (2, 17, source, b"\x0b\0\0\1", 1, 2, 0, 0, 0), "timeout": 600, "mark": number + 1}
        )
    return batch


def test_each_change_is_an_event(table: ConntrackTable) -> None:
    with table.events() as events:
        table.create(Flow(original=TCP, timeout=100, mark=1))
        table.update(Flow(original=TCP, mark=2))
        table.delete(TCP)
        seen = [next(events) for _ in range(3)]
    assert [flow.event for flow in seen] == [Event.NEW, Event.UPDATE, Event.DESTROY]
    assert [flow.original for flow in seen] == [TCP] * 3
    assert [flow.mark for flow in seen] == [1, 2, 2]
    assert len({flow.id for flow in seen}) == 1


def test_only_what_was_asked_for(table: ConntrackTable) -> None:
    with table.events(new=False, update=False) as events:
        table.create(Flow(original=TCP, timeout=100))
        table.delete(TCP)
        assert next(events).event == Event.DESTROY
        assert events.get(0.0) is None
    with pytest.raises(ValueError, match="no events"):
        table.events(new=False, update=False, destroy=False)


def test_many_events_in_a_row(table: ConntrackTable) -> None:
    with table.events(receive_buffer=16 << 20) as events:
        assert table.create_batch(many(5000)) == []
        assert [next(events).mark for _ in range(5000)] == list(range(1, 5001))
        assert table.delete_batch(many(5000)) == []
        batch = FlowBatch()
        while len(batch) < 5000:
            assert events.read(batch) or events.socket.wait(DEADLINE)
        assert sorted(batch.unpack(index)["mark"] for index in range(5000)) == list(range(1, 5001))
        assert events.malformed == 0


def test_awaited_events(table: ConntrackTable) -> None:
    async def follow() -> list[Event]:
        with table.events_async() as events:
            ticks = 0

            async def change() -> None:
                nonlocal ticks
                for _ in range(3):
                    # The loop runs on while nothing happens.
                    await asyncio.sleep(0)
                    ticks += 1
                table.create(Flow(original=TCP, timeout=100))
                await asyncio.sleep(0)
                table.delete(TCP)

            task = asyncio.create_task(change())
            seen = []
            async for event in events:
                seen.append(event.event)
                if len(seen) == 2:
                    break
            await task
            assert ticks == 3
            return seen

    assert asyncio.run(asyncio.wait_for(follow(), DEADLINE)) == [Event.NEW, Event.DESTROY]


def test_waiting_can_be_cancelled_and_taken_up_again(table: ConntrackTable) -> None:
    async def follow() -> Event:
        with table.events_async() as events:
            waiting = asyncio.create_task(events.__anext__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            table.create(Flow(original=TCP, timeout=100))
            return (await events.__anext__()).event

    assert asyncio.run(asyncio.wait_for(follow(), DEADLINE)) == Event.NEW


def test_an_overrun_is_told_once_and_survived(table: ConntrackTable) -> None:
    with table.events(receive_buffer=64 * 1024) as events:
        table.create_batch(many(5000))
        seen = lost = 0
        table_batch = many(1)
        while lost == 0:
            try:
                assert events.get(DEADLINE) is not None
                seen += 1
            except MessagesLostError as error:
                lost += 1
                assert "lost" in str(error)
        while events.get(0.0) is not None:
            seen += 1
        assert 0 < seen < 5000
        table.delete_batch(table_batch)
        event = events.get(DEADLINE)
        assert event is not None
        assert event.event == Event.DESTROY


def test_the_buffer_grows_up_to_its_limit(namespace: Namespace) -> None:
    with ConntrackSocket(GROUP_NEW, namespace=namespace.name, receive_buffer=100_000) as sock:
        assert sock.receive_buffer == 100_000
        assert sock.grow_receive_buffer(350_000)
        assert sock.grow_receive_buffer(350_000)
        assert sock.receive_buffer == 350_000
        assert not sock.grow_receive_buffer(350_000)
        # Beyond net.core.rmem_max, but for the root of a mere user namespace.
        limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
        wanted = limit * 4
        assert sock.set_receive_buffer(wanted) == (limit if in_user_namespace() else wanted)


def test_a_reliable_stream_raises_no_overrun(table: ConntrackTable) -> None:
    with table.events(receive_buffer=64 * 1024, reliable=True) as events:
        table.create_batch(many(2000))
        while events.get(0.0) is not None:
            pass


def test_a_datagram_of_another_process_is_dropped(table: ConntrackTable, namespace: Namespace) -> None:
    with ConntrackSocket(GROUP_NEW, namespace=namespace.name) as ours, namespace.entered():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as theirs:
            theirs.bind((0, 0))
            theirs.sendto(bytes(200), (ours.port, 0))
        receiver = NetlinkReceiver(ours.fileno())
        table.create(Flow(original=TCP, timeout=100))
        batch = FlowBatch()
        assert receive_flows(receiver, batch, 10, True) == (0, 0, 0)
        assert (len(batch), receiver.foreign) == (1, 1)


def test_a_datagram_longer_than_its_place_is_a_loss(namespace: Namespace) -> None:
    with ConntrackTable(namespace.name) as table:
        table.create_batch(many(200))
    with ConntrackSocket(namespace=namespace.name) as sock:
        receiver = NetlinkReceiver(sock.fileno(), 4, 1024)
        sock.socket.send(table_request(1, 0x300, 1))
        batch = FlowBatch()
        assert receive_flows(receiver, batch, 10, False)[1] == errno.ENOBUFS
        assert receiver.truncated > 0


def test_a_receiver_refuses_senseless_sizes() -> None:
    for messages, size in ((0, 8192), (2000, 8192), (4, 100)):
        with pytest.raises(ValueError, match="at least 1024"):
            NetlinkReceiver(0, messages, size)
