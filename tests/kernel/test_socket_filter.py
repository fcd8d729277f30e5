# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket filter decides as the user-space filter does: in a machine of the tests, and in the kernel's."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyconntrack.kernel.bpf import MAXIMUM
from pyconntrack.kernel.socket_filter import FilterRules, attach, socket_filter
from tests.core.support_flows import TCP, UDP, FlowTuple, KernelFlow
from tests.core.support_netlink import attribute, destroy, event, message, nest
from tests.kernel.bpf_machine import passes
from tests.kernel.filter_rules import filter_rules, messages, user_space_passes

NETLINK_USERSOCK = 2
SYN_SENT, ESTABLISHED, TIME_WAIT = 1, 3, 7


class Kernel:
    """Two sockets of netlink's, one of which the other's messages reach through a program, in the kernel."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.receiver, self.sender = (
            stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK))
            for _ in range(2)
        )
        self.receiver.bind((0, 0))
        self.receiver.setblocking(False)
        self.address = self.receiver.getsockname()

    def passes(self, data: bytes) -> bool:
        """Whether the program lets a datagram through. A refusal is what netlink tells the sender of it."""
        with contextlib.suppress(ConnectionRefusedError):
            self.sender.sendto(data, self.address)
        try:
            received = self.receiver.recv(65536)
        except BlockingIOError:
            return False
        assert received == data
        return True


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with contextlib.ExitStack() as stack:
        try:
            yield Kernel(stack)
        except OSError as error:
            pytest.skip(f"no netlink sockets among processes: {error}")


def tcp(state: int, source: str = "10.0.0.1", destination: str = "10.0.0.2") -> KernelFlow:
    flow = KernelFlow(FlowTuple(socket.inet_aton(source), socket.inet_aton(destination), TCP, (1, 2)), id=1)
    flow.tcp = (state, 0, 0)
    return flow


@given(rules=filter_rules(), drawn=st.lists(messages(), min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_it_decides_as_user_space_does(rules: FilterRules, drawn: list[bytes]) -> None:
    program = socket_filter(**rules)
    for told in drawn:
        assert passes(program, told) == user_space_passes(rules, told)


@given(rules=filter_rules(), drawn=st.lists(messages(), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_kernel_decides_as_user_space_does(
    kernel: Kernel, rules: FilterRules, drawn: list[bytes]
) -> None:
    attach(kernel.receiver, socket_filter(**rules))
    for told in drawn:
        assert kernel.passes(told) == user_space_passes(rules, told)


@st.composite
def odd_messages(draw: st.DrawFn) -> bytes:
    """An event that is cut, lengthened, repeated, or has some of its bytes changed."""
    told = bytearray(draw(messages()))
    for _ in range(draw(st.integers(0, 4))):
        told[draw(st.integers(0, len(told) - 1))] = draw(st.integers(0, 255))
    odd = bytes(told[: draw(st.integers(1, len(told)))] if draw(st.booleans()) else told)
    odd += draw(st.binary(max_size=40)) if draw(st.booleans()) else b""
    return odd * draw(st.integers(1, 2))


@given(rules=filter_rules(), drawn=st.lists(odd_messages() | st.binary(min_size=1), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_messages_pass_or_are_dropped(kernel: Kernel, rules: FilterRules, drawn: list[bytes]) -> None:
    program = socket_filter(**rules)
    attach(kernel.receiver, program)
    for odd in drawn:
        assert kernel.passes(odd) == passes(program, odd)


def test_messages_of_other_kinds_pass() -> None:
    """Expectations, statistics, errors: the filter is one of flows."""
    program = socket_filter(protocols=[], networks=[], states={TCP: [ESTABLISHED]})
    told = event(tcp(TIME_WAIT), True, {"protocol"})
    assert not passes(program, told)
    for kind in (0x0000, 0x0002, 0x0003, 0x0101, 0x0103, 0x0105, 0x0200, 0x0202, 0xFFFF, 0x0001, 0x0201):
        assert passes(program, told[:4] + struct.pack("=H", kind) + told[6:]), hex(kind)


def test_two_messages_in_a_datagram_pass() -> None:
    program = socket_filter(protocols=[UDP])
    told = event(tcp(ESTABLISHED), True, {"protocol"})
    assert not passes(program, told)
    assert passes(program, told + told)


def test_a_flow_without_what_is_asked_for_passes() -> None:
    program = socket_filter(protocols=[UDP], networks=[(b"\x0a\0\0\1", 32)], states={TCP: [ESTABLISHED]})
    addresses = nest(1, attribute(1, b"\x0a\0\0\2"), attribute(2, b"\x0a\0\0\3"))
    udp = nest(2, attribute(1, b"\x11"))
    assert not passes(program, message(0x100, 0, 2, nest(1, addresses, udp)))
    assert passes(program, message(0x100, 0, 2, b""))
    assert passes(program, message(0x100, 0, 2, nest(1, addresses)))
    assert passes(program, message(0x100, 0, 2, nest(1, udp)))


def test_a_message_without_a_reply_is_taken_by_its_destination() -> None:
    """As by the user-space filter."""
    one_way = nest(
        1, nest(1, attribute(1, b"\x0a\0\0\2"), attribute(2, b"\x0a\0\0\1")), nest(2, attribute(1, b"\x11"))
    )
    for accept in (True, False):
        rules = FilterRules(networks=[(b"\x0a\0\0\1", 32)], accept_networks=accept)
        told = message(0x100, 0, 2, one_way)
        assert passes(socket_filter(**rules), told) == user_space_passes(rules, told) == accept


def test_the_end_of_a_flow_is_dropped_for_what_it_is_and_not_for_its_state() -> None:
    end = destroy(tcp(TIME_WAIT))
    assert passes(socket_filter(states={TCP: [ESTABLISHED]}), end)
    assert passes(socket_filter(protocols=[TCP], states={TCP: [ESTABLISHED]}), end)
    assert not passes(socket_filter(protocols=[UDP]), end)
    assert not passes(socket_filter(networks=[(b"\x0a\0\0\2", 32)], accept_networks=False), end)


def some_networks(random: Random, count: int, size: int, prefix: int) -> list[tuple[bytes, int]]:
    return [(bytes([10]) + random.randbytes(size - 1), prefix) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "size", "prefix"),
    [
        pytest.param(900, 4, 32, id="900 hosts"),
        pytest.param(900, 4, 26, id="900 networks"),
        pytest.param(200, 16, 128, id="200 IPv6 hosts"),
        pytest.param(400, 16, 64, id="400 IPv6 networks"),
    ],
)
def test_many_networks(kernel: Kernel, count: int, size: int, prefix: int) -> None:
    """Searches of thousands of instructions, whose jumps go farther than a conditional one reaches."""
    random = Random(count)
    listed = some_networks(random, count, size, prefix)
    rules = FilterRules(networks=listed)
    attach(kernel.receiver, socket_filter(**rules))
    host = (1 << (8 * size - prefix)) - 1
    told = []
    for address, _ in random.sample(listed, 100):
        first = int.from_bytes(address) & ~host
        for number in (first - 1, first, first | host, (first | host) + 1):
            near = number.to_bytes(size, "big")
            told.append(KernelFlow(FlowTuple(near, bytes(size), UDP, (1, 2)), id=1))
            told.append(KernelFlow(FlowTuple(bytes(size), near, UDP, (1, 2)), id=1))
    decisions = [kernel.passes(event(flow, True, ())) for flow in told]
    assert decisions == [user_space_passes(rules, event(flow, True, ())) for flow in told]
    assert any(decisions) and not all(decisions)


def test_a_program_that_is_too_long_is_refused(kernel: Kernel) -> None:
    random = Random(1)
    with pytest.raises(ValueError, match=str(MAXIMUM)):
        socket_filter(networks=some_networks(random, 5000, 4, 32))
    merged = [(bytes([10, 0, number // 256, number % 256]), 32) for number in range(5000)]
    attach(kernel.receiver, socket_filter(networks=merged))


def test_what_is_no_program_is_refused(kernel: Kernel) -> None:
    with pytest.raises(OSError) as caught:
        attach(kernel.receiver, bytes(8))
    assert caught.value.errno == errno.EINVAL
