# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that go straight into a kernel, and what its events then say about whose flows they are."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pyconntrack import ConntrackTable, Flow, Tuple
from pyconntrack.core.injector import Injector
from pyconntrack.core.netlink_receiver import NetlinkReceiver
from pyconntrack.core.standby_cache import StandbyCache
from pyconntrack.kernel.dump import Dump
from pyconntrack.kernel.socket import GROUP_DESTROY, GROUP_NEW, GROUP_UPDATE, ConntrackSocket
from testbed import Testbed, wait_until
from tests.core.support_flows import ASSURED, CONFIRMED, EXPECTED, SEEN_REPLY, TCP, UDP, FlowTuple, KernelFlow
from tests.core.support_wire import DESTROY, NEW, UPDATE, flow_body, message, read_table

LOCAL = bytes([127, 0, 0, 1])
ESTABLISHED, FIN_WAIT = 3, 4
# Packets are tracked only where something asks for it.
TRACKED = "table inet t { chain c { type filter hook input priority 0; ct state invalid drop; };}"
LONG_AGO, NOW = 100, 1000


class Standby:
    """A kernel, into which messages go, and the internal cache that follows it."""

    def __init__(self) -> None:
        self.events = ConntrackSocket(GROUP_NEW | GROUP_UPDATE | GROUP_DESTROY, receive_buffer=2**20)
        self.requests = ConntrackSocket()
        self.table = ConntrackTable()
        self.receiver = NetlinkReceiver(self.events.fileno())
        self.cache = StandbyCache()
        self.cache.port = self.requests.port
        self.injector = Injector()
        self.injector.open(self.cache, self.requests.fileno())
        self.resync()

    def close(self) -> None:
        for each in (self.events, self.requests, self.table):
            each.close()

    def take(self, *messages: tuple[int, KernelFlow], timeout: int | None = 600, now: int = NOW) -> None:
        """Messages of a peer, in one datagram."""
        datagram = b"".join(
            message(kind, 0, number, flow_body(flow, timeout)) for number, (kind, flow) in enumerate(messages)
        )
        assert self.injector.apply_run(datagram, 0, 0, True, 0, now) == len(datagram)

    def follow(self, now: int = NOW) -> None:
        self.cache.receive_events(self.receiver, 10_000, now)

    def lose_events(self) -> None:
        while True:
            try:
                self.events.socket.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return

    def resync(self, now: int = NOW) -> None:
        self.cache.begin_resync()
        with ConntrackSocket() as dump:
            for batch in Dump(dump):
                self.cache.merge_batch(batch, now)
        self.cache.end_resync()

    def flows(self) -> dict[int, Flow]:
        """The kernel's flows by source port."""
        return {flow.original.source_port: flow for flow in self.table.dump() if flow.original is not None}

    @property
    def ports(self) -> set[int]:
        """The source ports of all flows in the kernel."""
        return set(self.flows())

    def translation(self, port: int) -> str:
        """To which address the kernel's flow is translated."""
        reply = self.flows()[port].reply
        return str(reply.destination) if reply is not None else ""

    def state(self, port: int) -> int:
        tcp = self.flows()[port].tcp
        return int(tcp.state or 0) if tcp is not None else 0

    @property
    def own(self) -> set[int]:
        """The source ports of the flows that are this node's."""
        flows = read_table(self.cache.table)
        return {flows.unpack(index)["original"][4] for index in range(len(flows))}

    @property
    def counts(self) -> tuple[int, int, int]:
        counters = self.injector.counters
        return counters.created, counters.updated, counters.destroyed


@pytest.fixture
def standby(bed: Testbed) -> Iterator[Standby]:
    namespace = bed.namespace("standby")
    namespace.nft(TRACKED)
    with namespace.entered():
        node = Standby()
        yield node
        node.close()


def udp(port: int, **more: object) -> KernelFlow:
    original = FlowTuple(LOCAL, LOCAL, UDP, (port, 53))
    return replace(KernelFlow(original, 0), **more)  # type: ignore[arg-type]


def tcp(port: int, state: int = ESTABLISHED, **more: object) -> KernelFlow:
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), TCP, (port, 80))
    flow = KernelFlow(original, 0, status=CONFIRMED | SEEN_REPLY | ASSURED, tcp=(state, 0, 0))
    return replace(flow, **more)  # type: ignore[arg-type]


def translated(port: int, last: int, mark: int = 0) -> KernelFlow:
    status = CONFIRMED | SEEN_REPLY | ASSURED | 1 << 4 | 1 << 7 | 1 << 8
    return tcp(port, status=status, nat_source=bytes([192, 0, 2, last]), mark=mark)


def packet(source_port: int, destination_port: int) -> None:
    """A datagram on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", source_port))
        sender.sendto(b"x", ("127.0.0.1", destination_port))


def test_a_flow_comes_changes_and_goes_without_being_this_nodes(standby: Standby) -> None:
    standby.take((NEW, tcp(1)), (NEW, tcp(2)))
    assert standby.ports == {1, 2}
    standby.take((UPDATE, tcp(1, FIN_WAIT, mark=7)))
    changed = standby.flows()[1]
    assert (changed.mark, standby.state(1)) == (7, FIN_WAIT)
    standby.take((DESTROY, tcp(2)))
    assert standby.ports == {1}
    assert standby.counts == (2, 1, 1)
    standby.follow()
    assert (standby.own, standby.cache.lent_count) == (set(), 1)
    assert standby.cache.queue.waiting == 0


def test_an_update_of_the_unknown_makes_the_flow(standby: Standby) -> None:
    standby.take((UPDATE, tcp(1)), (UPDATE, translated(2, 9)), (DESTROY, tcp(3)))
    assert standby.ports == {1, 2}
    assert standby.counts == (2, 0, 0)
    assert standby.injector.counters.destroy_failed == 0


def test_messages_about_one_flow_in_a_datagram_are_taken_in_their_order(standby: Standby) -> None:
    standby.take((NEW, translated(1, 9)))
    standby.take((NEW, translated(1, 8)), (DESTROY, translated(1, 8)), (NEW, tcp(2)), (DESTROY, tcp(2)))
    assert not standby.flows()
    standby.take(*[(kind, translated(port, 9)) for port in range(1, 60) for kind in (NEW, DESTROY, NEW)])
    assert standby.ports == set(range(1, 60))


@pytest.mark.parametrize("kind", [NEW, UPDATE])
def test_a_translation_is_kept_where_it_is_told_and_renewed_where_it_is_another(
    standby: Standby, kind: int
) -> None:
    standby.take((NEW, translated(1, 9)))
    first = standby.flows()[1]
    standby.take((kind, translated(1, 9, mark=5)))
    same = standby.flows()[1]
    assert (same.id, same.mark, same.reply) == (first.id, 5, first.reply)
    standby.take((kind, translated(1, 10)))
    assert standby.translation(1) == "192.0.2.10"
    standby.take((kind, tcp(1)))
    assert standby.translation(1) == "10.0.0.1"
    standby.follow()
    assert (standby.own, standby.cache.lent_count) == (set(), 1)


def test_a_new_flow_takes_the_place_of_one_that_has_gone_further(standby: Standby) -> None:
    standby.take((NEW, tcp(1)))
    standby.take((UPDATE, tcp(1, 1, status=CONFIRMED)))
    assert standby.state(1) == 1
    assert not int(standby.flows()[1].status or 0) & ASSURED


def test_a_flow_waits_for_its_master(standby: Standby) -> None:
    master = tcp(21)
    child = replace(tcp(20), status=CONFIRMED | EXPECTED, master=master.original)
    standby.take((NEW, child))
    assert (standby.injector.waits, standby.ports) == (1, set())
    standby.injector.retry(NOW + 1)
    assert standby.injector.waits == 1
    standby.take((NEW, master))
    standby.injector.retry(NOW + 2)
    assert (standby.injector.waits, standby.ports) == (0, {20, 21})
    assert standby.flows()[20].master is not None
    standby.take((UPDATE, replace(child, mark=3)))
    assert standby.flows()[20].mark == 3
    assert standby.counts == (2, 1, 0)


def test_a_flow_does_not_wait_for_ever(standby: Standby) -> None:
    child = replace(tcp(20), status=CONFIRMED | EXPECTED, master=tcp(21).original)
    standby.take((NEW, child), (NEW, replace(child, original=tcp(22).original)))
    assert standby.injector.waits == 2
    standby.take((DESTROY, child))
    assert standby.injector.waits == 1
    standby.injector.retry(NOW + 31)
    assert standby.injector.waits == 0
    assert standby.injector.failures == {errno.ENOENT: 1}


def test_a_packet_makes_a_flow_this_nodes_with_all_that_is_known_of_it(standby: Standby) -> None:
    standby.take((NEW, udp(1000, mark=7)), (NEW, udp(1001)))
    packet(53, 1000)
    standby.follow()
    assert standby.own == {1000}
    assert len(standby.cache.incomplete) == 1
    standby.cache.learn(standby.table.dump_batch(), NOW)
    assert len(standby.cache.incomplete) == 0
    known = read_table(standby.cache.table).unpack(0)
    assert known["mark"] == 7 and known["status"] & SEEN_REPLY
    assert (standby.cache.lent_count, standby.cache.queue.waiting) == (1, 1)


def test_a_message_does_not_set_back_what_is_used_here(standby: Standby) -> None:
    standby.take((NEW, udp(1000)))
    packet(53, 1000)
    standby.follow()
    standby.take((UPDATE, udp(1000, mark=3)), timeout=5, now=NOW + 1)
    flow = standby.flows()[1000]
    assert flow.mark == 3 and int(flow.status or 0) & SEEN_REPLY and (flow.timeout or 0) > 5
    standby.follow()
    assert standby.own == {1000}


def test_the_end_of_a_flow_that_is_used_here_does_not_end_it(standby: Standby) -> None:
    standby.take((NEW, udp(1000)))
    packet(53, 1000)
    standby.follow()
    standby.take((DESTROY, udp(1000)), now=NOW + 1)
    assert standby.ports == {1000}
    standby.follow()
    assert standby.own == {1000}


def test_a_flow_of_which_both_had_news_may_be_ended_by_either(standby: Standby) -> None:
    standby.take((NEW, udp(1000)), (NEW, udp(1001)))
    packet(53, 1000)
    packet(53, 1001)
    standby.follow()
    standby.take((UPDATE, udp(1000, mark=3)), (UPDATE, udp(1001, mark=3)), now=NOW + 1)
    packet(1001, 53)
    standby.follow()
    assert standby.own == {1000, 1001}
    standby.take((DESTROY, udp(1000)), (DESTROY, udp(1001)), now=NOW + 1)
    standby.follow()
    assert standby.own == standby.ports == {1001}


def test_a_flow_is_the_peers_again_where_only_the_peer_has_news_of_it(standby: Standby) -> None:
    standby.take((NEW, udp(1000)))
    packet(53, 1000)
    standby.follow(LONG_AGO)
    assert standby.own == {1000}
    standby.take((UPDATE, udp(1000, mark=3)))
    standby.follow()
    assert (standby.own, standby.cache.lent_count, standby.cache.queue.waiting) == (set(), 1, 0)
    standby.take((DESTROY, udp(1000)))
    assert not standby.flows()


def test_the_end_of_a_peers_flow_here_is_no_news(standby: Standby) -> None:
    standby.take((NEW, tcp(1)), timeout=1)
    wait_until(lambda: not standby.flows(), 20.0, "the flow to time out")
    standby.follow()
    assert (standby.cache.lent_count, standby.cache.queue.waiting, len(standby.cache.table)) == (0, 0, 0)


def test_who_changes_a_peers_flow_by_hand_does_not_make_it_this_nodes(standby: Standby) -> None:
    standby.take((NEW, tcp(1)))
    standby.table.update(Flow(original=Tuple("10.0.0.1", "10.0.0.2", 6, 1, 80), mark=3))
    standby.follow()
    assert (standby.own, standby.cache.lent_count) == (set(), 1)


def test_lost_events_leave_no_trace_behind_a_resync(standby: Standby) -> None:
    standby.take((NEW, tcp(1)), (NEW, tcp(2)))
    standby.follow()
    standby.take((NEW, tcp(3)), (DESTROY, tcp(1)))
    standby.table.create(Flow(original=Tuple("10.0.0.1", "10.0.0.2", 17, 4, 53), timeout=60))
    standby.lose_events()
    standby.resync()
    assert (standby.own, standby.cache.lent_count) == ({4}, 2)
    assert standby.cache.queue.waiting == 1


def test_without_events_the_kernel_is_asked(bed: Testbed) -> None:
    namespace = bed.namespace("eventless")
    with namespace.entered():
        namespace.sysctl("net.netfilter.nf_conntrack_events", 0)
        node = Standby()
        node.take((NEW, tcp(1)), (NEW, translated(2, 9)))
        node.resync()
        assert (node.own, node.cache.lent_count, node.counts) == (set(), 2, (2, 0, 0))
        node.close()


def test_a_resync_that_takes_over_makes_all_flows_this_nodes(standby: Standby) -> None:
    standby.take((NEW, tcp(1)), (NEW, translated(2, 9)))
    standby.follow()
    standby.cache.take_over()
    standby.resync()
    assert (standby.own, standby.cache.lent_count, standby.cache.queue.waiting) == ({1, 2}, 0, 2)
    standby.take((DESTROY, tcp(1)), (UPDATE, tcp(2)))
    standby.follow()
    assert (standby.own, standby.ports) == ({1, 2}, {1, 2})


def test_a_resync_under_way_does_not_take_over(standby: Standby) -> None:
    standby.take((NEW, tcp(1)))
    standby.follow()
    standby.cache.begin_resync()
    standby.cache.take_over()
    standby.cache.merge_batch(standby.table.dump_batch(), NOW)
    standby.cache.end_resync()
    assert (standby.own, standby.cache.lent_count) == (set(), 1)
    standby.cache.begin_resync()
    standby.cache.end_resync(False)
    standby.resync()
    assert (standby.own, standby.cache.lent_count) == ({1}, 0)
    standby.take((UPDATE, tcp(1)), now=NOW + 10)
    standby.resync(NOW + 10)
    assert (standby.own, standby.cache.lent_count) == (set(), 1)


def test_what_is_found_at_the_start_is_nobodys_until_there_is_news_of_it(bed: Testbed) -> None:
    namespace = bed.namespace("found")
    namespace.nft(TRACKED)
    with namespace.entered():
        # By itself the kernel makes no events of a flow that began when nobody listened.
        namespace.sysctl("net.netfilter.nf_conntrack_events", 1)
        with ConntrackTable() as table:
            for port in (1000, 1001, 1002):
                table.create(Flow(original=Tuple("127.0.0.1", "127.0.0.1", 17, port, 53), timeout=60))
        node = Standby()
        assert (node.own, node.cache.queue.waiting) == ({1000, 1001, 1002}, 0)
        packet(53, 1000)
        node.take((UPDATE, udp(1001)))

        def followed() -> bool:
            # The kernel handles the packet a little later where it is busy.
            node.follow()
            return node.cache.queue.waiting == 1

        wait_until(followed, 10.0, "the event of the packet")
        assert (node.own, node.cache.lent_count) == ({1000, 1002}, 1)
        node.take((DESTROY, udp(1000)), (DESTROY, udp(1001)), (DESTROY, udp(1002)))
        node.follow()
        assert (node.own, node.cache.lent_count, node.cache.queue.waiting) == ({1000}, 0, 1)
        assert node.ports == {1000}
        node.close()


def test_what_the_kernel_refuses_is_counted(standby: Standby) -> None:
    first, third = replace(tcp(1), helper="nosuch"), replace(tcp(3), helper="no")
    standby.take((NEW, first), (NEW, tcp(2)), (UPDATE, third))
    assert standby.ports == {2}
    counters = standby.injector.counters
    assert (counters.create_failed + counters.update_failed, counters.created) == (2, 1)
    assert sum(standby.injector.failures.values()) == 2


def test_what_the_kernel_does_not_answer_is_counted_too(standby: Standby) -> None:
    """With no room for the answers nobody knows what became of the requests, however often they are made."""
    standby.requests.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    standby.take(*((NEW, tcp(port)) for port in range(1, 17)))
    counters = standby.injector.counters
    assert counters.created + counters.updated + counters.create_failed + counters.update_failed == 16
    assert standby.injector.failures.keys() == {errno.ENOBUFS}


def test_malformed_messages_are_passed_over(standby: Standby) -> None:
    datagram = message(NEW, 0, 0, b"\0\5\0\0x") + message(NEW, 0, 1, flow_body(tcp(1), 60))
    datagram += message(NEW, 0, 2, struct.pack(">HH", 12, 0))
    assert standby.injector.apply_run(datagram, 0, 0, True, 0, NOW) == len(datagram)
    assert (standby.injector.malformed, standby.ports) == (2, {1})


def test_what_is_not_open_takes_nothing() -> None:
    injector = Injector()
    datagram = message(NEW, 0, 0, flow_body(tcp(1), 60))
    assert injector.apply_run(datagram, 0, 0, True, 0, NOW) == len(datagram)
    injector.retry(NOW)
    assert injector.failures == {}
