# SPDX-License-Identifier: GPL-2.0-or-later
"""What a dump, a flush, a change or a stream of events selects."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pyconntrack.core.match import ALL, DESTINATION, SOURCE, FlowMatch

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from pyconntrack.model.flow import Nat
    from pyconntrack.model.tuple import IPAddress

    AddressFilter = IPAddress | IPv4Network | IPv6Network | str

# CTA_FILTER flags by the field of a tuple that each compares (net/netfilter/nf_conntrack_netlink.c).
FIELD_SOURCE = 0x001
FIELD_DESTINATION = 0x002
FIELD_ZONE = 0x004
FIELD_PROTOCOL = 0x008
FIELD_SOURCE_PORT = 0x010
FIELD_DESTINATION_PORT = 0x020
FIELD_ICMP_TYPE, FIELD_ICMP_CODE, FIELD_ICMP_ID = 0x040, 0x080, 0x100
FIELD_ICMPV6_TYPE, FIELD_ICMPV6_CODE, FIELD_ICMPV6_ID = 0x200, 0x400, 0x800

AF_INET, AF_INET6 = 2, 10
IPPROTO_ICMPV6 = 58
MOST_LABELS = 128


class TupleFilter(NamedTuple):
    """Fields that a tuple must have; None is any.

    `source` and `destination` are addresses, or networks such as "10.0.0.0/8"; bits behind the prefix do not
    count. Ports are also the keys of GRE. `zone` is the zone of the direction, be it of both or of this one.
    """

    source: "AddressFilter | None" = None
    destination: "AddressFilter | None" = None
    protocol: int | None = None
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    zone: int | None = None

    def fields(self) -> int:
        """The CTA_FILTER flags of what is given."""
        version6 = self.protocol == IPPROTO_ICMPV6
        flags = (
            (self.source, FIELD_SOURCE),
            (self.destination, FIELD_DESTINATION),
            (self.protocol, FIELD_PROTOCOL),
            (self.source_port, FIELD_SOURCE_PORT),
            (self.destination_port, FIELD_DESTINATION_PORT),
            (self.icmp_type, FIELD_ICMPV6_TYPE if version6 else FIELD_ICMP_TYPE),
            (self.icmp_code, FIELD_ICMPV6_CODE if version6 else FIELD_ICMP_CODE),
            (self.icmp_id, FIELD_ICMPV6_ID if version6 else FIELD_ICMP_ID),
            (self.zone, FIELD_ZONE),
        )
        return sum(flag for value, flag in flags if value is not None)

    def networks(self) -> "list[IPv4Network | IPv6Network | None]":
        """Source and destination; an address is a network of its own. Raises ValueError."""
        from ipaddress import ip_network

        return [
            None if value is None else ip_network(value, strict=False)
            for value in (self.source, self.destination)
        ]

    def values(self, family: int) -> tuple[int, int, bytes, bytes, int, int, int, int, int]:
        """For FlowBatch.pack, with zero for what is not given.

        ValueError where an address is of another family.
        """
        size = 4 if family == AF_INET else 16
        source, destination = (
            bytes(size) if network is None else network.network_address.packed for network in self.networks()
        )
        if len(source) != size or len(destination) != size:
            raise ValueError("an address of the filter is not of the family asked for")
        return (
            family,
            self.protocol or 0,
            source,
            destination,
            self.source_port or 0,
            self.destination_port or 0,
            self.icmp_id or 0,
            self.icmp_type or 0,
            self.icmp_code or 0,
        )


class TableFilter(NamedTuple):
    """What flows are selected: all conditions must hold; None is any.

    `mark` and `status` are compared in the bits of their masks; without a mask, `mark` in all and `status` in
    the bits given. `zone` is that of both directions; a flow that has no mark, security mark or zone has 0.
    `labels` are numbers, all of which must be set. `source_nat` and `destination_nat` are True for any
    translation of the source or destination, or what it must have become; `any_nat` asks for one of both.
    ICMP counts as translated where it passed the hooks of NAT, as for the conntrack command.

    The kernel selects as far as it can, the compiled core does the rest.
    """

    family: int = 0
    mark: int | None = None
    mark_mask: int = 0xFFFFFFFF
    status: int | None = None
    status_mask: int | None = None
    zone: int | None = None
    original: TupleFilter | None = None
    reply: TupleFilter | None = None
    id: int | None = None
    secmark: int | None = None
    labels: Collection[int] = ()
    tcp_state: int | None = None
    sctp_state: int | None = None
    dccp_state: int | None = None
    source_nat: "Nat | Literal[True] | None" = None
    destination_nat: "Nat | Literal[True] | None" = None
    any_nat: "Nat | Literal[True] | None" = None

    def match(self) -> FlowMatch:
        """The same for the compiled core. Raises ValueError, OverflowError."""
        family = self._family()
        values = self._values()
        options: dict[str, Any] = {}
        for name, fields in (("original", self.original), ("reply", self.reply)):
            if not fields:
                continue
            values[name] = fields.values(family or AF_INET)
            if fields.zone is not None:
                options[f"{name}_zone"] = fields.zone
            options[f"{name}_fields"] = fields.fields()
            prefix = "" if name == "original" else "reply_"
            source, destination = fields.networks()
            options[f"{prefix}source_mask"] = None if source is None else source.netmask.packed
            options[f"{prefix}destination_mask"] = None if destination is None else destination.netmask.packed
        return FlowMatch(
            family=family,
            values=values,
            status_unset=self._status_unset(),
            translation=self._translation(values),
            **options,
        )

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in ("zone", "id", "secmark", "tcp_state", "sctp_state", "dccp_state"):
            if getattr(self, name) is not None:
                values[name] = getattr(self, name)
        if self.mark is not None:
            values |= {"mark": self.mark, "mark_mask": self.mark_mask}
        if self.status is not None:
            values["status"] = self.status if self.status_mask is None else self.status & self.status_mask
        if self.labels:
            values["labels"] = label_bytes(self.labels)
        return values

    def _status_unset(self) -> int:
        if self.status is None or self.status_mask is None:
            return 0
        return self.status_mask & ~self.status

    def _translation(self, values: dict[str, Any]) -> int:
        """What must be translated; addresses and ports go into `values`."""
        if self.any_nat is not None and (self.source_nat is not None or self.destination_nat is not None):
            raise ValueError("any_nat goes without source_nat and destination_nat")
        translation = 0
        for bit, name, one in (
            (SOURCE, "source_nat", self.source_nat),
            (DESTINATION, "destination_nat", self.destination_nat),
        ):
            nat = one if self.any_nat is None else self.any_nat
            if nat is None:
                continue
            translation |= bit
            if nat is not True:
                values |= nat_values(name, nat)
        if translation and self.any_nat is None:
            translation |= ALL
        return translation

    def _family(self) -> int:
        """The family given, or that of an address."""
        found = self.family
        for fields in (self.original, self.reply):
            for network in fields.networks() if fields else ():
                if network is not None:
                    family = AF_INET if network.version == 4 else AF_INET6
                    if found not in (0, family):
                        raise ValueError("an address of the filter is not of the family asked for")
                    found = family
        return found


def label_bytes(labels: Collection[int]) -> bytes:
    """Numbers of labels as the bits that the kernel keeps. Raises ValueError."""
    import sys

    bits = 0
    for label in labels:
        if not 0 <= label < MOST_LABELS:
            raise ValueError(f"a label is a number from 0 to {MOST_LABELS - 1}, not {label}")
        bits |= 1 << label
    return bits.to_bytes(MOST_LABELS // 8, sys.byteorder)


def nat_values(name: str, nat: "Nat") -> dict[str, Any]:
    """For FlowBatch.pack. Raises ValueError."""
    from ipaddress import ip_address

    from pyconntrack.model.flow import Nat

    if not isinstance(nat, Nat):
        raise ValueError(f"{name} is True, for any, or a Nat, not {nat!r}")
    values: dict[str, Any] = {}
    if nat.address is not None:
        values[f"{name}_address"] = ip_address(nat.address).packed
    if nat.port is not None:
        values[f"{name}_port"] = nat.port
    return values
