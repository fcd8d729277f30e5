# SPDX-License-Identifier: GPL-2.0-or-later
"""Our lines against those of libnetfilter_conntrack, on which the C tools stand, for the same message."""

from __future__ import annotations

import ctypes
import ctypes.util
import ipaddress
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.core import text
from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import decode

LIBRARY = "libnetfilter_conntrack.so.3"
NESTED = 0x8000
NEW, DELETE = 0, 2
CREATE = 0x400  # NLM_F_CREATE makes a message of type NEW an event of a new flow


class Reference:
    """The C library: a netlink message in, a line out."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.nfct_new.restype = ctypes.c_void_p

    def line(
        self, message: bytes, form: int, event: int = 0, flags: int = 0, *, timeout: bool = True
    ) -> bytes:
        flow = ctypes.c_void_p(self._library.nfct_new())
        try:
            assert self._library.nfct_nlmsg_parse(message, flow) == 0
            if not timeout:
                self._library.nfct_attr_unset(flow, 24)  # ATTR_TIMEOUT
            buffer = ctypes.create_string_buffer(8192)
            self._library.nfct_snprintf(buffer, 8192, flow, event, form, flags)
            return buffer.value
        finally:
            self._library.nfct_destroy(flow)


@pytest.fixture(scope="module")
def reference() -> Reference:
    try:
        return Reference()
    except OSError:
        pytest.skip(f"{LIBRARY} is not installed (Debian: libnetfilter-conntrack3)")


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(inner))


def message(*attributes: bytes, family: int = 2, command: int = NEW, flags: int = 0) -> bytes:
    body = struct.pack(">BBH", family, 0, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 1 << 8 | command, flags, 0, 0) + body


def records(data: bytes) -> FlowBatch:
    batch = FlowBatch()
    decode(data, batch)
    assert len(batch) == 1
    return batch


def ours(data: bytes, form: int, flags: int = 0, *, now: int = 0, age: int = -1) -> bytes:
    line = text.format_records(records(data), form, flags, now, age)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    return line[:-1]


addresses = st.binary(min_size=16, max_size=16) | st.lists(
    st.sampled_from([b"\0\0", b"\0\0", b"\xff\xff", b"\0\1", b"\x12\x34"]), min_size=8, max_size=8
).map(b"".join)
numbers16 = st.integers(0, 0xFFFF)
numbers32 = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 9, 10, 99, 100, 0xFFFFFFFF])
numbers64 = st.integers(0, 2**64 - 1) | st.sampled_from([0, 99, 100, 2**64 - 1])
protocols = st.sampled_from([6, 17, 1, 58, 132, 33, 47, 136, 50, 0, 255]) | st.integers(0, 255)


def tuple_nest(draw: st.DrawFn, kind: int, family: int, protocol: int) -> bytes:
    size, first = (4, 1) if family == 2 else (16, 3)
    ends = [attribute(first + i, draw(addresses)[:size]) for i in range(2)]
    parts = [attribute(1, bytes([protocol]))]
    if protocol in (6, 17, 33, 47, 132, 136):
        parts += [attribute(2 + i, struct.pack(">H", draw(numbers16))) for i in range(2)]
    elif protocol in (1, 58):
        base = 4 if protocol == 1 else 7
        parts.append(attribute(base, struct.pack(">H", draw(numbers16))))
        parts += [attribute(base + 1 + i, bytes([draw(st.integers(0, 255))])) for i in range(2)]
    inner = [nest(1, *ends), nest(2, *parts)]
    if draw(st.booleans()):
        inner.append(attribute(3, struct.pack(">H", draw(st.integers(1, 0xFFFF)))))
    return nest(kind, *inner)


def state_nest(draw: st.DrawFn, protocol: int) -> bytes:
    kind = {6: 1, 33: 2, 132: 3}.get(protocol)
    if kind is None:
        return b""
    inner = [attribute(1, bytes([draw(st.integers(0, 12))]))]
    if protocol == 33:
        inner.append(attribute(2, b"\1"))
    if protocol == 132:
        inner += [attribute(2, struct.pack(">I", draw(numbers32))), attribute(3, b"\1\2\3\4")]
    return nest(4, nest(kind, *inner))


@st.composite
def rest(draw: st.DrawFn) -> list[bytes]:
    """Attributes that any flow may have or not."""

    def be32() -> bytes:
        return struct.pack(">I", draw(numbers32))

    def be64() -> bytes:
        return struct.pack(">Q", draw(numbers64))

    makers: list[Callable[[], bytes]] = [
        lambda: attribute(3, be32()),
        lambda: attribute(7, be32()),
        lambda: attribute(8, be32()),
        lambda: nest(9, attribute(1, be64()), attribute(2, be64())),
        lambda: nest(10, attribute(1, be64()), attribute(2, be64())),
        lambda: attribute(11, be32()),
        lambda: attribute(12, be32()),
        lambda: attribute(17, be32()),
        lambda: attribute(18, struct.pack(">H", draw(st.integers(1, 0xFFFF)))),
        lambda: nest(19, attribute(1, draw(st.sampled_from([b"system_u:object_r:s0\0", b"x\0"])))),
        lambda: nest(5, attribute(1, draw(st.sampled_from([b"ftp\0", b"sip-20000\0", b"netbios-ns\0"])))),
        lambda: attribute(22, draw(st.binary(min_size=15, max_size=15)) + b"\1"),
    ]
    return [make() for make in makers if draw(st.booleans())]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    family = draw(st.sampled_from([2, 10]))
    protocol = draw(protocols)
    attributes = [tuple_nest(draw, 1, family, protocol)]
    if draw(st.booleans()):
        attributes.append(tuple_nest(draw, 2, family, protocol))
    attributes.append(state_nest(draw, protocol))
    return message(*attributes, *draw(rest()), family=family)


@given(data=messages())
@settings(max_examples=1500, deadline=None)
def test_lines_equal_the_library_s(reference: Reference, data: bytes) -> None:
    for form in (text.PLAIN, text.XML):
        assert ours(data, form) == reference.line(data, form)
        for flags in (text.LAYER3, text.ID, text.LAYER3 | text.ID):
            library_flags = (1 if flags & text.LAYER3 else 0) | (4 if flags & text.ID else 0)
            assert ours(data, form, flags) == reference.line(data, form, flags=library_flags)


@given(data=messages(), age=st.integers(0, 10**9))
@settings(max_examples=300, deadline=None)
def test_the_internal_cache_shows_no_timeout_but_the_age(reference: Reference, data: bytes, age: int) -> None:
    expected = reference.line(data, text.PLAIN, timeout=False) + b" [active since %ds]" % age
    assert ours(data, text.PLAIN, text.INTERNAL_CACHE, age=age) == expected
    assert ours(data, text.XML, text.INTERNAL_CACHE, age=age) == reference.line(data, text.XML, timeout=False)


@given(protocol=protocols, data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_external_cache_knows_no_reply(reference: Reference, protocol: int, data: st.DataObject) -> None:
    original = data.draw(st.composite(lambda draw: tuple_nest(draw, 1, 2, protocol))())
    reply = data.draw(st.composite(lambda draw: tuple_nest(draw, 2, 2, protocol))())
    others = data.draw(rest())
    both, one = message(original, reply, *others), message(original, *others)
    for form, tail in ((text.PLAIN, b" [active since 7s]"), (text.XML, b"")):
        assert ours(both, form, text.EXTERNAL_CACHE, age=7) == reference.line(one, form, timeout=False) + tail


@pytest.mark.parametrize(
    ("flags", "command", "event"),
    [(CREATE, NEW, 1), (0, NEW, 2), (0, DELETE, 4)],
    ids=["new", "update", "destroy"],
)
@pytest.mark.parametrize("form", [text.PLAIN, text.XML])
def test_events_begin_with_what_happened(
    reference: Reference, flags: int, command: int, event: int, form: int
) -> None:
    ends = [attribute(1, bytes([10, 0, 0, 1])), attribute(2, bytes([10, 0, 0, 2]))]
    flow = nest(1, nest(1, *ends), nest(2, attribute(1, b"\x32")))
    data = message(flow, command=command, flags=flags)
    assert ours(data, form, text.EVENT) == reference.line(data, form, event)


@pytest.mark.parametrize("stop", [None, 1_700_000_010_000_000_001, 1_700_000_001_999_999_999])
@pytest.mark.parametrize("form", [text.PLAIN, text.XML])
def test_times(reference: Reference, form: int, stop: int | None) -> None:
    ends = [attribute(1, bytes([10, 0, 0, 1])), attribute(2, bytes([10, 0, 0, 2]))]
    flow = nest(1, nest(1, *ends), nest(2, attribute(1, b"\x32")))
    start = 1_700_000_000_999_999_999
    times = [attribute(1, struct.pack(">Q", start))]
    if stop is not None:
        times.append(attribute(2, struct.pack(">Q", stop)))
    data = message(flow, nest(20, *times))
    line = ours(data, form, text.TIMESTAMPS, now=1_700_000_042)
    expected = reference.line(data, form, flags=8)
    if stop is None:  # the library goes by the clock
        assert b"delta-time=42" in line or b"<deltatime>42</deltatime>" in line
    else:
        assert line == expected


@given(packed=addresses)
@settings(max_examples=500)
def test_ipv6_addresses_are_written_as_by_inet_ntop(packed: bytes) -> None:
    import socket

    batch = FlowBatch()
    batch.pack({"original": (10, 89, packed, packed, 0, 0, 0, 0, 0)})
    written = socket.inet_ntop(socket.AF_INET6, packed)
    assert text.format_records(batch) == f"unknown  89 src={written} dst={written}\n".encode()
    assert ipaddress.ip_address(written).packed == packed


def test_every_octet_of_an_address_is_written() -> None:
    batch = FlowBatch()
    for octet in range(256):
        ends = bytes([octet] * 4), bytes([1, octet, 255 - octet, 0])
        batch.pack({"original": (2, 89, *ends, 0, 0, 0, 0, 0)})
    expected = [f"src={o}.{o}.{o}.{o} dst=1.{o}.{255 - o}.0" for o in range(256)]
    assert text.format_records(batch).decode().splitlines() == [f"unknown  89 {ends}" for ends in expected]


def test_numbers_of_every_length_are_written() -> None:
    numbers = [10**power + more for power in range(20) for more in (-1, 0, 1)]
    batch = FlowBatch()
    for number in numbers:
        ends = (2, 89, bytes(4), bytes(4), 0, 0, 0, 0, 0)
        batch.pack({"original": ends, "counters_original": (number, number // 3)})
    lines = text.format_records(batch).decode().splitlines()
    counters = [line.partition(" packets=")[2] for line in lines]
    assert counters == [f"{number} bytes={number // 3}" for number in numbers]


def test_names_from_outside_break_neither_line_nor_markup() -> None:
    source = bytes([10, 0, 0, 1])
    batch = FlowBatch()
    batch.pack({"original": (2, 89, source, source, 0, 0, 0, 0, 0), "helper_name": 'a\nb<&>"'})
    assert text.format_records(batch).endswith(b' helper=a?b<&>"\n')
    assert b'<helper>a?b&lt;&amp;&gt;"</helper></flow>\n' in text.format_records(batch, text.XML)


def test_names_are_written_in_ascii() -> None:
    """A byte of more than 7 bits begins a command to some terminals (0x9b), and is no character of UTF-8."""
    source = nest(1, attribute(1, bytes([10, 0, 0, 1])), attribute(2, bytes([10, 0, 0, 2])))
    helper = nest(5, attribute(1, b"a\x9b\xff\x7f~\0"))
    data = message(nest(1, source, nest(2, attribute(1, b"\x59"))), helper)
    assert ours(data, text.PLAIN).endswith(b" helper=a???~")
    assert b"<helper>a???~</helper></flow>" in ours(data, text.XML)


def test_the_longest_line_fits() -> None:
    source = b"\x12\x34" * 8
    flow = (10, 136, source, source, 65535, 65535, 0, 0, 0)
    values = dict.fromkeys(("status", "timeout", "mark", "secmark", "id", "use"), 0xFFFFFFFF)
    batch = FlowBatch()
    batch.pack(
        {
            "original": flow,
            "reply": flow,
            "tcp_state": 3,
            "zone": 65535,
            "original_zone": 65535,
            "reply_zone": 65535,
            "counters_original": (2**64 - 1, 2**64 - 1),
            "counters_reply": (2**64 - 1, 2**64 - 1),
            "timestamp_start": 1,
            "timestamp_stop": 2**64 - 1,
            "helper_name": "&" * 15,
            "security_context": "&" * 127,
            **values,
        }
    )
    every = text.LAYER3 | text.ID | text.TIMESTAMPS | text.EVENT
    for form in (text.PLAIN, text.XML):
        assert len(text.format_records(batch, form, every, 0, 2**62)) < 4096 - 1000


def test_no_records_are_no_lines_and_half_a_record_is_an_error() -> None:
    assert text.format_records(b"") == b""
    with pytest.raises(ValueError, match="whole number"):
        text.format_records(b"x" * 100)
