# SPDX-License-Identifier: GPL-2.0-or-later
"""An expectation: a connection that the helper of another one expects. None stands for what the kernel did
not say.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

from pyconntrack.core.expectation_batch import ExpectationBatch
from pyconntrack.model.names import Event, named
from pyconntrack.model.tuple import Tuple


class ExpectationFlag(IntFlag):
    """NF_CT_EXPECT_*, linux/netfilter/nf_conntrack_common.h."""

    PERMANENT = 1 << 0
    """It stays when it is fulfilled."""
    INACTIVE = 1 << 1
    """It is not yet compared with packets."""
    USERSPACE = 1 << 2
    """A helper in user space made it."""


class Direction(IntEnum):
    """Of a flow (IP_CT_DIR_*, linux/netfilter/nf_conntrack_tuple_common.h)."""

    ORIGINAL = 0
    REPLY = 1


class ExpectationNat(NamedTuple):
    """How the expected flow is translated.

    `tuple` has in its source what the helper noted: the address and port before translation; `direction` is
    that of the master in which the expected flow runs.
    """

    direction: Direction | int
    tuple: Tuple


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation (CTA_EXPECT_*, linux/netfilter/nfnetlink_conntrack.h). `timeout` is in seconds.

    `expected` is what the first packet looks like, in the bits that are set in the addresses and ports of
    `mask`; the kernel compares the source in the mask's bits, and the destination in all of them. `master` is
    the original tuple of the flow whose helper expects it.
    """

    expected: Tuple | None = None
    mask: Tuple | None = None
    master: Tuple | None = None
    timeout: int | None = None
    id: int | None = None
    zone: int | None = None
    flags: ExpectationFlag | None = None
    class_: int | None = None
    """Which of the helper's policies holds."""
    helper: str | None = None
    function: str | None = None
    """The kernel's function that sets up the expected flow, by its name, such as nat-follow-master."""
    nat: ExpectationNat | None = None
    event: Event = Event.NONE

    @classmethod
    def from_batch(cls, batch: ExpectationBatch, index: int) -> "Expectation":
        """The expectation at `index` of a batch. Raises IndexError."""
        return expectation_of(batch.unpack(index))

    def add_to(self, batch: ExpectationBatch) -> int:
        """Append to a batch; the index there.

        Raises OverflowError for a number out of range, ValueError.
        """
        return batch.pack(values_of(self))


TUPLES = ("expected", "mask", "master")
PLAIN = ("timeout", "id", "zone", "flags", "class_", "helper", "function")


def expectation_of(values: dict[str, Any]) -> Expectation:
    """An expectation from the attributes of a record, as ExpectationBatch.unpack gives them."""
    fields: dict[str, Any] = {name: values[name] for name in PLAIN if name in values}
    fields |= {name: Tuple.from_values(values[name]) for name in TUPLES if name in values}
    if "flags" in fields:
        fields["flags"] = ExpectationFlag(fields["flags"])
    if "nat" in values:
        direction, translated = values["nat"]
        fields["nat"] = ExpectationNat(named(Direction, direction), Tuple.from_values(translated))
    return Expectation(event=Event(values["event"]), **fields)


def values_of(expectation: Expectation) -> dict[str, Any]:
    """The attributes of a record, as ExpectationBatch.pack takes them."""
    values: dict[str, Any] = {"event": int(expectation.event)}
    for name in PLAIN:
        value = getattr(expectation, name)
        if value is not None:
            values[name] = value
    for name in TUPLES:
        given: Tuple | None = getattr(expectation, name)
        if given is not None:
            values[name] = given.values()
    if expectation.nat is not None:
        values["nat"] = (int(expectation.nat.direction), expectation.nat.tuple.values())
    return values
