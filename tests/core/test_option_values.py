# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of conntrack's options, seen through the parser. Numbers are read as the C tool reads them."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyconntrack.core.command_line import parse
from tests.core.support_command_line import labels, parsed, refused

UDP = "-I -p udp -s 192.0.2.1 -d 192.0.2.2 --dport 2 -t 9 --sport 1"
NUMBERS = [
    # The text; read as decimal, and with a prefix for other bases.
    ("1", 1, 1),
    ("0x10", 0, 16),
    ("010", 10, 8),
    (" 5", 5, 5),
    ("+5", 5, 5),
    ("-1", 0xFFFFFFFF, 0xFFFFFFFF),
    ("65536", 65536, 65536),
    ("4294967295", 0xFFFFFFFF, 0xFFFFFFFF),
    ("4294967296", 0, 0),
    ("99999999999999999999", 0xFFFFFFFF, 0xFFFFFFFF),
    ("5x", 5, 5),
    ("x", 0, 0),
    ("", 0, 0),
    ("1.5", 1, 1),
    ("-4294967295", 1, 1),
    ("08", 8, 0),
]


def created(*words: str) -> dict[str, object]:
    texts = [word.encode() for word in [*UDP.split(), *words]]
    return dict(parse(texts, labels).template.unpack(0))


@pytest.mark.parametrize(("text", "decimal", "prefixed"), NUMBERS)
def test_numbers(text: str, decimal: int, prefixed: int) -> None:
    assert created("-t", text)["timeout"] == decimal
    assert created("-m", text)["mark"] == prefixed
    assert created("-w", text)["zone"] == prefixed & 0xFFFF
    original = created("--sport", text)["original"]
    assert isinstance(original, tuple) and original[4] == decimal & 0xFFFF


@given(st.integers(0, 0xFFFFFFFF), st.sampled_from(("{}", "{:#x}", "0{:o}")))
def test_any_mark(number: int, form: str) -> None:
    assert created("-m", form.format(number))["mark"] == number


@pytest.mark.parametrize(
    ("text", "mark", "mask"), [("1/2", 1, 2), ("/2", 0, 2), ("1/", 1, 0), ("0x5/0x7", 5, 7), ("1/2/3", 1, 2)]
)
def test_mark_and_mask(text: str, mark: int, mask: int) -> None:
    values = parsed(f"-U -m {text}").template.unpack(0)
    assert (values["mark"], values["mark_mask"]) == (mark, mask)
    assert "mark_mask" not in parsed("-U -m 5").template.unpack(0)


def source_of(text: str) -> bytes:
    words = [b"-I", b"-p", b"99", b"-t", b"9", b"-s", text.encode(), b"-d", text.encode()]
    original = parse(words, labels).template.unpack(0)["original"]
    assert isinstance(original, tuple) and isinstance(original[2], bytes)
    return original[2]


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_addresses(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert source_of(str(address)) == address.packed
    assert source_of(address.exploded) == address.packed


@pytest.mark.parametrize("text", ["1.1.1", "1", "0x1.1.1.1", "010.1.1.1", "1.2", "4294967295", "1.1.1.1 x"])
def test_addresses_as_inet_aton_reads_them(text: str) -> None:
    assert source_of(text) == socket.inet_aton(text)


@given(st.text(alphabet="0123456789abcf.:x/[] ", max_size=20))
def test_any_address_text(text: str) -> None:
    """What is taken is what the C library takes."""
    words = [b"-L", b"-r", text.encode()]
    try:
        parse(words, labels)
    except Exception as error:
        if "CIDR" not in str(error):
            assert str(error) in (f"Invalid IP address `{text}'", "Invalid netmask")
            if "/" not in text:
                with pytest.raises(OSError):
                    socket.inet_aton(text)
                with pytest.raises(OSError):
                    socket.inet_pton(socket.AF_INET6, text)
        return
    plain = text.removesuffix("/")
    try:
        socket.inet_aton(plain)
    except OSError:
        socket.inet_pton(socket.AF_INET6, plain)


@given(st.integers(0, 32), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_prefixes(length: int, wanted: int, found: int) -> None:
    network = ipaddress.IPv4Network((wanted, length), strict=False)
    flow = parsed(f"-I -p 99 -t 9 -s {ipaddress.IPv4Address(found)} -d 192.0.2.1").template
    match = parsed(f"-L -s {ipaddress.IPv4Address(wanted)}/{length}").match
    assert match.matches(flow, 0) == (ipaddress.IPv4Address(found) in network)


@given(st.integers(0, 128), st.integers(0, 127))
def test_ipv6_prefixes(length: int, differing: int) -> None:
    found = ipaddress.IPv6Address(0x20010DB8 << 96 ^ 1 << 127 - differing)
    flow = parsed(f"-I -p 99 -t 9 -s {found} -d ::1").template
    assert parsed(f"-L -s 2001:db8::/{length}").match.matches(flow, 0) == (differing >= length)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("ASSURED", 0x0C),
        ("assured", 0x0C),
        ("a", 0x0C),
        ("SEEN", 0x0A),
        ("UNSET", 0x08),
        ("U", 0x08),
        ("UNREPLIED", 0x08),
        ("FIXED", 0x408),
        ("E", 0x09),
        ("OFFLOAD", 0x4008),
        ("H", 0x8008),
        ("S", 0x08),
        ("D", 0x08),
        ("ASSURED,SEEN_REPLY", 0x0E),
        ("UNSET,ASSURED", 0x0C),
    ],
)
def test_status(text: str, bits: int) -> None:
    assert created("-u", text)["status"] == bits


@pytest.mark.parametrize(
    "text", ["CONFIRMED", "DYING", "ASSUREDX", "NONE", " ASSURED", "UNREP", "unreplied", "SRC_NATX"]
)
def test_no_status(text: str) -> None:
    assert str(refused(f"-L -u '{text}'")) == f"Bad parameter `{text}'"


TCP = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
]
SCTP = [
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
    "HEARTBEAT_ACKED",
]
DCCP = [
    "NONE",
    "REQUEST",
    "RESPOND",
    "PARTOPEN",
    "OPEN",
    "CLOSEREQ",
    "CLOSING",
    "TIMEWAIT",
    "IGNORE",
    "INVALID",
]


@pytest.mark.parametrize(("protocol", "names"), [("tcp", TCP), ("sctp", SCTP), ("dccp", DCCP)])
def test_states(protocol: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        assert parsed(f"-U -p {protocol} --state {name}").template.unpack(0)[f"{protocol}_state"] == number
    assert parsed("-U -p tcp --state LISTEN").template.unpack(0)["tcp_state"] == 9


@pytest.mark.parametrize(
    ("text", "number"),
    [("TCP", 6), ("6", 6), ("0x6", 6), ("06", 6), ("010", 8), (" 6", 6), ("+6", 6), ("255", 255), ("ip", 0)],
)
def test_protocols(text: str, number: int) -> None:
    assert parsed(f"-L -p '{text}'").protocol == number


@pytest.mark.parametrize("text", ["256", "-1", "6x", "6 ", "", "unknown", "icmp6", "t", "mptcp"])
def test_no_protocol(text: str) -> None:
    assert str(refused(f"-L -p '{text}'")) == f"`{text}' unsupported protocol"


@given(st.integers(0, 0xFFFF), st.booleans())
def test_nat_endpoints(port: int, six: bool) -> None:
    """An IPv6 address in brackets, for its colons are not that of the port."""
    address = "[2001:db8::5]" if six else "203.0.113.5"
    line = f"-I -p 99 -t 9 {'-s ::1 -d ::2' if six else '-s 192.0.2.1 -d 192.0.2.2'} -g {address}:{port}"
    flow = parsed(line).template.unpack(0)
    assert flow["destination_nat_port"] == port
    assert flow["destination_nat_address"] == ipaddress.ip_address(address.strip("[]")).packed


def test_roles_and_tags() -> None:
    base = "-s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 -t 9"
    for text, role in (("client", 0), ("SERVER", 1), ("s", 1), ("", 0)):
        line = f"-I -p dccp {base} --state OPEN --role '{text}'"
        assert parsed(line).template.unpack(0)["dccp_role"] == role
    assert str(refused(f"-I -p dccp {base} --state OPEN --role x")) == "Unknown DCCP role `x'"
    flow = parsed(f"-I -p sctp {base} --state OPEN".replace("OPEN", "CLOSED --orig-vtag 5 --reply-vtag 6"))
    # In the machine's byte order, as the C tool writes them: on the wire, 5 is 05000000.
    assert socket.htonl(5) == flow.template.unpack(0)["sctp_vtag_original"]
