# SPDX-License-Identifier: GPL-2.0-or-later
"""The internal cache: events, and the resync, statement by statement."""

from __future__ import annotations

from random import Random

import pytest

from pyconntrack.core.filter import EventFilter
from pyconntrack.core.internal import InternalCache
from tests.core.support_flows import GROUPS, ICMPV6, TCP, UDP, FlowTuple, KernelFlow, random_flow
from tests.core.support_netlink import destroy, dumped, event, message
from tests.core.support_network import send_some
from tests.core.support_wire import DESTROY, NEW, UPDATE, cache_of, flow_body, read_table


def make_flow(number: int = 1, protocol: int = TCP) -> KernelFlow:
    flow = KernelFlow(FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), protocol, (1000, 80)), number)
    if protocol == TCP:
        flow.tcp = (3, 7, 7)
    return flow


def holds(cache: InternalCache, *bodies: bytes) -> bool:
    """Whether the cache holds these bodies and no others, and its digest says so too."""
    return cache_of(list(bodies)).settle(0, len(cache), cache.digest) and len(cache) == len(bodies)


def entry(cache: InternalCache) -> dict[str, object]:
    batch = read_table(cache.table)
    assert len(batch) == 1
    return batch.unpack(0)


def test_an_update_is_laid_over_what_is_known() -> None:
    cache, flow = InternalCache(), make_flow()
    flow.labels, flow.helper = b"\1" * 16, "ftp"
    cache.follow(event(flow, True, GROUPS), 0)
    flow.tcp, flow.timeout, flow.status = (5, 7, 7), 9, 14
    cache.follow(event(flow, False, ("protocol",)), 0)
    assert holds(cache, flow_body(flow, 9, mark_told=True))
    flow.adjust = (1, 2, 3, 4, 5, 6)
    cache.follow(event(flow, False, ("adjust",)), 0)
    assert holds(cache, flow_body(flow, 9, mark_told=True))


def test_every_attribute_is_followed() -> None:
    random = Random(1)
    for number in range(300):
        cache = InternalCache(window_scale=True)
        flow = random_flow(random, number, zone=random.choice((0, 3)))
        cache.follow(event(flow, True, GROUPS), 0)
        assert holds(cache, flow_body(flow, flow.timeout, True, True))
        cache.follow(destroy(flow), 0)
        assert holds(cache)


def test_a_repeated_event_is_no_change() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    send_some(cache.queue, 1)
    cache.follow(event(flow, False, ("protocol",)), 0)
    assert (cache.queue.waiting, cache.counters.updated) == (0, 0)


def test_another_id_says_that_the_old_flow_has_gone() -> None:
    cache, flow = InternalCache(), make_flow(1)
    flow.labels = b"\1" * 16
    cache.follow(event(flow, True, GROUPS), 0)
    new = make_flow(2)
    cache.follow(event(new, False, ()), 0)
    new.tcp = None
    assert holds(cache, flow_body(new, new.timeout))
    assert (cache.counters.created, cache.counters.destroyed) == (2, 1)


def test_a_new_event_leaves_nothing_of_a_flow_with_the_same_id() -> None:
    cache, flow = InternalCache(), make_flow(1)
    flow.labels = b"\1" * 16
    cache.follow(event(flow, True, GROUPS), 0)
    cache.follow(event(make_flow(1), True, ("protocol",)), 0)
    assert holds(cache, flow_body(make_flow(1), 30))


def test_a_late_destroy_is_about_the_flow_before() -> None:
    cache, old, new = InternalCache(), make_flow(1), make_flow(2)
    cache.follow(event(old, True, ()), 0)
    cache.follow(event(new, True, ("protocol",)), 0)
    cache.follow(destroy(old), 0)
    assert len(cache) == 1
    cache.follow(destroy(new), 0)
    cache.follow(destroy(new), 0)
    assert (len(cache), cache.digest) == (0, 0)


def test_a_filtered_flow_ends_the_one_before_it() -> None:
    only_established = EventFilter(states={TCP: [3]})
    cache = InternalCache(filter=only_established)
    old = make_flow(1)
    cache.follow(event(old, True, ("protocol",)), 0)
    assert len(cache) == 1
    new = make_flow(2)
    new.tcp = (1, 0, 0)
    cache.follow(event(new, True, ("protocol",)), 0)
    assert (len(cache), cache.filtered) == (0, 1)


def test_the_limit_counts_living_flows() -> None:
    cache = InternalCache(limit=2, resend_limit=100)
    flows = [make_flow(number, UDP) for number in range(4)]
    for number, flow in enumerate(flows):
        flow.original = FlowTuple(bytes(4), bytes(4), UDP, (number, 1))
    for flow in flows[:3]:
        cache.follow(event(flow, True, ()), 0)
    assert (len(cache), cache.counters.create_failed) == (2, 1)
    send_some(cache.queue, 1)
    cache.follow(destroy(flows[0]), 0)
    cache.follow(event(flows[3], True, ()), 0)
    assert (len(cache), cache.counters.create_failed) == (2, 1)
    cache.follow(event(flows[0], True, ()), 0)
    assert (len(cache), cache.counters.create_failed) == (2, 2)


@pytest.mark.parametrize("attribute", ["timeouts", "window_scale"])
def test_what_is_configured_away_is_not_sent(attribute: str) -> None:
    flow = make_flow()
    for wanted in (False, True):
        cache = InternalCache(timeouts=wanted, window_scale=wanted)
        cache.follow(event(flow, True, GROUPS), 0)
        assert holds(cache, flow_body(flow, 30 if wanted else None, True, wanted))


def test_a_translated_icmp_id_that_cannot_travel_is_left_out_at_once() -> None:
    """Else a peer would hold another body, and say for ever that something is missing."""
    cache = InternalCache()
    flow = make_flow(1, ICMPV6)
    flow.original = FlowTuple(bytes(15) + b"\1", bytes(15) + b"\2", ICMPV6, icmp=(128, 0, 5))
    flow.status, flow.nat_source, flow.nat_source_port = 0x18E | 16, bytes(15) + b"\3", 0x8100
    cache.follow(event(flow, True, ()), 0)
    assert holds(cache, flow_body(flow, 30))
    assert "source_nat_port" not in entry(cache)


def test_what_is_no_flow_is_passed_over_or_counted() -> None:
    cache, flow = InternalCache(), make_flow()
    done = message(3, 0, 0, b"")
    cache.follow(done + event(flow, True, ()) + done, 0)
    assert (len(cache), cache.malformed) == (1, 0)
    assert cache.follow(message(0x100, 0, 2, b""), 0) == 0
    assert cache.follow(event(flow, True, ())[:-1], 0) == 0
    assert cache.follow(b"", 0) == 0
    assert (len(cache), cache.malformed) == (1, 2)


# The resync.


def resynced(cache: InternalCache, *flows: KernelFlow) -> int:
    cache.begin_resync()
    cache.merge_dump(b"".join(dumped(flow, flow.timeout) for flow in flows), 0)
    return cache.end_resync()


def test_a_dump_is_merged_within_a_resync_only() -> None:
    cache = InternalCache()
    with pytest.raises(ValueError, match="begin_resync"):
        cache.merge_dump(dumped(make_flow(), 1), 0)
    cache.begin_resync()
    cache.merge_dump(b"", 0)
    cache.end_resync()
    with pytest.raises(ValueError, match="begin_resync"):
        cache.merge_dump(dumped(make_flow(), 1), 0)


def test_what_the_dump_does_not_name_is_gone_and_the_peers_are_told() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    send_some(cache.queue, 1)
    assert resynced(cache) == 1
    assert holds(cache)
    assert [sent.kind for sent in send_some(cache.queue, 2)] == [DESTROY]


def test_a_sweep_goes_in_steps() -> None:
    cache = InternalCache()
    for number in range(10):
        flow = make_flow(number, UDP)
        flow.original = FlowTuple(bytes(4), bytes(4), UDP, (number, 1))
        cache.follow(event(flow, True, ()), 0)
    cache.begin_resync()
    assert cache.sweep(4)
    assert len(cache) == 6
    assert cache.sweep(4)
    assert not cache.sweep(4)
    assert cache.end_resync() == 10
    assert not cache.sweep(4)


def test_a_dump_that_broke_off_removes_nothing() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    cache.begin_resync()
    assert cache.end_resync(complete=False) == 0
    assert holds(cache, flow_body(flow, 30))


def test_a_dump_fills_in_what_events_missed() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    send_some(cache.queue, 1)
    flow.mark, flow.tcp = 6, (4, 7, 7)
    resynced(cache, flow)
    assert holds(cache, flow_body(flow, 30))
    assert [sent.kind for sent in send_some(cache.queue, 2)] == [UPDATE]


def test_a_timeout_that_has_run_on_and_a_mark_of_zero_are_no_change() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    send_some(cache.queue, 1)
    cache.begin_resync()
    cache.merge_dump(dumped(flow, 3), 0)
    cache.end_resync()
    assert cache.queue.waiting == 0
    assert holds(cache, flow_body(flow, 30))


def test_events_take_precedence_over_the_dump() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, GROUPS), 0)
    cache.begin_resync()
    old = dumped(flow, 30)
    flow.tcp, flow.labels, flow.status = (7, 7, 7), b"\2" * 16, 14
    cache.follow(event(flow, False, ("protocol", "labels")), 0)
    cache.merge_dump(old, 0)
    cache.end_resync()
    assert holds(cache, flow_body(flow, 30, True))


def test_the_dump_completes_what_an_event_touched() -> None:
    """The event before the dump tells one thing; what else changed unseen is in the dump."""
    cache, flow = InternalCache(), make_flow()
    flow.labels = b"\1" * 16
    cache.follow(event(flow, True, GROUPS), 0)
    flow.labels, flow.mark, flow.adjust = b"\2" * 16, 4, (1, 2, 3, 4, 5, 6)
    cache.begin_resync()
    flow.tcp = (5, 7, 7)
    cache.follow(event(flow, False, ("protocol",)), 0)
    cache.merge_dump(dumped(flow, 30), 0)
    cache.end_resync()
    assert holds(cache, flow_body(flow, 30))


def test_an_emptied_attribute_is_not_brought_back() -> None:
    cache, flow = InternalCache(), make_flow()
    flow.labels, flow.mark = b"\1" * 16, 4
    cache.follow(event(flow, True, GROUPS), 0)
    cache.begin_resync()
    old = dumped(flow, 30)
    flow.labels, flow.mark = bytes(16), 0
    cache.follow(event(flow, False, ("labels", "mark")), 0)
    cache.merge_dump(old, 0)
    cache.end_resync()
    assert holds(cache, flow_body(flow, 30, True))


def test_a_flow_known_from_an_update_only_is_completed() -> None:
    cache, flow = InternalCache(), make_flow()
    flow.labels, flow.mark = b"\1" * 16, 3
    cache.follow(event(flow, False, ()), 0)
    assert "labels" not in entry(cache)
    resynced(cache, flow)
    assert holds(cache, flow_body(flow, 30))


def test_a_flow_whose_end_was_seen_is_not_brought_back() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ()), 0)
    cache.begin_resync()
    cache.follow(destroy(flow), 0)
    cache.merge_dump(dumped(flow, 30), 0)
    assert len(cache) == 0
    other = make_flow(2)
    cache.merge_dump(dumped(other, 30), 0)
    cache.end_resync()
    assert holds(cache, flow_body(other, 30, True))


def test_a_flow_that_an_event_replaced_is_not_brought_back() -> None:
    cache, old, new = InternalCache(), make_flow(1), make_flow(2)
    cache.follow(event(old, True, ("protocol",)), 0)
    cache.begin_resync()
    cache.follow(event(new, True, ("protocol",)), 0)
    cache.merge_dump(dumped(old, 30), 0)
    cache.end_resync()
    new.mark = 1
    cache.follow(event(new, False, ()), 0)
    assert holds(cache, flow_body(new, 30))
    assert cache.counters.destroyed == 1


def test_a_dump_replaces_a_flow_that_went_unseen() -> None:
    cache, old, new = InternalCache(), make_flow(1), make_flow(2)
    old.labels = b"\1" * 16
    cache.follow(event(old, True, GROUPS), 0)
    send_some(cache.queue, 1)
    assert resynced(cache, new) == 0
    assert holds(cache, flow_body(new, 30, True))
    assert [sent.kind for sent in send_some(cache.queue, 2)] == [NEW]


def test_an_offloaded_flow_keeps_the_state_that_the_dump_does_not_tell() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    state, flow.tcp = flow.tcp, None
    flow.status |= 1 << 14
    for touched in (False, True):
        cache.begin_resync()
        flow.mark += 1
        if touched:
            cache.follow(event(flow, False, ()), 0)
        cache.merge_dump(dumped(flow, 30), 0)
        cache.end_resync()
        flow.tcp = state
        assert holds(cache, flow_body(flow, 30))
        flow.tcp = None


def test_a_second_resync_forgets_the_first() -> None:
    cache, flow = InternalCache(), make_flow()
    cache.begin_resync()
    cache.follow(destroy(flow), 0)
    cache.begin_resync()
    cache.merge_dump(dumped(flow, 30), 0)
    cache.end_resync()
    assert len(cache) == 1


def test_what_the_filter_accepted_once_stays_in_a_resync() -> None:
    cache = InternalCache(filter=EventFilter(states={TCP: [3]}))
    flow = make_flow()
    cache.follow(event(flow, True, ("protocol",)), 0)
    flow.tcp = (4, 7, 7)
    assert resynced(cache, flow) == 0
    assert len(cache) == 1
    assert resynced(cache) == 1


def test_many_flows_end_during_a_resync() -> None:
    cache = InternalCache()
    flows = []
    for number in range(3000):
        flow = make_flow(number, UDP)
        flow.original = FlowTuple(bytes(4), bytes(4), UDP, (number, 1))
        flows.append(flow)
    cache.begin_resync()
    for flow in flows:
        cache.follow(event(flow, True, ()) + destroy(flow), 0)
    for flow in flows:
        cache.merge_dump(dumped(flow, 1), 0)
    cache.end_resync()
    assert len(cache) == 0
