# SPDX-License-Identifier: GPL-2.0-or-later
"""Timeout policies: how long a flow may live in each state of its protocol, in seconds."""

from typing import NamedTuple

from pyconntrack.model.names import Protocol

GENERIC = 255
"""The layer 4 protocol number that stands for every protocol that connection tracking does not know."""

MAX_NAME_BYTES = 31
"""CTNL_TIMEOUT_NAME_MAX without the end of the string, linux/netfilter/nfnetlink_cttimeout.h."""

_ONE = ("TIMEOUT",)
_TWO = ("UNREPLIED", "REPLIED")

TIMEOUT_STATES: dict[int, tuple[str, ...]] = {
    Protocol.ICMP: _ONE,
    Protocol.TCP: (
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT",
        "CLOSE_WAIT",
        "LAST_ACK",
        "TIME_WAIT",
        "CLOSE",
        "SYN_SENT2",
        "RETRANS",
        "UNACKNOWLEDGED",
    ),
    Protocol.UDP: _TWO,
    Protocol.DCCP: ("REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT"),
    Protocol.GRE: _TWO,
    Protocol.ICMPV6: _ONE,
    Protocol.SCTP: (
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
        "HEARTBEAT_SENT",
    ),
    Protocol.UDPLITE: _TWO,
    GENERIC: _ONE,
}
"""The states of each protocol, in the kernel's order: the first one is attribute 1 (CTA_TIMEOUT_TCP_SYN_SENT
and the like, linux/netfilter/nfnetlink_cttimeout.h). Kernels from 6.17 on have no DCCP.
"""


class TimeoutPolicy(NamedTuple):
    """Timeouts in seconds by the state's name, for one family (AF_INET, AF_INET6) and layer 4 protocol.

    The kernel tells every state of a policy; one that is added may leave out those that shall get the
    protocol's default.
    """

    name: str
    family: int
    protocol: int
    timeouts: dict[str, int]
    rules: int = 0
    """How many rules use it, as the kernel tells; what is given here is not sent."""

    def numbered(self) -> dict[int, int]:
        """Timeouts by attribute number, in its order.

        ValueError for a state that the protocol does not have, or a timeout that does not fit into 32 bits.
        """
        states = TIMEOUT_STATES.get(self.protocol, ())
        for state, timeout in self.timeouts.items():
            if state not in states:
                known = ", ".join(states) or "none"
                raise ValueError(f"{state!r} is no state of protocol {self.protocol}; it has: {known}")
            if not 0 <= timeout < 1 << 32:
                raise ValueError(f"a timeout of {timeout} s does not fit into 32 bits")
        numbered = enumerate(states, start=1)
        return {number: self.timeouts[state] for number, state in numbered if state in self.timeouts}


def named_timeouts(protocol: int, numbered: dict[int, int]) -> dict[str, int]:
    """Timeouts by the state's name, in the kernel's order, without those that have no name here."""
    states = enumerate(TIMEOUT_STATES.get(protocol, ()), start=1)
    return {state: numbered[number] for number, state in states if number in numbered}
