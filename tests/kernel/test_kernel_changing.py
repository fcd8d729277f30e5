# SPDX-License-Identifier: GPL-2.0-or-later
"""What is selected, changed and deleted: beside the C tool, and what it cannot."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pyconntrack import (
    ConntrackError,
    ConntrackTable,
    Event,
    Flow,
    FlowBatch,
    MessagesLostError,
    Protocol,
    Status,
    TableFilter,
    Tuple,
    TupleFilter,
)
from pyconntrack.core.changes import FlowChange
from pyconntrack.kernel import changing
from pyconntrack.kernel import table as table_module
from pyconntrack.kernel.changing import count_done, delete_steps, update_steps
from pyconntrack.kernel.socket import ConntrackSocket
from testbed import Testbed
from testbed.namespace import Namespace
from testbed.waiting import wait_until
from tests.kernel.mixed_table import MADE

if TYPE_CHECKING:
    from pyconntrack.kernel.selection import Selection


@pytest.fixture
def pair(bed: Testbed) -> tuple[Namespace, Namespace]:
    """Two namespaces with equal tables."""
    lines = "".join(MADE.format(n=number).replace("-I", "-I -t 9000") for number in range(1, 4))
    both = (bed.namespace("theirs"), bed.namespace("ours"))
    for namespace in both:
        namespace.run(["conntrack", "-R", "-"], input=lines)
    return both


@pytest.fixture
def ours(pair: tuple[Namespace, Namespace]) -> Iterator[ConntrackTable]:
    with ConntrackTable(pair[1].name) as table:
        yield table


def listed(namespace: Namespace) -> list[str]:
    """The whole table, with times in hundreds of seconds."""
    output = namespace.run(["conntrack", "-L", "-o", "extended"]).stdout
    return sorted(
        re.sub(r"^(\S+ +\d+ \S+ +\d+ )(\d+) ", lambda found: f"{found[1]}{round(int(found[2]), -2)} ", line)
        for line in output.splitlines()
    )


def by_original(**fields: object) -> TableFilter:
    return TableFilter(original=TupleFilter(**fields))  # type: ignore[arg-type]


FLAGS = {"tcp_flags_original": (0x0E, 0x0E), "tcp_flags_reply": (0x0E, 0x0E)}
# Only flows outside of zones: the C tool does not find the others again.
UPDATES: list[tuple[str, Selection, FlowChange]] = [
    ("-p tcp -s 10.0.0.0/16 -m 5", by_original(protocol=6, source="10.0.0.0/16"), FlowChange({"mark": 5})),
    (
        "-p tcp -s 10.0.0.0/16 -m 0x6/0x3",
        by_original(protocol=6, source="10.0.0.0/16"),
        FlowChange({"mark": 6, "mark_mask": 3}),
    ),
    ("-f ipv6 -m 1", TableFilter(family=10), FlowChange({"mark": 1})),
    (
        "-s 10.0.1.0/29 -p tcp -t 777",
        by_original(source="10.0.1.0/29", protocol=6),
        FlowChange({"timeout": 777}),
    ),
    ("-s 10.0.1.8 -u ASSURED", by_original(source="10.0.1.8"), FlowChange({"status": Status.ASSURED})),
    (
        "-s 10.0.1.12 -u SEEN_REPLY,ASSURED -m 9",
        by_original(source="10.0.1.12"),
        FlowChange({"status": Status.SEEN_REPLY | Status.ASSURED, "mark": 9}),
    ),
    (
        "-s 10.0.0.0/16 -p tcp --state TIME_WAIT",
        by_original(source="10.0.0.0/16", protocol=6),
        FlowChange({"tcp_state": 7, **FLAGS}),
    ),
    (
        "-s 10.0.1.6 -p sctp --state SHUTDOWN_SENT --orig-vtag 5 --reply-vtag 6",
        by_original(source="10.0.1.6", protocol=132),
        FlowChange({"sctp_state": 5, "sctp_vtag_original": 5, "sctp_vtag_reply": 6}),
    ),
    (
        "-f ipv4 -q 10.9.0.1 -m 3",
        TableFilter(2, reply=TupleFilter(destination="10.9.0.1")),
        FlowChange({"mark": 3}),
    ),
    ("-f ipv4 -g -m 3", TableFilter(2, destination_nat=True), FlowChange({"mark": 3})),
    ("-s 10.0.2.1 -m 2", by_original(source="10.0.2.1"), FlowChange({"mark": 2})),
    ("-s 10.0.99.1 -m 2", by_original(source="10.0.99.1"), FlowChange({"mark": 2})),
]


@pytest.mark.parametrize(("words", "selected", "change"), UPDATES, ids=[words for words, _, _ in UPDATES])
def test_an_update_does_what_the_c_tool_does(
    pair: tuple[Namespace, Namespace],
    ours: ConntrackTable,
    words: str,
    selected: Selection,
    change: FlowChange,
) -> None:
    run = pair[0].run(["conntrack", "-U", *words.split()], check=False)
    updated = re.search(r"(\d+) flow entries have been updated", run.stderr)
    assert updated is not None, run.stderr
    steps = list(ours.update_steps(selected, change))
    assert [step.errors for step in steps if step.errors] == []
    assert sum(len(step.flows) for step in steps) == int(updated[1])
    shown = [flow for step in steps for flow in flows_of(ours.reread(step.flows))]
    assert len(shown) == int(updated[1])
    # The C tool shows flows as they are then, held by the request that shows them; of many, not every one.
    lines = {line[line.index("mark=") :].strip() for line in run.stdout.splitlines()}
    assert bool(lines) == bool(shown)
    assert lines <= {f"mark={flow.mark} use={flow.use}" for flow in shown}
    assert listed(pair[1]) == listed(pair[0])


def test_a_second_update_changes_nothing(ours: ConntrackTable) -> None:
    change = Flow(mark=5, status=Status.ASSURED)
    count = ours.update_selected(None, change)
    assert count > 50
    assert ours.update_selected(None, change) == 0


DELETIONS: list[tuple[str, Selection]] = [
    ("-p udp", by_original(protocol=17)),
    ("-m 1", TableFilter(mark=1)),
    ("-w 2", TableFilter(zone=2)),
    ("-u ASSURED", TableFilter(status=Status.ASSURED)),
    ("-s 10.0.1.0/24", by_original(source="10.0.1.0/24")),
    ("-f ipv6", TableFilter(family=10)),
    ("-d fd00::ff", by_original(destination="fd00::ff")),
    ("-n", TableFilter(source_nat=True)),
    ("-p icmp --icmp-type 13", by_original(protocol=1, icmp_type=13)),
    ("-s 10.0.1.10 -p udp", by_original(source="10.0.1.10", protocol=17)),
]


@pytest.mark.parametrize(("words", "selected"), DELETIONS, ids=[words for words, _ in DELETIONS])
@pytest.mark.parametrize("way", ["delete_selected", "flush", "flush by an old kernel"])
def test_a_deletion_does_what_the_c_tool_does(
    pair: tuple[Namespace, Namespace],
    ours: ConntrackTable,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    selected: Selection,
    way: str,
) -> None:
    run = pair[0].run(["conntrack", "-D", *words.split()])
    deleted = re.search(r"(\d+) flow entries have been deleted", run.stderr)
    assert deleted is not None
    assert int(deleted[1]) > 0
    if way == "flush by an old kernel":
        monkeypatch.setattr(table_module, "flushes_by_filter", lambda: False)
    if way == "delete_selected":
        assert ours.delete_selected(selected) == int(deleted[1])
    else:
        ours.flush(selected)
    assert listed(pair[1]) == listed(pair[0])


def flows_of(batch: FlowBatch) -> list[Flow]:
    return [Flow.from_batch(batch, index) for index in range(len(batch))]


def udp(number: int) -> Tuple:
    return Tuple(f"10.8.{number >> 8}.{number & 255}", "10.9.0.1", Protocol.UDP, 1000, 53)


def filled(table: ConntrackTable, count: int) -> None:
    batch = FlowBatch()
    for number in range(count):
        Flow(udp(number), timeout=600, mark=number).add_to(batch)
    assert table.create_batch(batch) == []


def test_flows_in_zones_are_updated(ours: ConntrackTable) -> None:
    """What the C tool does not find: it forgets the zone."""
    wanted = TableFilter(original=TupleFilter(source="10.0.2.0/24", protocol=17))
    count = len(ours.dump_batch(wanted))
    assert ours.update_selected(wanted, Flow(mark=77)) == count
    changed = flows_of(ours.dump_batch(wanted))
    assert {flow.mark for flow in changed} == {77}
    assert {2} < {flow.zone for flow in changed} | {flow.original.zone for flow in changed if flow.original}


def test_many_batches(table: ConntrackTable) -> None:
    filled(table, 20000)
    odd = TableFilter(mark=1, mark_mask=1)
    steps = list(table.update_steps(odd, FlowChange({"timeout": 60})))
    assert len(steps) > 1
    assert sum(len(step.flows) for step in steps) == 10000
    assert sum(flow.timeout <= 60 for flow in table if flow.timeout) == 10000
    before = steps[0].flows
    after = table.reread(before)
    assert [before.unpack(index)["id"] for index in range(len(before))] == [
        after.unpack(index)["id"] for index in range(len(after))
    ]
    table.delete(Flow.from_batch(before, 0))
    assert len(table.reread(before)) == len(before) - 1
    assert table.delete_selected(odd) == 9999
    assert table.delete_selected(odd) == 0
    assert len(table) == 10000


def test_what_is_refused_is_told(table: ConntrackTable) -> None:
    filled(table, 20)
    even = TableFilter(mark=0, mark_mask=1)
    (step,) = table.update_steps(even, FlowChange({"status": Status.EXPECTED}))
    assert len(step.flows) == 0
    assert len(step.refused) == 10
    assert step.errors == [errno.EBUSY] * 10
    with pytest.raises(ConntrackError) as caught:
        table.update_selected(even, Flow(status=Status.EXPECTED))
    assert caught.value.errno == errno.EBUSY


def test_what_ended_meanwhile_is_no_failure(table: ConntrackTable, namespace: Namespace) -> None:
    filled(table, 10)

    def too_late(batch: FlowBatch, command: int, flags: int) -> list[tuple[int, int]]:
        table.delete(udp(3))
        table.delete(udp(7))
        return table._execute_all(batch, command, flags)

    with ConntrackSocket(namespace=namespace.name) as socket:
        assert count_done(delete_steps(socket, None, too_late)) == 8
    assert len(table) == 0


def test_bits_of_the_mark_that_change_meanwhile_stay(table: ConntrackTable, namespace: Namespace) -> None:
    filled(table, 1)

    def late(batch: FlowBatch, command: int, flags: int) -> list[tuple[int, int]]:
        table.update(Flow(udp(0), mark=0x230))
        return table._execute_all(batch, command, flags)

    with ConntrackSocket(namespace=namespace.name) as socket:
        change = FlowChange({"mark": 1, "mark_mask": 0xF})
        assert count_done(update_steps(socket, None, change, late, table.reread)) == 1
    assert table.get(udp(0)).mark == 0x231


@pytest.mark.parametrize("selected", [None, TableFilter(mark=0)])
def test_a_status_that_gets_a_bit_meanwhile_is_set_on_top_of_it(
    table: ConntrackTable, namespace: Namespace, selected: Selection | None
) -> None:
    """Flow 0 gets an answer, 1 ends; 2 gets an answer and a mark, by which it may be selected no longer."""
    filled(table, 4)
    table.update_selected(None, Flow(mark=0))
    asked: list[int] = []

    def late(batch: FlowBatch, command: int, flags: int) -> list[tuple[int, int]]:
        if not asked:
            table.update(Flow(udp(0), status=Status.CONFIRMED | Status.SEEN_REPLY))
            table.delete(udp(1))
            table.update(Flow(udp(2), status=Status.CONFIRMED | Status.SEEN_REPLY, mark=9))
        asked.append(len(batch))
        return table._execute_all(batch, command, flags)

    with ConntrackSocket(namespace=namespace.name) as socket:
        change = FlowChange({"status": Status.ASSURED})
        (step,) = update_steps(socket, selected, change, late, table.reread)
    done = {0, 3} if selected else {0, 2, 3}
    assert step.errors == [errno.ENOENT]
    assert {flow.original for flow in flows_of(step.flows)} == {udp(number) for number in done}
    assert {flow.original for flow in table if Status.ASSURED in (flow.status or Status(0))} == {
        udp(n) for n in done
    }
    assert asked == [4, len(done) - 1]


def test_another_flow_with_the_same_tuple_is_not_deleted(table: ConntrackTable, namespace: Namespace) -> None:
    """The id tells them apart."""
    filled(table, 1)

    def replaced(batch: FlowBatch, command: int, flags: int) -> list[tuple[int, int]]:
        # As if the one that was read had ended, and another had come: ids are the kernel's to choose.
        older = FlowBatch()
        older.pack(batch.unpack(0) | {"id": batch.unpack(0)["id"] ^ 1})
        return table._execute_all(older, command, flags)

    with ConntrackSocket(namespace=namespace.name) as socket:
        (step,) = delete_steps(socket, None, replaced)
    assert step.errors == [errno.ENOENT]
    assert len(table) == 1


@pytest.mark.parametrize("values", [{}, {"zone": 0}, {"zone": 5}, {"mark": 1}, {"id": 1}])
def test_a_deletion_without_a_tuple_is_not_one_of_the_table(
    table: ConntrackTable, values: dict[str, Any]
) -> None:
    filled(table, 3)
    nameless = FlowBatch()
    nameless.pack(values)
    ((index, number),) = table.delete_batch(nameless)
    assert (index, number != 0) == (0, True)
    with pytest.raises(ConntrackError):
        table.delete(Flow(**values))
    assert len(table) == 3


def test_add_leaves_what_exists(table: ConntrackTable) -> None:
    assert table.add(Flow(udp(1), timeout=100, mark=1))
    assert not table.add(Flow(udp(1), timeout=100, mark=2))
    assert table.get(udp(1)).mark == 1


def test_events_of_selected_flows(table: ConntrackTable) -> None:
    selected = TableFilter(original=TupleFilter(source="10.8.0.0/28"), mark=8, mark_mask=8)
    with table.events(selected=selected) as events:
        filled(table, 40)
        table.delete_selected(None)
        new = [events.get(timeout=10.0) for _ in range(8)]
        assert sorted(event.mark or 0 for event in new if event) == list(range(8, 16))
        assert {event.event for event in new if event} == {Event.NEW}
        ended = [events.get(timeout=10.0) for _ in range(8)]
        assert {event.event for event in ended if event} == {Event.DESTROY}
        assert events.get(timeout=0.0) is None


def test_the_dying_list(table: ConntrackTable, namespace: Namespace) -> None:
    """Flows whose end a reliable listener has no room to hear of."""
    with table.events(new=False, update=False, reliable=True, receive_buffer=2304) as events:
        filled(table, 200)
        table.flush()
        dying = sum(len(batch) for batch in table.dump_batches(of="dying"))
        assert 100 < dying < 200
        some = sum(len(batch) for batch in table.dump_batches(TableFilter(mark=0, mark_mask=1), of="dying"))
        assert 0 < some < dying
        counted = re.search(r"(\d+) flow", namespace.run(["conntrack", "-L", "dying"]).stderr)
        assert counted is not None
        assert int(counted[1]) == dying
        heard = FlowBatch()

        def all_heard() -> bool:
            events.read(heard)
            return len(heard) == 200

        wait_until(all_heard, 30.0, "the kernel to tell of the rest")
    assert list(table.dump_batches(of="unconfirmed")) == []


def test_an_overrun_of_a_small_buffer_is_told(table: ConntrackTable) -> None:
    with table.events(receive_buffer=2304) as events:
        filled(table, 200)
        batch = FlowBatch()
        with pytest.raises(MessagesLostError):
            events.read(batch)
        assert 0 < events.read(batch) < 200
        table.create(Flow(udp(999), timeout=10))
        after = events.get(timeout=10.0)
        assert after is not None
        assert after.original == udp(999)


EVENT_FILTERS: list[tuple[str, Selection]] = [
    ("", TableFilter()),
    ("-p tcp", by_original(protocol=6)),
    ("-m 0", TableFilter(mark=0)),
    ("-m 1/1", TableFilter(mark=1, mark_mask=1)),
    ("-s 10.0.1.0/24", by_original(source="10.0.1.0/24")),
    ("-s fd00:1::1", by_original(source="fd00:1::1")),
    ("-n", TableFilter(source_nat=True)),
    ("-w 2", TableFilter(zone=2)),
    ("-w 0", TableFilter(zone=0)),
    ("-p tcp --state ESTABLISHED", TableFilter(tcp_state=3, original=TupleFilter(protocol=6))),
]
"""What the kernel leaves out of some events (a mark of 0, states) must count in ours as in theirs."""


def listens(namespace: Namespace) -> bool:
    """Whether a socket of the namespace hears events of flows."""
    rows = [line.split() for line in namespace.run(["cat", "/proc/net/netlink"]).stdout.splitlines()[1:]]
    return any(row[1] == "12" and int(row[3], 16) & 7 for row in rows)


@pytest.mark.parametrize(
    ("words", "selected"), EVENT_FILTERS, ids=[words or "all" for words, _ in EVENT_FILTERS]
)
def test_events_are_those_of_the_c_tool(bed: Testbed, words: str, selected: Selection) -> None:
    namespace = bed.namespace("events")
    lines = "".join(MADE.format(n=number).replace("-I", "-I -t 9000") for number in range(1, 4))
    process = namespace.popen(["conntrack", "-E", "-o", "id", *words.split()], name="events")
    wait_until(lambda: listens(namespace), 10.0, "the C tool to listen")
    with ConntrackTable(namespace.name) as table, table.events(selected=selected) as events:
        namespace.run(["conntrack", "-R", "-"], input=lines)
        table.update_selected(None, Flow(mark=5, status=Status.ASSURED))
        table.delete_selected(None)
        ours = FlowBatch()
        while events.socket.wait(0.0):
            events.read(ours)
    names = {Event.NEW: "NEW", Event.UPDATE: "UPDATE", Event.DESTROY: "DESTROY"}
    expected = [f"[{names[flow.event]}] {flow.id}" for flow in flows_of(ours)]
    assert expected

    def theirs() -> list[str]:
        found = re.findall(r"^ *(\[\w+\]) .* id=(\d+)(?: \[USERSPACE\].*)?$", process.output(), re.MULTILINE)
        return [f"{event} {number}" for event, number in found]

    wait_until(
        lambda: len(theirs()) >= len(expected),
        10.0,
        "the C tool to show as many events",
        process.output,
    )
    process.kill()
    assert theirs() == expected


def three(first: int) -> list[Flow]:
    return [Flow(original=Tuple("10.0.0.1", "10.0.0.2", 17, first + n, 53), timeout=600) for n in range(3)]


def batch_of(flows: list[Flow]) -> FlowBatch:
    batch = FlowBatch()
    for flow in flows:
        flow.add_to(batch)
    return batch


@pytest.fixture
def interrupted(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConntrackTable]:
    """It did not read the answers about three flows of the table's six, nor about three that do not exist."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with ConntrackTable(namespace.name) as table:
        with ConntrackTable(namespace.name) as other:
            assert other.create_batch(batch_of(three(1) + three(11))) == []
        with monkeypatch.context() as patch:
            patch.setattr(changing, "collect_flows", interrupt)
            for flows in (three(1), three(21)):
                with pytest.raises(KeyboardInterrupt):
                    table.reread(batch_of(flows))
        yield table


def test_what_is_left_of_an_interrupted_question_is_no_answer_to_get(interrupted: ConntrackTable) -> None:
    wanted = three(11)[0].original
    assert wanted is not None
    assert interrupted.get(wanted).original == wanted


def test_what_is_left_of_an_interrupted_question_is_no_answer_to_the_next(
    interrupted: ConntrackTable,
) -> None:
    found = flows_of(interrupted.reread(batch_of(three(11))))
    assert [flow.original for flow in found] == [flow.original for flow in three(11)]


def test_what_is_left_of_an_interrupted_question_is_no_failure_of_a_batch(
    interrupted: ConntrackTable,
) -> None:
    assert interrupted.create_batch(batch_of(three(31))) == []
    assert interrupted.delete_batch(batch_of(three(11))) == []


def test_sequence_numbers_of_a_socket_are_never_had_twice(namespace: Namespace) -> None:
    with ConntrackSocket(namespace=namespace.name) as socket, ConntrackSocket() as other:
        assert socket.next_sequence() != other.next_sequence()
        taken = [socket.next_sequence(count) for count in (1, 1024, 1, 256, 1)]
        assert [number - taken[0] for number in taken] == [0, 1, 1025, 1026, 1282]
        socket.next_sequence(0xFFFFFFFF - taken[-1] - 100)
        assert socket.next_sequence(1000) == 1


@pytest.mark.parametrize("name", ["source_nat", "destination_nat", "any_nat"])
def test_a_translation_is_any_or_what_it_becomes(name: str) -> None:
    with pytest.raises(ValueError, match="True, for any, or a Nat, not False"):
        TableFilter(**{name: False}).match()  # type: ignore[arg-type]


def test_a_closed_table_says_so(namespace: Namespace) -> None:
    table = ConntrackTable(namespace.name)
    table.close()
    for ask in (table.reread, table.delete_batch, lambda batch: table.get(udp(1))):
        with pytest.raises(ConntrackError) as caught:
            ask(batch_of(three(1)))
        assert caught.value.errno == errno.EBADF


def test_to_delete_every_flow_is_said(table: ConntrackTable) -> None:
    filled(table, 3)
    with pytest.raises(TypeError):
        table.delete_selected()  # type: ignore[call-arg]
    assert len(table) == 3
    assert table.delete_selected(None) == 3
