# SPDX-License-Identifier: GPL-2.0-or-later
"""The event filter as a socket filter: the kernel drops an event before it is queued.

The program decides as EventFilter of core/filter.pyx does, and is made from the same rules. What it cannot
decide passes: messages of other kinds, datagrams of more than one message, flows without the attribute that
is asked for. So EventFilter stays behind it. The end of a flow (CT_DELETE) is dropped where the flow's
protocol or addresses are not wanted, since these are the same all its life; its state never matters.

Attributes are found by the kernel's own loads, SKF_AD_NLATTR and SKF_AD_NLATTR_NEST of linux/filter.h, which
take from the accumulator where to look, and from the index register which type, and give the offset of the
first such attribute, or 0. Offsets count from the netlink header.
"""

from __future__ import annotations

import _socket
import socket
import struct
import sys
from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import TypedDict

from pyconntrack.core.filter import merge_networks
from pyconntrack.kernel.bpf import (
    JUMP_EQUAL,
    JUMP_EQUAL_X,
    LD_BYTE,
    LD_BYTE_AT_X,
    LD_HALF,
    LD_LENGTH,
    LD_MEMORY,
    LD_NUMBER,
    LD_WORD,
    LD_WORD_AT_X,
    LDX_NUMBER,
    OR_X,
    RETURN,
    SHIFT_LEFT,
    STORE,
    TAX,
    Assembler,
    Label,
    add_search,
)

SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; the socket module does not have it."""

_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF
_FIND = _ANCILLARY + 12  # SKF_AD_NLATTR
_FIND_WITHIN = _ANCILLARY + 16  # SKF_AD_NLATTR_NEST

_EVERYTHING, _NOTHING = 0xFFFFFFFF, 0

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
_TYPE_AT = 4
_ATTRIBUTES_AT = 20
_VALUE_AT = 4
_NEW, _DELETE = 0x0100, 0x0102
_TUPLE_ORIGINAL, _TUPLE_REPLY, _PROTOCOL_INFO = 1, 2, 4
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL, _PROTOCOL_NUMBER = 1, 2, 1
_IPV4_SOURCE, _IPV4_DESTINATION, _IPV6_SOURCE, _IPV6_DESTINATION = 1, 2, 3, 4
_INFO_TCP, _INFO_DCCP, _INFO_SCTP, _STATE = 1, 2, 3, 1

_STATES_OF = ((6, _INFO_TCP), (132, _INFO_SCTP), (33, _INFO_DCCP))
# A state from here on is none that a list can name.
_STATE_LIMIT = 32

# Places of the program's memory.
_ORIGINAL, _ADDRESSES, _INFO, _WORDS = 0, 1, 2, 3


class FilterRules(TypedDict, total=False):
    """What EventFilter takes, and means the same here."""

    protocols: Collection[int] | None
    accept_protocols: bool
    networks: Iterable[tuple[bytes, int]] | None
    accept_networks: bool
    states: Mapping[int, Collection[int]] | None
    accept_states: bool


def socket_filter(
    *,
    protocols: Collection[int] | None = None,
    accept_protocols: bool = True,
    networks: Iterable[tuple[bytes, int]] | None = None,
    accept_networks: bool = True,
    states: Mapping[int, Collection[int]] | None = None,
    accept_states: bool = True,
) -> bytes:
    """The program, an array of struct sock_filter (linux/filter.h). The arguments are those of EventFilter.

    Raises ValueError where it would be longer than the 4096 instructions that the kernel takes.
    """
    program = _Program()
    program.pass_other_messages()
    if protocols is not None or networks is not None:
        program.find_original()
    if protocols is not None:
        program.check_protocol(protocols, accept_protocols)
    if networks is not None:
        program.check_addresses(list(networks), accept_networks)
    if states is not None:
        program.check_state(states, accept_states)
    return program.finish()


def attach(sock: _socket.socket, program: bytes) -> None:
    """Let the kernel decide over what the socket receives from now on, in place of an earlier program.

    Raises OSError: EINVAL for what is no program, ENOMEM beyond the sysctl net.core.optmem_max.
    """
    held = array("B", program)
    address, length = held.buffer_info()
    # struct sock_fprog: the number of instructions, and where they are.
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", length // 8, address))


class _Program:
    """The steps that a message goes through, in their order: each drops it, passes it, or goes on."""

    def __init__(self) -> None:
        self._code = Assembler()
        self._pass = Label()
        self._drop = Label()

    def finish(self) -> bytes:
        self._code.place(self._pass)
        self._code.add(RETURN, _EVERYTHING)
        self._code.place(self._drop)
        self._code.add(RETURN, _NOTHING)
        return self._code.assemble()

    def pass_other_messages(self) -> None:
        """Go on with one message that tells of a flow."""
        self._compare_lengths()
        flow, not_new = Label(), Label()
        self._code.add(LD_HALF, _TYPE_AT)
        self._code.branch(JUMP_EQUAL, _as_loaded(_NEW), flow, not_new)
        self._code.place(not_new)
        self._code.branch(JUMP_EQUAL, _as_loaded(_DELETE), flow, self._pass)
        self._code.place(flow)

    def _compare_lengths(self) -> None:
        """Pass a datagram that is not as long as its first message says, in the machine's byte order."""
        going_on = Label()
        if sys.byteorder == "big":
            self._code.add(LD_WORD, 0)
        else:
            short = Label()
            self._code.add(LD_HALF, 2)
            self._code.branch(JUMP_EQUAL, 0, short, self._pass)
            self._code.place(short)
            self._code.add(LD_BYTE, 1)
            self._code.add(SHIFT_LEFT, 8)
            self._code.add(TAX)
            self._code.add(LD_BYTE, 0)
            self._code.add(OR_X)
        self._code.add(TAX)
        self._code.add(LD_LENGTH)
        self._code.branch(JUMP_EQUAL_X, 0, going_on, self._pass)
        self._code.place(going_on)

    def find_original(self) -> None:
        self._find(_TUPLE_ORIGINAL, self._pass)
        self._code.add(STORE, _ORIGINAL)

    def check_protocol(self, numbers: Collection[int], accept: bool) -> None:
        going_on = Label()
        self._code.add(LD_MEMORY, _ORIGINAL)
        self._find_within(_TUPLE_PROTOCOL, self._pass)
        self._find_within(_PROTOCOL_NUMBER, self._pass)
        self._search_byte(numbers, *self._outcomes(accept, going_on))
        self._code.place(going_on)

    def check_addresses(self, networks: list[tuple[bytes, int]], accept: bool) -> None:
        """The source of the original direction, and where it is not listed that of the reply."""
        going_on, ipv6 = Label(), Label()
        outcomes = self._outcomes(accept, going_on)
        self._code.add(LD_MEMORY, _ORIGINAL)
        self._find_within(_TUPLE_ADDRESSES, self._pass)
        self._code.add(STORE, _ADDRESSES)
        self._find_within(_IPV4_SOURCE, ipv6)
        self._check_family(networks, 4, _IPV4_SOURCE, _IPV4_DESTINATION, outcomes)
        self._code.place(ipv6)
        self._code.add(LD_MEMORY, _ADDRESSES)
        self._find_within(_IPV6_SOURCE, self._pass)
        self._check_family(networks, 16, _IPV6_SOURCE, _IPV6_DESTINATION, outcomes)
        self._code.place(going_on)

    def _check_family(
        self,
        networks: list[tuple[bytes, int]],
        size: int,
        source: int,
        destination: int,
        outcomes: tuple[Label, Label],
    ) -> None:
        """Both addresses, of one family; the accumulator is where the first one is."""
        ranges = merge_networks(network for network in networks if len(network[0]) == size)
        listed, unlisted = outcomes
        if not ranges:
            self._code.jump(unlisted)
            return
        other, no_reply, found = Label(), Label(), Label()
        self._search_address(ranges, size, listed, other)
        self._code.place(other)
        self._find(_TUPLE_REPLY, no_reply)
        self._find_within(_TUPLE_ADDRESSES, self._pass)
        self._find_within(source, self._pass)
        self._code.jump(found)
        self._code.place(no_reply)
        self._code.add(LD_MEMORY, _ADDRESSES)
        self._find_within(destination, self._pass)
        self._code.place(found)
        self._search_address(ranges, size, listed, unlisted)

    def check_state(self, states: Mapping[int, Collection[int]], accept: bool) -> None:
        going_on = Label()
        self._code.add(LD_HALF, _TYPE_AT)
        self._code.branch(JUMP_EQUAL, _as_loaded(_DELETE), self._pass, going_on)
        self._code.place(going_on)
        self._find(_PROTOCOL_INFO, self._pass)
        self._code.add(STORE, _INFO)
        for protocol, info in _STATES_OF:
            other = Label()
            self._code.add(LD_MEMORY, _INFO)
            self._find_within(info, other)
            self._check_state_of(states.get(protocol, ()), accept)
            self._code.place(other)

    def _check_state_of(self, numbers: Collection[int], accept: bool) -> None:
        """Pass or drop, in any case: a flow has one protocol."""
        if not numbers:
            self._code.jump(self._pass)
            return
        self._find_within(_STATE, self._pass)
        known = [number for number in range(_STATE_LIMIT) if (number in numbers) is not accept]
        self._search_byte(known, self._drop, self._pass)

    def _outcomes(self, accept: bool, going_on: Label) -> tuple[Label, Label]:
        """Where to go with what is on a list, and with what is not."""
        return (going_on, self._drop) if accept else (self._drop, going_on)

    def _find(self, kind: int, missing: Label) -> None:
        """Find an attribute of the message itself: its offset into the accumulator."""
        self._code.add(LD_NUMBER, _ATTRIBUTES_AT)
        self._look(_FIND, kind, missing)

    def _find_within(self, kind: int, missing: Label) -> None:
        """Find an attribute within the one that the accumulator is the offset of."""
        self._look(_FIND_WITHIN, kind, missing)

    def _look(self, how: int, kind: int, missing: Label) -> None:
        found = Label()
        self._code.add(LDX_NUMBER, kind)
        self._code.add(LD_WORD, how)
        self._code.branch(JUMP_EQUAL, 0, missing, found)
        self._code.place(found)

    def _search_byte(self, numbers: Collection[int], listed: Label, unlisted: Label) -> None:
        ranges = merge_networks((bytes([0, 0, 0, number]), 32) for number in numbers)
        self._code.add(TAX)
        self._code.add(LD_BYTE_AT_X, _VALUE_AT)
        add_search(self._code, ranges, 32, _WORDS, listed, unlisted)

    def _search_address(
        self, ranges: list[tuple[int, int]], size: int, listed: Label, unlisted: Label
    ) -> None:
        self._code.add(TAX)
        # Read once: the kernel makes many instructions of each load from the message, and bounds their room.
        for word in range(1, size // 4):
            self._code.add(LD_WORD_AT_X, _VALUE_AT + 4 * word)
            self._code.add(STORE, _WORDS + word)
        self._code.add(LD_WORD_AT_X, _VALUE_AT)
        add_search(self._code, ranges, 8 * size, _WORDS, listed, unlisted)


def _as_loaded(number: int) -> int:
    """What BPF's big-endian load makes of a 16-bit number in the machine's byte order."""
    return int.from_bytes(struct.pack("=H", number), "big")
