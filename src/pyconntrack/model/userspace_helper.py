# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers in user space: what the kernel must know of a program that finds a protocol's expected flows.

The kernel queues the packets of the flows that a rule gives to the helper (NFQUEUE); a program such as
conntrackd reads them and tells the expectations.
"""

from typing import NamedTuple

from pyconntrack.model.names import Protocol

MAX_NAME_BYTES = 15
"""NF_CT_HELPER_NAME_LEN without the end of the string, net/netfilter/nf_conntrack_helper.h."""

MAX_EXPECTATION_POLICIES = 4
"""NF_CT_MAX_EXPECT_CLASSES, linux/netfilter/nf_conntrack_common.h."""


class ExpectationPolicy(NamedTuple):
    """How many expectations of one class a flow may have at a time, and how many seconds each lives."""

    name: str
    maximum: int
    timeout: int


class UserspaceHelper(NamedTuple):
    """A helper for one layer 3 family (AF_INET, AF_INET6) and layer 4 protocol.

    `private_bytes` is what the kernel keeps for the helper with each flow. `enabled` says whether packets are
    queued; None is not to tell, which for a new helper is the kernel's choice.
    """

    name: str
    family: int
    protocol: int
    queue: int | None = None
    expectations: tuple[ExpectationPolicy, ...] = ()
    private_bytes: int = 0
    enabled: bool | None = None


class _Known(NamedTuple):
    protocols: tuple[Protocol, ...]
    maximum: int
    timeout: int
    private_bytes: int


_TCP, _UDP = (Protocol.TCP,), (Protocol.UDP,)
_BOTH = (*_TCP, *_UDP)

_KNOWN = {
    "amanda": _Known(_UDP, 3, 180, 0),
    "dhcpv6": _Known(_UDP, 1, 300, 0),
    "ftp": _Known(_TCP, 1, 300, 24),
    "mdns": _Known(_UDP, 8, 30, 0),
    "rpc": _Known(_BOTH, 1, 300, 16),
    "sane": _Known(_TCP, 1, 300, 4),
    "slp": _Known(_UDP, 8, 16, 0),
    "ssdp": _Known(_BOTH, 8, 300, 0),
    "tftp": _Known(_UDP, 1, 300, 0),
    "tns": _Known(_TCP, 1, 300, 1),
}

KNOWN_HELPERS = tuple(_KNOWN)
"""The helpers that conntrackd 1.4.7 brings."""


def protocols_of_helper(name: str) -> frozenset[int]:
    """The layer 4 protocols that one of KNOWN_HELPERS reads."""
    return frozenset(_KNOWN[name].protocols)


def known_helper(name: str, family: int, protocol: int) -> UserspaceHelper | None:
    """A helper of conntrackd, as nfct 1.4.7 describes it to the kernel; None where it has none such."""
    known = _KNOWN.get(name)
    if known is None or protocol not in known.protocols:
        return None
    expectations = (ExpectationPolicy(name, known.maximum, known.timeout),)
    return UserspaceHelper(name, family, protocol, None, expectations, known.private_bytes)
