# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person holds in hand: one flow, its tuples, and the kernel's names for their values."""

from pyconntrack.model.flow import (
    Counters,
    DccpInfo,
    Flow,
    Helper,
    Nat,
    SctpInfo,
    SequenceAdjust,
    SynProxy,
    TcpFlags,
    TcpInfo,
)
from pyconntrack.model.names import DccpRole, DccpState, Event, Protocol, SctpState, Status, TcpFlag, TcpState
from pyconntrack.model.tuple import IPAddress, Tuple

__all__ = [
    "Counters",
    "DccpInfo",
    "DccpRole",
    "DccpState",
    "Event",
    "Flow",
    "Helper",
    "IPAddress",
    "Nat",
    "Protocol",
    "SctpInfo",
    "SctpState",
    "SequenceAdjust",
    "Status",
    "SynProxy",
    "TcpFlag",
    "TcpFlags",
    "TcpInfo",
    "TcpState",
    "Tuple",
]
