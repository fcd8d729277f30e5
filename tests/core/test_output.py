# SPDX-License-Identifier: GPL-2.0-or-later
"""What we print of a batch, against what the C command prints of the same messages."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import decode
from pyconntrack.core.label_names import LabelNames
from pyconntrack.core.output import (
    EVENT,
    ID,
    JSON,
    LAYER3,
    PLAIN,
    SAVE,
    TIME,
    TIMESTAMPS,
    WHOLE,
    XML,
    XML_HEAD,
    XML_TAIL,
    format_batch,
    origins,
)
from pyconntrack.kernel.label_map import load_label_names
from tests.core.support_command import MICROSECONDS, SECONDS, Command
from tests.core.test_text import messages


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module")
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def flows(data: list[bytes]) -> FlowBatch:
    batch = FlowBatch()
    for message in data:
        decode(message, batch)
    assert len(batch) == len(data)
    return batch


def lines(batch: FlowBatch, form: int, flags: int, labels: LabelNames | None = None, start: int = 0) -> bytes:
    return format_batch(batch, start, len(batch), form, flags, labels, SECONDS, MICROSECONDS)


def state_known(message: bytes) -> bool:
    """Whether the C tool has a name for the state: it reads past its table for others."""
    values = flows([message]).unpack(0)
    tables = {"tcp_state": 10, "sctp_state": 8, "dccp_state": 8}
    return all(values.get(name, 0) < size for name, size in tables.items())


def ported(message: bytes) -> bool:
    """Whether SCTP and DCCP come with a port or a state, as from a kernel that tracks them."""
    values = flows([message]).unpack(0)
    ports = values["original"][4:6] + values.get("reply", (0,) * 9)[4:6]
    return any(ports) or values["original"][1] not in (33, 132)


def as_event(message: bytes, kind: int, origin: int) -> bytes:
    """The message as an event: 1 new, 2 update, 3 destroy."""
    command, flags = {1: (0, 0x400), 2: (0, 0), 3: (2, 0)}[kind]
    return message[:4] + struct.pack("=HHII", 1 << 8 | command, flags, 0, origin) + message[16:]


many = st.lists(messages(), min_size=20, max_size=60)
few_runs = settings(max_examples=8, deadline=None, phases=[Phase.generate])

DUMPS = [
    ("labels", PLAIN, 0),
    ("extended,id,labels,ktimestamp,timestamp", PLAIN, LAYER3 | ID | TIMESTAMPS),
    ("xml,labels,ktimestamp,timestamp", XML, TIMESTAMPS),
]


@pytest.mark.parametrize(("option", "form", "flags"), DUMPS, ids=[option for option, *_ in DUMPS])
@given(data=many)
@few_runs
def test_a_dump_is_the_command_s(
    command: Command, option: str, form: int, flags: int, data: list[bytes]
) -> None:
    ours = lines(flows(data), form, flags, load_label_names(command.labels))
    if form == XML:
        ours = XML_HEAD + ours + XML_TAIL
    assert cut(ours) == command.output(data, "-L", "-o", option, labels=True)


@given(data=st.lists(messages().filter(state_known).filter(ported), min_size=20, max_size=60))
@few_runs
def test_a_saved_table_is_the_command_s(command: Command, data: list[bytes]) -> None:
    assert lines(flows(data), SAVE, 0) == command.output(data, "-L", "-o", "save")


def cut(text: bytes) -> bytes:
    """With no more of a flow in a line than the command has room for."""
    parts = (line.partition(b" [USERSPACE]") for line in text.split(b"\n"))
    return b"\n".join(flow[:COMMAND_ROOM] + rest + origin for flow, rest, origin in parts)


# Bytes of a line in the command; ours shows all of it.
COMMAND_ROOM = 1023
EVENTS = [
    ("timestamp,labels", PLAIN, EVENT | TIME),
    ("timestamp,extended,id,ktimestamp", PLAIN, EVENT | TIME | LAYER3 | ID | TIMESTAMPS),
    ("userspace", PLAIN, EVENT),
    ("xml,timestamp", XML, EVENT | TIME),
    ("xml,labels,ktimestamp", XML, EVENT | TIMESTAMPS),
    ("save", SAVE, EVENT),
]


@pytest.mark.parametrize(("option", "form", "flags"), EVENTS, ids=[option for option, *_ in EVENTS])
@given(
    data=st.lists(
        st.builds(
            as_event,
            messages().filter(state_known).filter(ported),
            st.integers(1, 3),
            st.sampled_from([0, 2**31 + 5, 2**32 - 9]),
        ),
        min_size=20,
        max_size=60,
    )
)
@few_runs
def test_events_are_the_command_s(
    command: Command, utc: None, option: str, form: int, flags: int, data: list[bytes]
) -> None:
    labels = load_label_names(command.labels) if "labels" in option else None
    ours = lines(flows(data), form, flags, labels)
    if form == XML:
        ours = XML_HEAD + ours + XML_TAIL
    assert cut(ours) == command.output(data, "-E", "-o", option, labels=True)


def packed(**values: object) -> FlowBatch:
    batch = FlowBatch()
    ends = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    batch.pack({"original": (2, 17, *ends, 1, 2, 0, 0, 0), **values})
    return batch


def test_an_event_s_own_time_comes_before_the_clock(utc: None) -> None:
    batch = packed(event=1, timestamp_event=1_700_000_000_000_045_999)
    assert lines(batch, PLAIN, EVENT | TIME).startswith(b"[1700000000.000045]\t    [NEW] udp ")
    assert b"<when><hour>22</hour><min>13</min><sec>20</sec>" in lines(batch, XML, EVENT | TIME)


def test_processes_are_named_where_they_are_known() -> None:
    batch = packed(event=2, origin=4711)
    batch.extend(packed(event=2))
    batch.extend(packed(event=2, origin=9))
    assert origins(batch) == {4711, 9}
    assert origins(batch, 2) == {9}
    written = format_batch(batch, 0, 3, PLAIN, EVENT, process_names={4711: b"a\nb\x9b"}).splitlines()
    assert written[0].endswith(b" [USERSPACE] portid=4711 progname=a?b?")
    assert b"USERSPACE" not in written[1]
    assert written[2].endswith(b" [USERSPACE] portid=9")
    assert b"USERSPACE" not in format_batch(batch, 0, 3, PLAIN)


def test_a_whole_command_line_has_mark_and_labels() -> None:
    labels = LabelNames()
    labels.add(1, "one")
    labels.add(9, "nine lives")
    batch = packed(mark=7, labels=bytes([6, 2]) + bytes(14))
    assert b" -m 7 --label-add one,nine lives -s " in b" " + format_batch(batch, 0, 1, SAVE, WHOLE, labels)
    assert format_batch(batch, 0, 1, SAVE, WHOLE).startswith(b"-A -m 7 -s ")
    assert format_batch(batch, 0, 1, SAVE).startswith(b"-A -s ")


def test_the_longest_lines_fit() -> None:
    labels = LabelNames()
    for bit in range(128):
        labels.add(bit, f"{bit}" + "n" * 1000)
    batch = FlowBatch()
    address = b"\x12\x34" * 8
    tuple_ = (10, 136, address, address, 65535, 65535, 0, 0, 0)
    values: dict[str, object] = dict.fromkeys(FlowBatch.fields(), 2**32 - 1)
    values |= dict.fromkeys(("original", "reply", "master"), tuple_)
    values |= dict.fromkeys(("zone", "original_zone", "reply_zone", "source_nat_port"), 65535)
    values |= dict.fromkeys(("tcp_state", "sctp_state", "dccp_state"), 3)
    values |= dict.fromkeys(("tcp_window_scale_original", "tcp_window_scale_reply", "dccp_role"), 255)
    values |= dict.fromkeys(("tcp_flags_original", "tcp_flags_reply"), (255, 255))
    values |= dict.fromkeys(("counters_original", "counters_reply"), (2**64 - 1, 2**64 - 1))
    values |= dict.fromkeys(("timestamp_start", "timestamp_stop", "timestamp_event"), 2**64 - 1)
    values |= dict.fromkeys(("sequence_adjust_original", "sequence_adjust_reply"), (2**32 - 1,) * 3)
    values |= {"syn_proxy": (2**32 - 1,) * 3, "destination_nat_port": 65535, "event": 3}
    values |= dict.fromkeys(("labels", "labels_mask"), b"\xff" * 16)
    values |= dict.fromkeys(("source_nat_address", "destination_nat_address"), address)
    values |= {"helper_name": "\x01" * 15, "helper_info": b"\xff" * 32, "security_context": "\x01" * 127}
    batch.pack(values)
    every = LAYER3 | ID | TIMESTAMPS | EVENT | TIME | WHOLE
    names = {2**32 - 1: b"\x01" * 200}
    for form in (PLAIN, XML, SAVE, JSON):
        written = format_batch(batch, 0, 1, form, every, None, 2**62, 999999, names)
        assert len(written) < 8704 - 1000
        whole = format_batch(batch, 0, 1, form, every, labels, 2**62, 999999, names)
        assert len(whole) - len(written) < labels_room(labels)


def labels_room(labels: LabelNames) -> int:
    return sum(len(name) for _, name in labels.items()) + 128 * 16


def test_a_batch_grows_no_line_short() -> None:
    batch = FlowBatch()
    for _ in range(300):
        batch.extend(packed(security_context="\x01" * 127, labels=b"\xff" * 16))
    one = format_batch(batch, 0, 1, JSON)
    assert format_batch(batch, 0, 300, JSON) == one * 300
    assert format_batch(batch, 298, 300, JSON) == one * 2
    assert format_batch(batch, 300, 300, JSON) == b""


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 2), (1, 0)])
def test_flows_that_are_not_there_are_refused(start: int, stop: int) -> None:
    with pytest.raises(IndexError):
        format_batch(packed(), start, stop)


def test_a_form_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no output form 4"):
        format_batch(packed(), 0, 1, 4)
