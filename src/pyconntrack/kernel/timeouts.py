# SPDX-License-Identifier: GPL-2.0-or-later
"""Timeout policies in the kernel (nfnetlink_cttimeout), and the default timeouts of each protocol."""

import errno
from collections.abc import Iterator, Mapping

from pyconntrack.core.netlink import attributes
from pyconntrack.kernel.closing import Closing
from pyconntrack.kernel.netlink_attributes import nested, number, number8, number16, number32, string, text
from pyconntrack.kernel.subsystem import (
    DELETE,
    GET,
    NEW,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Subsystem,
)
from pyconntrack.model.timeout_policy import MAX_NAME_BYTES, TimeoutPolicy, named_timeouts

# linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_cttimeout.h
NFNL_SUBSYS_CTNETLINK_TIMEOUT = 8
DEFAULT_SET, DEFAULT_GET = 3, 4
NAME, FAMILY, PROTOCOL, DATA, USE = range(1, 6)

_MEANINGS = {
    errno.EINVAL: "no timeouts given, or the policy of this name has another family or protocol",
    errno.EOPNOTSUPP: "this kernel has no timeouts for this protocol",
}


class TimeoutPolicies(Closing):
    """The timeout policies of a network namespace: iterate them, get, add, replace and delete by name.

    A rule attaches one to flows: `iptables -t raw -A PREROUTING -p tcp -j CT --timeout NAME`. A context
    manager. `namespace` as for ConntrackTable. Everything raises ConntrackError where the kernel refuses,
    SubsystemMissingError where it has no nfnetlink_cttimeout; reading, too, needs CAP_NET_ADMIN.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._subsystem = Subsystem(
            NFNL_SUBSYS_CTNETLINK_TIMEOUT, "nfnetlink_cttimeout", "timeout policy", _MEANINGS, namespace
        )

    def close(self) -> None:
        """Close the socket. Harmless a second time."""
        self._subsystem.close()

    def __iter__(self) -> Iterator[TimeoutPolicy]:
        """All policies, in the order in which they were added."""
        return iter([_read(answer) for answer in self._subsystem.dump()])

    def get(self, name: str) -> TimeoutPolicy:
        """The policy of this name. Raises ObjectNotFoundError."""
        return _read(self._subsystem.ask_one(GET, _name(name)))

    def add(self, policy: TimeoutPolicy) -> None:
        """Add a policy; states that it does not tell get the protocol's default of now.

        The kernel wants at least one state. Raises ObjectExistsError, ValueError.
        """
        self._subsystem.ask(NEW, NLM_F_ACK | NLM_F_CREATE, _name(policy.name), *_kind(policy), _data(policy))

    def replace(self, policy: TimeoutPolicy) -> None:
        """Give the policy of this name these timeouts, also while rules use it; add it where there is none.

        Flows follow from their next packet on. States that it does not tell get the protocol's default.
        Family and protocol must be the same. Raises ValueError.
        """
        flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
        self._subsystem.ask(NEW, flags, _name(policy.name), *_kind(policy), _data(policy))

    def delete(self, name: str) -> None:
        """Delete the policy of this name.

        Raises ObjectNotFoundError; ObjectInUseError where a rule uses it.
        """
        self._subsystem.ask(DELETE, NLM_F_ACK, _name(name))

    def flush(self) -> None:
        """Delete all policies that no rule uses."""
        self._subsystem.ask(DELETE, NLM_F_ACK)

    def defaults(self, family: int, protocol: int) -> dict[str, int]:
        """The default timeouts of a protocol in seconds by state; the families share them."""
        kind = _kind(TimeoutPolicy("", family, protocol, {}))
        return _read(self._subsystem.ask_one(DEFAULT_GET, *kind)).timeouts

    def set_defaults(self, family: int, protocol: int, timeouts: Mapping[str, int]) -> None:
        """Set default timeouts of a protocol, in seconds by state, for flows without a policy.

        States that are not told keep what they have. Raises ValueError.
        """
        policy = TimeoutPolicy("", family, protocol, dict(timeouts))
        self._subsystem.ask(DEFAULT_SET, NLM_F_ACK, *_kind(policy), _data(policy))


def _name(name: str) -> bytes:
    return string(NAME, name, MAX_NAME_BYTES)


def _kind(policy: TimeoutPolicy) -> tuple[bytes, bytes]:
    return number16(FAMILY, policy.family), number8(PROTOCOL, policy.protocol)


def _data(policy: TimeoutPolicy) -> bytes:
    timeouts = [number32(state, timeout) for state, timeout in policy.numbered().items()]
    return nested(DATA, *timeouts) if timeouts else b""


def _read(answer: Mapping[int, bytes]) -> TimeoutPolicy:
    protocol = number(answer.get(PROTOCOL, b""))
    data = attributes(answer.get(DATA, b""))
    return TimeoutPolicy(
        name=text(answer.get(NAME, b"")),
        family=number(answer.get(FAMILY, b"")),
        protocol=protocol,
        timeouts=named_timeouts(protocol, {state: number(value) for state, value in data.items()}),
        # The kernel counts the policy's own place in its list, too.
        rules=max(number(answer.get(USE, b"")) - 1, 0),
    )
