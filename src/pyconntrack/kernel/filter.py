# SPDX-License-Identifier: GPL-2.0-or-later
"""What a dump or a flush selects, in the kernel."""

from typing import TYPE_CHECKING, Any, NamedTuple

from pyconntrack.core.batch import FlowBatch
from pyconntrack.core.kernel_codec import keep_addresses
from pyconntrack.core.requests import table_request

if TYPE_CHECKING:
    from pyconntrack.model.tuple import IPAddress

# CTA_FILTER flags by the field of a tuple that each compares (net/netfilter/nf_conntrack_netlink.c).
SOURCE = 0x001
DESTINATION = 0x002
ADDRESSES = SOURCE | DESTINATION
ZONE = 0x004
PROTOCOL = 0x008
SOURCE_PORT = 0x010
DESTINATION_PORT = 0x020
ICMP_TYPE, ICMP_CODE, ICMP_ID = 0x040, 0x080, 0x100
ICMPV6_TYPE, ICMPV6_CODE, ICMPV6_ID = 0x200, 0x400, 0x800

AF_INET, AF_INET6 = 2, 10
IPPROTO_ICMPV6 = 58


class TupleFilter(NamedTuple):
    """Fields that a tuple must have; None is any.

    Ports and ICMP fields need `protocol`. Linux 5.8 and newer.
    """

    source: "IPAddress | str | None" = None
    destination: "IPAddress | str | None" = None
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
            (self.source, SOURCE),
            (self.destination, DESTINATION),
            (self.protocol, PROTOCOL),
            (self.source_port, SOURCE_PORT),
            (self.destination_port, DESTINATION_PORT),
            (self.icmp_type, ICMPV6_TYPE if version6 else ICMP_TYPE),
            (self.icmp_code, ICMPV6_CODE if version6 else ICMP_CODE),
            (self.icmp_id, ICMPV6_ID if version6 else ICMP_ID),
            (self.zone, ZONE),
        )
        return sum(flag for value, flag in flags if value is not None)

    def values(self, family: int) -> tuple[int, int, bytes, bytes, int, int, int, int, int]:
        """For FlowBatch.pack, with zero for what is not given.

        ValueError where an address is of another family.
        """
        from ipaddress import ip_address

        size = 4 if family == AF_INET else 16
        packed = [
            bytes(size) if address is None else ip_address(address).packed
            for address in (self.source, self.destination)
        ]
        if any(len(address) != size for address in packed):
            raise ValueError("an address of the filter is not of the family asked for")
        return (
            family,
            self.protocol or 0,
            packed[0],
            packed[1],
            self.source_port or 0,
            self.destination_port or 0,
            self.icmp_id or 0,
            self.icmp_type or 0,
            self.icmp_code or 0,
        )


class TableFilter(NamedTuple):
    """What flows are selected: all conditions must hold; None is any.

    `mark` and `status` are compared in the bits of their masks; without a mask, `mark` in all and `status` in
    the bits given. `zone` and `status` need a recent kernel: an older one ignores what it does not know.
    """

    family: int = 0
    mark: int | None = None
    mark_mask: int = 0xFFFFFFFF
    status: int | None = None
    status_mask: int | None = None
    zone: int | None = None
    original: TupleFilter | None = None
    reply: TupleFilter | None = None

    def request(self, command: int, flags: int, sequence: int) -> bytes:
        """The request that carries it. Raises ValueError, OverflowError."""
        status = None
        if self.status is not None:
            status = (self.status, self.status if self.status_mask is None else self.status_mask)
        tuples, original, reply = self._tuples()
        if self.is_refined():
            original, reply = original & ~ADDRESSES, reply & ~ADDRESSES
        return table_request(
            command,
            flags,
            sequence,
            self._family(),
            mark=None if self.mark is None else (self.mark, self.mark_mask),
            status=status,
            zone=self.zone,
            tuples=tuples,
            original_fields=original,
            reply_fields=reply,
        )

    def is_refined(self) -> bool:
        """Whether the kernel's answer to request() has more than was selected, and refine() must follow.

        IPv6 addresses are compared here: Linux, up to 6.18 at least, leaves out just what is equal
        (ctnetlink_filter_match_tuple in net/netfilter/nf_conntrack_netlink.c).
        """
        given = [fields.fields() for fields in (self.original, self.reply) if fields]
        return self._family() == AF_INET6 and any(fields & ADDRESSES for fields in given)

    def refine(self, batch: FlowBatch, start: int) -> None:
        """Drop from index `start` on what was not selected."""
        tuples, original, reply = self._tuples()
        if tuples is not None and self.is_refined():
            keep_addresses(batch, start, tuples, original & ADDRESSES, reply & ADDRESSES)

    def _tuples(self) -> tuple[FlowBatch | None, int, int]:
        original = self.original.fields() if self.original else 0
        reply = self.reply.fields() if self.reply else 0
        if not original and not reply:
            return None, 0, 0
        family = self._family()
        if not family:
            raise ValueError("a filter of tuples needs a family, or an address")
        values: dict[str, Any] = {}
        for name, fields in (("original", self.original), ("reply", self.reply)):
            if fields:
                values[name] = fields.values(family)
                if fields.zone is not None:
                    values[f"{name}_zone"] = fields.zone
        batch = FlowBatch()
        batch.pack(values)
        return batch, original, reply

    def _family(self) -> int:
        """The family given, or that of an address; the kernel compares tuples of one family only."""
        if self.family:
            return self.family
        addresses = [
            address for fields in (self.original, self.reply) if fields for address in fields[:2] if address
        ]
        if addresses:
            return AF_INET6 if ":" in str(addresses[0]) else AF_INET
        return 0
