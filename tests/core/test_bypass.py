# SPDX-License-Identifier: GPL-2.0-or-later
"""Events that become messages without an internal cache in between."""

from __future__ import annotations

from dataclasses import replace

from pyconntrack.core.bypass import Bypass
from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.filter import EventFilter
from tests.core.support_flows import ASSURED, CONFIRMED, SEEN_REPLY, TCP, UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import destroy, dumped, event
from tests.core.support_wire import DESTROY, NEW, UPDATE, read_table

LABELS = bytes([1]) + bytes(15)


def flow(port: int, **more: object) -> KernelFlow:
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (port, 53))
    return replace(KernelFlow(original, port, labels=LABELS), **more)  # type: ignore[arg-type]


def sent(bypass: Bypass, peer: ExternalCache | None = None) -> list[int]:
    """Send what waits: the types of the messages. The peer takes them."""
    out = Datagrams(1400)
    bypass.queue.fill(out, 0, 0)
    datagrams = [bytes(out[index]) for index in range(len(out))]
    kinds = []
    for datagram in datagrams:
        if peer is not None:
            peer.apply_run(datagram, 0, int.from_bytes(datagram[4:8], "big"), True, 0, 0)
        while datagram:
            kinds.append(datagram[0] & 15)
            datagram = datagram[int.from_bytes(datagram[2:4], "big") :]
    assert len(bypass.table) == 0
    return kinds


def test_an_event_is_a_message_and_nothing_is_remembered() -> None:
    bypass = Bypass()
    one = flow(1)
    for told, kind in (
        (event(one, True, ("labels",)), NEW),
        (event(one, False, ()), UPDATE),
        (destroy(one), DESTROY),
        (event(flow(2), False, ()), UPDATE),
        (destroy(flow(3)), DESTROY),
    ):
        bypass.follow(told, 0)
        assert sent(bypass) == [kind]
    assert (bypass.begun, bypass.changed, bypass.ended_flows, len(bypass)) == (1, 2, 2, 0)


def test_a_peer_that_lays_updates_over_what_it_knows_has_all_of_a_flow() -> None:
    bypass, peer = Bypass(), ExternalCache()
    peer.completes = True
    bypass.follow(event(flow(1), True, ("labels",)), 0)
    sent(bypass, peer)
    bypass.follow(event(flow(1, status=CONFIRMED | SEEN_REPLY | ASSURED), False, ()), 0)
    sent(bypass, peer)
    known = read_table(peer.table).unpack(0)
    assert (known["labels"], known["status"]) == (LABELS, CONFIRMED | SEEN_REPLY | ASSURED)
    bypass.follow(destroy(flow(1)), 0)
    sent(bypass, peer)
    assert len(peer) == 0


def test_events_of_a_flow_that_waits_become_one_message() -> None:
    bypass, peer = Bypass(), ExternalCache()
    bypass.follow(event(flow(1), True, ("labels",)) + event(flow(1, status=14), False, ()), 0)
    bypass.follow(event(flow(2), False, ("labels",)) + event(flow(2, status=14), False, ()), 0)
    bypass.follow(event(flow(3), False, ()) + destroy(flow(3)), 0)
    bypass.follow(event(flow(4), True, ()) + destroy(flow(4)), 0)
    bypass.follow(destroy(flow(5)) + event(flow(5, id=6), True, ()), 0)
    assert sent(bypass, peer) == [NEW, UPDATE, DESTROY, NEW]
    flows = read_table(peer.table)
    assert [flows.unpack(index).get("labels") for index in range(2)] == [LABELS, LABELS]


def test_all_that_a_dump_names_is_told_as_updates() -> None:
    bypass, peer = Bypass(), ExternalCache()
    for _ in range(2):
        bypass.begin_resync()
        bypass.follow(destroy(flow(9)), 0)
        bypass.follow(event(flow(2, status=14), False, ()), 0)
        bypass.merge_dump(b"".join(dumped(flow(port), 20) for port in (1, 2, 3, 9)), 0)
        assert bypass.end_resync() == 0
        assert sorted(sent(bypass, peer)) == [UPDATE, UPDATE, UPDATE, DESTROY]
        flows = read_table(peer.table)
        assert sorted(flows.unpack(index)["status"] for index in range(3)) == [8, 8, 14]
        assert all(flows.unpack(index)["labels"] == LABELS for index in range(3))


def test_the_filter_decides_but_not_by_the_state_of_what_ends() -> None:
    accepted = EventFilter(protocols=[TCP], accept_protocols=True, states={TCP: [3]}, accept_states=True)
    bypass = Bypass(filter=accepted)
    original = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), TCP, (1, 80))
    established = KernelFlow(original, 1, tcp=(3, 0, 0))
    bypass.follow(event(established, True, ("protocol",)), 0)
    bypass.follow(event(flow(1), True, ()) + destroy(flow(1)), 0)
    assert sent(bypass) == [NEW]
    bypass.follow(event(replace(established, tcp=(8, 0, 0)), False, ("protocol",)), 0)
    assert sent(bypass) == []
    bypass.follow(destroy(replace(established, tcp=(8, 0, 0))), 0)
    assert sent(bypass) == [DESTROY]
    assert bypass.filtered == 3
