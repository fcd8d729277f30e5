# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers in user space, as the kernel knows them (nfnetlink_cthelper)."""

import errno
from collections.abc import Iterator, Mapping

from pyconntrack.core.netlink import attributes
from pyconntrack.kernel.closing import Closing
from pyconntrack.kernel.netlink_attributes import nested, number, number8, number16, number32, string, text
from pyconntrack.kernel.subsystem import DELETE, GET, NEW, NLM_F_ACK, NLM_F_CREATE, Subsystem
from pyconntrack.model.userspace_helper import (
    MAX_EXPECTATION_POLICIES,
    MAX_NAME_BYTES,
    ExpectationPolicy,
    UserspaceHelper,
)

# linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_cthelper.h
NFNL_SUBSYS_CTHELPER = 9
NAME, TUPLE, QUEUE, POLICY, PRIVATE_BYTES, STATUS = range(1, 7)
TUPLE_FAMILY, TUPLE_PROTOCOL = 1, 2
POLICY_COUNT, POLICY_FIRST = 1, 2
POLICY_NAME, POLICY_MAXIMUM, POLICY_TIMEOUT = 1, 2, 3

_MEANINGS = {
    errno.EINVAL: "not a valid helper, or another one than that of this name which exists",
    errno.EBUSY: "a helper of this name exists, with other expectations or private data",
}


class UserspaceHelpers(Closing):
    """The user-space helpers of the kernel: iterate them, get, add, disable and delete.

    All network namespaces share them (seen with Linux 6.1). A context manager. `namespace` as for
    ConntrackTable. Everything raises ConntrackError where the kernel refuses, SubsystemMissingError where it
    has no nfnetlink_cthelper; reading, too, needs CAP_NET_ADMIN.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._subsystem = Subsystem(
            NFNL_SUBSYS_CTHELPER, "nfnetlink_cthelper", "user-space helper", _MEANINGS, namespace
        )

    def close(self) -> None:
        """Close the socket. Harmless a second time."""
        self._subsystem.close()

    def __iter__(self) -> Iterator[UserspaceHelper]:
        """All helpers."""
        return iter([read_helper(answer) for answer in self._subsystem.dump()])

    def get(self, name: str, family: int | None = None, protocol: int | None = None) -> UserspaceHelper:
        """The first helper of this name, and of this family and protocol where they are given.

        Family and protocol go together. Raises ObjectNotFoundError, ValueError.
        """
        identity = _identity(name, family, protocol)
        return read_helper(self._subsystem.ask_one(GET, *identity))

    def find(self, name: str, family: int, protocol: int) -> UserspaceHelper | None:
        """The helper of this name, family and protocol; None where the name is only another one's.

        So the kernel answers. Raises ObjectNotFoundError where no helper has the name.
        """
        answers = self._subsystem.ask(GET, NLM_F_ACK, *_identity(name, family, protocol))
        return read_helper(answers[0]) if answers else None

    def add(self, helper: UserspaceHelper) -> None:
        """Add a helper, or change queue, status and the numbers of the expectations of one that exists.

        Raises ObjectExistsError, ValueError.
        """
        self._subsystem.ask(NEW, NLM_F_ACK | NLM_F_CREATE, *helper_attributes(helper))

    def disable(self, name: str, family: int, protocol: int) -> None:
        """Have no more packets queued for a helper. Raises ValueError."""
        status = number32(STATUS, 0)
        identity = _identity(name, family, protocol)
        self._subsystem.ask(NEW, NLM_F_ACK | NLM_F_CREATE, *identity, status)

    def delete(self, name: str, family: int | None = None, protocol: int | None = None) -> None:
        """Delete the helpers of this name, and of this family and protocol where they are given.

        Raises ObjectNotFoundError, ObjectInUseError, ValueError.
        """
        self._subsystem.ask(DELETE, NLM_F_ACK, *_identity(name, family, protocol))

    def flush(self) -> None:
        """Delete all helpers that nothing uses."""
        self._subsystem.ask(DELETE, NLM_F_ACK)


def helper_attributes(helper: UserspaceHelper) -> list[bytes]:
    """What is sent to the kernel for a helper. Raises ValueError."""
    name, kind = _identity(helper.name, helper.family, helper.protocol)
    content = [name]
    if helper.queue is not None:
        content.append(number32(QUEUE, helper.queue))
    content += [number32(PRIVATE_BYTES, helper.private_bytes), kind, _policies(helper.expectations)]
    if helper.enabled is not None:
        content.append(number32(STATUS, helper.enabled))
    return content


def read_helper(answer: Mapping[int, bytes]) -> UserspaceHelper:
    """A helper from the attributes by which the kernel tells it."""
    kind = attributes(answer.get(TUPLE, b""))
    return UserspaceHelper(
        name=text(answer.get(NAME, b"")),
        family=number(kind.get(TUPLE_FAMILY, b"")),
        protocol=number(kind.get(TUPLE_PROTOCOL, b"")),
        queue=number(answer.get(QUEUE, b"")),
        expectations=_read_policies(attributes(answer.get(POLICY, b""))),
        private_bytes=number(answer.get(PRIVATE_BYTES, b"")),
        enabled=bool(number(answer.get(STATUS, b""))),
    )


def _identity(name: str, family: int | None, protocol: int | None) -> list[bytes]:
    identity = [string(NAME, name, MAX_NAME_BYTES)]
    if family is not None and protocol is not None:
        numbers = number16(TUPLE_FAMILY, family), number8(TUPLE_PROTOCOL, protocol)
        identity.append(nested(TUPLE, *numbers))
    elif family is not None or protocol is not None:
        raise ValueError("a helper's family and protocol go together")
    return identity


def _policies(expectations: tuple[ExpectationPolicy, ...]) -> bytes:
    if len(expectations) > MAX_EXPECTATION_POLICIES:
        raise ValueError(f"more than {MAX_EXPECTATION_POLICIES} policies of expectations")
    policies = [
        nested(
            POLICY_FIRST + position,
            string(POLICY_NAME, policy.name, MAX_NAME_BYTES),
            number32(POLICY_MAXIMUM, policy.maximum),
            number32(POLICY_TIMEOUT, policy.timeout),
        )
        for position, policy in enumerate(expectations)
    ]
    return nested(POLICY, *policies, number32(POLICY_COUNT, len(policies)))


def _read_policies(policies: Mapping[int, bytes]) -> tuple[ExpectationPolicy, ...]:
    told = [attributes(policies[kind]) for kind in sorted(policies) if kind >= POLICY_FIRST]
    return tuple(
        ExpectationPolicy(
            text(values.get(POLICY_NAME, b"")),
            number(values.get(POLICY_MAXIMUM, b"")),
            number(values.get(POLICY_TIMEOUT, b"")),
        )
        for values in told
    )
