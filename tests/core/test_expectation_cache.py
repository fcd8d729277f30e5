# SPDX-License-Identifier: GPL-2.0-or-later
"""The caches of expectations: events and dumps in, messages out; messages in, entries kept per node."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_cache import ExternalExpectations, InternalExpectations
from pyconntrack.core.expectation_listing import list_expectations, list_text
from pyconntrack.core.expectation_wire import encode
from pyconntrack.core.internal import InternalCache
from pyconntrack.core.listing import list_flows
from pyconntrack.core.table import FlowTable
from tests.core.support_expectation_wire import DESTROY, NEW, UPDATE, Values, batch_of, ftp, ftp_body, tcp4
from tests.core.support_flows import UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import event
from tests.core.support_network import send_some

ENDED = 3  # EVENT_DESTROY
BEGUN = 1  # EVENT_NEW


class Own:
    """A node's expectations beside its internal cache."""

    def __init__(self, *, resend_limit: int = 100, limit: int = 0, helpers: Collection[str] = ()) -> None:
        self.cache = InternalCache(resend_limit=resend_limit)
        self.expectations = InternalExpectations(
            self.cache.table, self.cache.queue, limit=limit, helpers=helpers
        )
        self._sequence = 0

    def event(self, kind: int, *expectations: Values, now: int = 0) -> None:
        self.expectations.follow(batch_of(*({**values, "event": kind} for values in expectations)), now)

    def dump(self, *expectations: Values, now: int = 0, complete: bool = True) -> int:
        self.expectations.begin_dump()
        self.expectations.merge(batch_of(*expectations), now)
        return self.expectations.end_dump(complete)

    def sent(self) -> list[tuple[int, bytes]]:
        """Type and body of what waits to be sent."""
        messages = send_some(self.cache.queue, self._sequence, 0)
        self._sequence += len(messages)
        return [(message.kind, message.body) for message in messages]

    def acknowledge(self) -> None:
        self.cache.queue.acknowledge(0, self._sequence)


def ports_of(table: FlowTable) -> list[int]:
    """The ports that are expected."""
    batch = ExpectationBatch()
    list_expectations(table, batch)
    return sorted(batch.unpack(index)["expected"][5] for index in range(len(batch)))


def test_begin_and_end_are_told() -> None:
    own = Own()
    own.event(BEGUN, ftp(1), ftp(2))
    assert own.sent() == [(NEW, ftp_body(1)), (NEW, ftp_body(2))]
    own.event(ENDED, ftp(1, timeout=200))
    assert own.sent() == [(DESTROY, ftp_body(1))]
    assert ports_of(own.cache.table) == [50002]
    assert len(own.expectations) == 1
    counters = own.expectations.counters
    assert (counters.created, counters.destroyed) == (2, 1)


def test_what_was_never_told_needs_no_end() -> None:
    own = Own()
    own.event(BEGUN, ftp(1))
    own.event(ENDED, ftp(1))
    assert own.sent() == []
    assert own.cache.table.expectations == 0


def test_an_end_goes_out_again_as_long_as_it_is_not_acknowledged() -> None:
    own = Own()
    own.event(BEGUN, ftp(1))
    own.sent()
    own.event(ENDED, ftp(1))
    assert own.sent() == [(DESTROY, ftp_body(1))]
    own.cache.queue.send_again(0, 10)
    assert own.sent() == [(DESTROY, ftp_body(1))]
    own.acknowledge()
    assert own.cache.table.expectations == 0


def test_what_is_expected_again_takes_the_place_of_its_end() -> None:
    own = Own()
    own.event(BEGUN, ftp(1))
    own.sent()
    own.event(ENDED, ftp(1))
    own.event(BEGUN, ftp(1, timeout=100))
    assert own.sent() == [(NEW, ftp_body(1, timeout=100))]
    assert (len(own.expectations), own.cache.table.expectations) == (1, 1)


def test_of_another_master_it_is_another_one() -> None:
    own = Own()
    other = ftp(1, master=tcp4("10.0.0.1", "10.0.0.2", 999, 21))
    own.event(BEGUN, ftp(1), other)
    assert own.sent() == [(NEW, encode(batch_of(other), 0))]
    own.event(ENDED, ftp(1))
    assert (own.sent(), len(own.expectations)) == ([], 1)
    assert own.expectations.counters.destroyed == 1


def test_only_helpers_that_are_named_in_whatever_case() -> None:
    own = Own(helpers=["ftp", "ras"])
    own.event(BEGUN, ftp(1, helper="sip"), ftp(2, helper="RAS"), ftp(3), ftp(4, helper="ftpx"))
    assert ports_of(own.cache.table) == [50002, 50003]
    assert own.expectations.filtered == 2


def test_a_full_cache_refuses_and_takes_again() -> None:
    own = Own(limit=2)
    own.event(BEGUN, ftp(1), ftp(2), ftp(3))
    assert own.expectations.counters.create_failed == 1
    own.event(ENDED, ftp(1))
    own.event(BEGUN, ftp(4))
    assert ports_of(own.cache.table) == [50002, 50004]


def test_what_lacks_a_tuple_is_counted() -> None:
    own = Own()
    for name in ("expected", "mask", "master"):
        values = ftp(1)
        del values[name]
        own.event(BEGUN, values)
    assert (own.expectations.malformed, len(own.expectations)) == (3, 0)


def test_a_dump_adds_and_removes() -> None:
    own = Own()
    own.event(BEGUN, ftp(1), ftp(2))
    own.sent()
    assert own.dump(ftp(2, timeout=290), ftp(3), now=10) == 1
    assert own.sent() == [(NEW, ftp_body(3)), (DESTROY, ftp_body(1))]
    assert own.dump(complete=False) == 0


def test_the_end_of_what_a_dump_told_is_told() -> None:
    """Another daemon on this node may have told the peers of it."""
    own = Own()
    own.dump(ftp(1))
    own.event(ENDED, ftp(1))
    assert own.sent() == [(DESTROY, ftp_body(1))]


def test_a_timeout_that_runs_on_is_no_change_but_one_that_begins_anew() -> None:
    own = Own()
    own.event(BEGUN, ftp(1), now=100)
    own.sent()
    own.dump(ftp(1, timeout=250), now=150)
    assert own.sent() == []
    own.dump(ftp(1, timeout=290), now=150)
    assert own.sent() == [(UPDATE, ftp_body(1, timeout=290))]
    assert own.expectations.counters.updated == 1


def test_only_a_dump_tells_what_is_overdue() -> None:
    own = Own()
    assert not own.expectations.overdue(10**6)
    own.event(BEGUN, ftp(1, timeout=10), ftp(2, timeout=100), now=1000)
    assert not own.expectations.overdue(1010)
    assert own.expectations.overdue(1013)
    own.event(ENDED, ftp(1), now=1013)
    assert not own.expectations.overdue(1013)
    own.dump(ftp(2, timeout=88), now=1013)
    assert not own.expectations.overdue(1102)
    assert own.expectations.overdue(1103)
    own.dump(ftp(2, timeout=90), now=1103)
    assert not own.expectations.overdue(1194)


def test_a_bulk_tells_flows_and_then_expectations() -> None:
    own = Own()
    own.event(BEGUN, ftp(1), ftp(2))
    own.sent()
    tuple_ = FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (1, 53))
    own.cache.follow(event(KernelFlow(tuple_, 1), True, ()), 0)
    own.event(ENDED, ftp(2))
    own.sent()
    own.acknowledge()
    own.cache.queue.push_all()
    assert [kind for kind, _ in own.sent()] == [1, UPDATE]


def test_a_new_one_stays_new_until_it_was_told() -> None:
    own = Own()
    own.event(BEGUN, ftp(1))
    own.cache.queue.push_all()
    assert own.sent() == [(NEW, ftp_body(1))]


def test_a_flush_takes_them_out_of_a_table_that_was_not_emptied() -> None:
    """Where there is no internal cache, nobody empties the table."""
    own = Own()
    own.event(BEGUN, ftp(1), ftp(2))
    own.sent()
    own.event(BEGUN, ftp(3))
    own.event(ENDED, ftp(2))
    assert own.expectations.flushed() == 2
    assert (len(own.expectations), own.cache.table.expectations, own.sent()) == (0, 0, [])
    own.event(ENDED, ftp(1))
    own.event(BEGUN, ftp(1))
    assert (len(own.expectations), own.sent()) == (1, [(NEW, ftp_body(1))])


def test_flows_and_expectations_are_counted_apart() -> None:
    own = Own()
    own.event(BEGUN, *(ftp(number) for number in range(500)))
    flow = KernelFlow(FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (1, 53)), 1)
    own.cache.follow(event(flow, True, ()), 0)
    assert (len(own.cache), len(own.cache.table), own.cache.table.expectations) == (1, 1, 500)
    own.cache.flush()
    assert own.expectations.flushed() == 500
    assert (len(own.expectations), own.cache.table.expectations) == (0, 0)
    own.event(BEGUN, ftp(1))
    assert own.sent() == [(NEW, ftp_body(1))]


def test_lines_are_those_of_the_c_daemon() -> None:
    own = Own()
    own.event(BEGUN, ftp(1), now=5)
    text, cursor = list_text(own.cache.table, 0, False, 9)
    assert text == (
        b"proto=6 src=10.0.0.1 dst=10.0.0.2 sport=0 dport=50001 mask-src=255.255.255.255 "
        b"mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.0.1 master-dst=10.0.0.2 sport=40001 "
        b"dport=21 class=0 helper=ftp [active since 4s]\n"
    )
    assert list_text(own.cache.table, cursor, False, 9) == (b"", cursor)
    xml, _ = list_text(own.cache.table, 0, True, 9)
    assert xml.startswith(b'<flow><layer3 protonum="2" protoname="ipv4"><expected><src>10.0.0.1</src>')
    assert xml.endswith(b"<meta><helper-name>ftp</helper-name><class>0</class></meta></flow>\n")


def test_a_long_list_comes_in_pieces() -> None:
    own = Own()
    own.event(BEGUN, *(ftp(number) for number in range(1000)))
    own.event(ENDED, ftp(7))
    text, cursor, pieces = b"", 0, 0
    while True:
        piece, cursor_after = list_text(own.cache.table, cursor, False, 0, 100, 130)
        text, pieces = text + piece, pieces + 1
        if cursor_after == cursor:
            break
        cursor = cursor_after
    assert (len(text.splitlines()), pieces) == (999, 11)


# Other nodes' expectations.


def test_each_message_tells_it_whole() -> None:
    others = ExternalExpectations()
    others.apply(NEW, ftp_body(1), 0, 10)
    others.apply(UPDATE, ftp_body(1, timeout=5), 0, 11)
    others.apply(UPDATE, ftp_body(2), 0, 12)
    assert ports_of(others.table) == [50001, 50002]
    assert (others.counters.created, others.counters.updated) == (2, 1)
    others.apply(DESTROY, ftp_body(1), 0, 13)
    others.apply(DESTROY, ftp_body(1), 0, 13)
    assert ports_of(others.table) == [50002]
    assert (others.counters.destroyed, others.counters.destroy_failed) == (1, 0)
    assert (others.flush(), len(others)) == (1, 0)


def test_malformed_messages_are_counted() -> None:
    others = ExternalExpectations()
    for body in (b"", b"\0", ftp_body(1)[:20], ftp_body(1) + b"\xff\xff\0\0"):
        others.apply(NEW, body, 0, 0)
    assert (others.malformed, len(others)) == (4, 0)
    with pytest.raises(ValueError):
        others.apply(NEW, ftp_body(1), 64, 0)


def test_the_end_of_what_another_node_has_taken_over_changes_nothing() -> None:
    others = ExternalExpectations()
    others.apply(NEW, ftp_body(1), 0, 0)
    others.apply(NEW, ftp_body(1), 1, 1)
    others.apply(DESTROY, ftp_body(1), 0, 2)
    assert ports_of(others.table) == [50001]
    others.apply(DESTROY, encode(batch_of(ftp(1, master=tcp4("10.0.0.9", "10.0.0.2", 1, 21))), 0), 1, 2)
    assert ports_of(others.table) == [50001]
    others.apply(DESTROY, ftp_body(1), 1, 2)
    assert len(others) == 0


def test_what_a_resync_does_not_name_is_left_over() -> None:
    others = ExternalExpectations()
    for number in (1, 2):
        others.apply(NEW, ftp_body(number), 0, 0)
    others.apply(NEW, ftp_body(3), 1, 0)
    others.begin_resync(0)
    others.apply(UPDATE, ftp_body(2), 0, 1)
    others.settled(0)
    assert ports_of(others.table) == [50002, 50003]


def test_what_ran_out_a_while_ago_goes() -> None:
    others = ExternalExpectations()
    others.apply(NEW, ftp_body(1, timeout=100), 0, 1000)
    others.apply(NEW, ftp_body(2, timeout=200), 0, 1000)
    others.apply(NEW, encode(batch_of(ftp(3, timeout=100, flags=1)), 0), 0, 1000)
    assert others.expire(1130) == 0
    assert others.expire(1131) == 1
    assert ports_of(others.table) == [50002, 50003]
    assert others.expire(1151, age=150) == 2


def test_a_hostile_node_fills_no_more_than_the_limit() -> None:
    others = ExternalExpectations(limit=100)
    for number in range(300):
        others.apply(NEW, ftp_body(number), 0, 0)
    assert (len(others), others.counters.create_failed) == (100, 200)


# What no event tells of the masters.


def test_translated_masters_are_to_be_asked_for() -> None:
    own = Own()
    nat = (1, tcp4("0.0.0.0", "0.0.0.0", 50001, 0))
    own.event(BEGUN, ftp(1, nat=nat), ftp(2), ftp(3, nat=nat, helper="sip"))
    own.event(ENDED, ftp(1, nat=nat))
    own.dump(ftp(4, nat=nat))
    masters = own.expectations.masters
    assert [masters.unpack(index)["original"][4] for index in range(len(masters))] == [40001, 40003]


def test_what_the_kernel_answers_for_a_flow_is_told() -> None:
    cache = InternalCache()
    flow = KernelFlow(FlowTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), UDP, (1, 53)), 1)
    cache.follow(event(flow, True, ()), 0)
    send_some(cache.queue, 0, 0)
    batch = FlowBatch()
    list_flows(cache.table, batch, 0)
    answer = batch.unpack(0)
    for id_, told in ((flow.id + 1, 0), (flow.id, 1), (flow.id, 0)):
        answers = FlowBatch()
        answers.pack({**answer, "id": id_, "sequence_adjust_reply": (5, 4, 8)})
        cache.learn(answers, 0)
        assert len(send_some(cache.queue, 1, 0)) == told


# Straight into the kernel.


def test_what_goes_straight_into_the_kernel_waits_for_it() -> None:
    others = ExternalExpectations()
    others.injects = True
    for number in (1, 2):
        others.apply(NEW, ftp_body(number), 0, 0)
    assert others.waiting == 2
    others.apply(DESTROY, ftp_body(1), 0, 0)
    # It never got there: nothing is to be deleted.
    assert (others.waiting, len(others.ended)) == (1, 0)
    assert (others.flush(), others.waiting) == (1, 0)


def test_what_is_lent_is_not_told_back() -> None:
    others = ExternalExpectations()
    others.injects = True
    others.apply(NEW, ftp_body(1), 0, 0)
    own = Own()
    own.expectations.lent = others
    own.event(BEGUN, ftp(1), ftp(2))
    own.dump(ftp(1), ftp(2))
    assert own.sent() == [(NEW, ftp_body(2))]
    own.event(BEGUN, ftp(1, master=tcp4("10.0.0.9", "10.0.0.2", 1, 21)))
    assert len(own.expectations) == 2
