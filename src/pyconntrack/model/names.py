# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's names for protocols, states, status bits and flags.

A number that has no name here stays a number: kernels grow new ones.
"""

from enum import IntEnum, IntFlag
from functools import cache
from typing import TypeVar

E = TypeVar("E", bound=IntEnum)


class Protocol(IntEnum):
    """Layer 4 protocols that connection tracking knows by name (IPPROTO_*, linux/in.h).

    Any other number is tracked, too.
    """

    ICMP = 1
    TCP = 6
    UDP = 17
    DCCP = 33
    GRE = 47
    ICMPV6 = 58
    SCTP = 132
    UDPLITE = 136


class Event(IntEnum):
    """What happened to a flow that came as an event."""

    NONE = 0
    NEW = 1
    UPDATE = 2
    DESTROY = 3


class Status(IntFlag):
    """Status bits (IPS_*, linux/netfilter/nf_conntrack_common.h)."""

    EXPECTED = 1 << 0
    SEEN_REPLY = 1 << 1
    ASSURED = 1 << 2
    CONFIRMED = 1 << 3
    SRC_NAT = 1 << 4
    DST_NAT = 1 << 5
    SEQ_ADJUST = 1 << 6
    SRC_NAT_DONE = 1 << 7
    DST_NAT_DONE = 1 << 8
    DYING = 1 << 9
    FIXED_TIMEOUT = 1 << 10
    TEMPLATE = 1 << 11
    UNTRACKED = 1 << 12
    HELPER = 1 << 13
    OFFLOAD = 1 << 14
    HW_OFFLOAD = 1 << 15


class TcpState(IntEnum):
    """TCP_CONNTRACK_*, linux/netfilter/nf_conntrack_tcp.h."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9


class TcpFlag(IntFlag):
    """What window tracking knows of one direction (IP_CT_TCP_FLAG_*, linux/netfilter/nf_conntrack_tcp.h)."""

    WINDOW_SCALE = 0x01
    SACK_PERM = 0x02
    CLOSE_INIT = 0x04
    BE_LIBERAL = 0x08
    DATA_UNACKNOWLEDGED = 0x10
    MAXACK_SET = 0x20
    CHALLENGE_ACK = 0x40
    SIMULTANEOUS_OPEN = 0x80


class SctpState(IntEnum):
    """SCTP_CONNTRACK_*, linux/netfilter/nf_conntrack_sctp.h."""

    NONE = 0
    CLOSED = 1
    COOKIE_WAIT = 2
    COOKIE_ECHOED = 3
    ESTABLISHED = 4
    SHUTDOWN_SENT = 5
    SHUTDOWN_RECD = 6
    SHUTDOWN_ACK_SENT = 7
    HEARTBEAT_SENT = 8
    HEARTBEAT_ACKED = 9


class DccpState(IntEnum):
    """CT_DCCP_*, net/netfilter/nf_conntrack_proto_dccp.c, in kernels before 6.17."""

    NONE = 0
    REQUEST = 1
    RESPOND = 2
    PARTOPEN = 3
    OPEN = 4
    CLOSEREQ = 5
    CLOSING = 6
    TIMEWAIT = 7
    IGNORE = 8
    INVALID = 9


class DccpRole(IntEnum):
    """Which end the original direction's sender is (CT_DCCP_ROLE_*)."""

    CLIENT = 0
    SERVER = 1


def named(kind: type[E], number: int) -> E | int:
    """The number by its name, where it has one."""
    value: E | int = known(kind).get(number, number)
    return value


@cache
def known(kind: type[E]) -> dict[int, E]:
    """The names by number."""
    return {int(member): member for member in kind}
