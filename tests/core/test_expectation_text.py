# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of expectations, byte for byte as libnetfilter_conntrack writes them."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.core.expectation_codec import decode
from pyconntrack.core.expectation_text import EVENT, JSON, PLAIN, TIME, XML, format_expectations
from tests.core.support_expectations import (
    C_PLAIN,
    C_TIME,
    C_XML,
    CLASS,
    DELETE,
    FLAGS,
    ICMP,
    ID,
    NEW,
    PORTS,
    TIMEOUT,
    CLibrary,
    WireExpectation,
    WireTuple,
)

NLM_F_CREATE = 0x400
SHORTS = st.integers(0, 0xFFFF)
WORDS = st.integers(0, 0xFFFFFFFF)
PROTOCOLS = st.sampled_from([6, 17, 33, 47, 132, 136, 1, 58, 0, 40, 255])
NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-.0123456789Q_", max_size=20).map(str.encode)
TCP = WireTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, (0, 50000, 0))
MASK = WireTuple(bytes([255] * 4), bytes([255] * 4), 6, (0, 65535, 0))
CONTROL = WireTuple(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 6, (40000, 21, 0))


@pytest.fixture(scope="module")
def library() -> CLibrary:
    try:
        return CLibrary()
    except OSError as error:
        pytest.skip(f"libnetfilter_conntrack, which comes with Debian's conntrack: {error}")


def tuples(size: int) -> st.SearchStrategy[WireTuple]:
    addresses = st.binary(min_size=size, max_size=size)
    return st.builds(WireTuple, addresses, addresses, PROTOCOLS, st.tuples(SHORTS, SHORTS, SHORTS))


def expectations(size: int) -> st.SearchStrategy[WireExpectation]:
    flags = st.one_of(st.integers(0, 8), WORDS)
    return st.builds(
        WireExpectation,
        tuples(size),
        tuples(size),
        tuples(size),
        words=st.fixed_dictionaries({}, optional={TIMEOUT: WORDS, ID: WORDS, CLASS: WORDS, FLAGS: flags}),
        zone=st.none() | SHORTS,
        helper=st.none() | NAMES,
        function=st.none() | NAMES,
        nat=st.none() | st.tuples(st.integers(0, 1), tuples(size)),
    )


def ours(data: bytes, form: int, flags: int = 0, seconds: int = 0, microseconds: int = 0) -> bytes:
    batch = ExpectationBatch()
    assert decode(data, batch)[2:4] == (1, 0)
    return format_expectations(batch, 0, 1, form, flags, seconds, microseconds)


@given(expectation=st.one_of(expectations(4), expectations(16)), event=st.integers(1, 3))
def test_every_line_is_that_of_the_library(
    library: CLibrary, expectation: WireExpectation, event: int
) -> None:
    data = expectation.message(DELETE if event == 3 else NEW, NLM_F_CREATE if event == 1 else 0)
    for form, c_form in ((PLAIN, C_PLAIN), (XML, C_XML)):
        assert ours(data, form, EVENT) == library.text(data, event, c_form) + b"\n"
        assert ours(data, form) == library.text(data, 0, c_form) + b"\n"


def test_the_time_of_xml_is_local_time(library: CLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    try:
        data = WireExpectation(TCP, MASK, CONTROL, {TIMEOUT: 300}).message()
        before = int(time.time())
        theirs = library.text(data, 0, C_XML, C_TIME) + b"\n"
        after = int(time.time())
        assert theirs in {ours(data, XML, TIME, now) for now in range(before, after + 1)}
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("seconds", "microseconds", "shown"),
    [
        (1795320094, 423591, b"[1795320094.423591]\t300 proto=6 "),
        (1795320459, 2558, b"[1795320459.2558  ]\t300 proto=6 "),
        (0, 0, b"[0       .0     ]\t300 proto=6 "),
    ],
)
def test_the_time_of_plain_lines_stands_before_them(seconds: int, microseconds: int, shown: bytes) -> None:
    data = WireExpectation(TCP, MASK, CONTROL, {TIMEOUT: 300}).message(flags=NLM_F_CREATE)
    line = ours(data, PLAIN, TIME, seconds, microseconds)
    assert line.startswith(shown)
    # The event is named behind the time.
    with_event = ours(data, PLAIN, TIME | EVENT, seconds, microseconds)
    assert with_event == line.replace(b"\t", b"\t    [NEW] ")


PROTOCOL_NAMES = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    47: "gre",
    58: "icmpv6",
    132: "sctp",
    136: "udplite",
}
FLAG_NAMES = ("PERMANENT", "INACTIVE", "USERSPACE")


def json_tuple(wire: WireTuple) -> dict[str, Any]:
    """What JSON must say of a tuple."""
    protocol: dict[str, Any] = {"number": wire.protocol}
    if wire.protocol in PROTOCOL_NAMES:
        protocol["name"] = PROTOCOL_NAMES[wire.protocol]
    values: dict[str, Any] = {
        "family": "ipv4" if len(wire.source) == 4 else "ipv6",
        "protocol": protocol,
        "source": str(ipaddress.ip_address(wire.source)),
        "destination": str(ipaddress.ip_address(wire.destination)),
    }
    first, second, third = wire.fields
    if wire.protocol in ICMP:
        return values | {"icmp_id": first, "icmp_type": second & 255, "icmp_code": third & 255}
    if wire.protocol in PORTS:
        kind = "key" if wire.protocol == 47 else "port"
        return values | {f"source_{kind}": first, f"destination_{kind}": second}
    return values


def json_values(wire: WireExpectation) -> dict[str, Any]:
    values: dict[str, Any] = {
        "expected": json_tuple(wire.expected),
        "mask": json_tuple(wire.mask),
        "master": json_tuple(wire.master),
        "timeout": wire.words.get(TIMEOUT),
        "id": wire.words.get(ID),
        "class": wire.words.get(CLASS),
        "zone": wire.zone,
        "helper": None if wire.helper is None else {"name": wire.helper[:15].decode()},
        "function": None if wire.function is None else wire.function[:31].decode(),
    }
    if FLAGS in wire.words:
        number = wire.words[FLAGS]
        names = [name for bit, name in enumerate(FLAG_NAMES) if number >> bit & 1]
        values["flags"] = {"number": number, "names": names}
    if wire.nat is not None:
        direction = {"number": wire.nat[0], "name": ["ORIGINAL", "REPLY"][wire.nat[0]]}
        values["nat"] = {"direction": direction, "tuple": json_tuple(wire.nat[1])}
    return {name: value for name, value in values.items() if value is not None}


def with_addresses_of_python(values: Any) -> Any:
    """Addresses as Python writes them: those that hold an IPv4 address are written in more than one way."""
    if not isinstance(values, dict):
        return values
    return {
        name: str(ipaddress.ip_address(value))
        if name in ("source", "destination")
        else with_addresses_of_python(value)
        for name, value in values.items()
    }


@given(expectation=st.one_of(expectations(4), expectations(16)), event=st.integers(1, 3))
def test_json_has_everything(expectation: WireExpectation, event: int) -> None:
    data = expectation.message(DELETE if event == 3 else NEW, NLM_F_CREATE if event == 1 else 0)
    line = ours(data, JSON)
    assert line.count(b"\n") == 1
    told = json_values(expectation) | {"event": ["new", "update", "destroy"][event - 1]}
    assert with_addresses_of_python(json.loads(line)) == told


def test_json_of_nothing_and_of_strange_names() -> None:
    batch = ExpectationBatch()
    batch.pack({})
    assert format_expectations(batch, 0, 1, JSON) == b"{}\n"
    data = WireExpectation(TCP, MASK, CONTROL, helper=b'"a\\\n\xff').message()
    assert json.loads(ours(data, JSON))["helper"] == {"name": '"a\\\n\udcff'}


def test_a_part_of_a_batch(library: CLibrary) -> None:
    batch = ExpectationBatch()
    for timeout in range(5):
        decode(WireExpectation(TCP, MASK, CONTROL, {TIMEOUT: timeout}).message(), batch)
    lines = format_expectations(batch, 1, 4).splitlines()
    assert [int(line.split()[0]) for line in lines] == [1, 2, 3]
    assert format_expectations(batch, 2, 2) == b""
    for start, stop in ((-1, 2), (3, 2), (0, 6)):
        with pytest.raises(IndexError):
            format_expectations(batch, start, stop)


def test_no_name_breaks_the_line_or_the_markup() -> None:
    data = WireExpectation(TCP, MASK, CONTROL, helper=b"a<b>&\n\xff").message()
    assert ours(data, PLAIN).endswith(b" helper=a<b>&??\n")
    assert re.search(rb"<helper-name>a&lt;b&gt;&amp;\?\?</helper-name>", ours(data, XML))


def test_what_is_not_known_is_left_out() -> None:
    batch = ExpectationBatch()
    batch.pack({"expected": (2, 6, bytes(4), bytes(4), 1, 2, 0, 0, 0)})
    assert format_expectations(batch, 0, 1) == b"proto=6 src=0.0.0.0 dst=0.0.0.0 sport=1 dport=2\n"
    assert b"<master><src></src><dst></dst></master>" in format_expectations(batch, 0, 1, XML)
