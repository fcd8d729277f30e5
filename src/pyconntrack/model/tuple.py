# SPDX-License-Identifier: GPL-2.0-or-later
"""A tuple: the addresses and ports by which packets of one direction are known."""

import socket
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from pyconntrack.model.names import Protocol, named

IPAddress = IPv4Address | IPv6Address

# Family, protocol, source, destination, source port, destination port, ICMP id, type, code: as
# FlowBatch.unpack gives it.
TupleValues = tuple[int, int, bytes, bytes, int, int, int, int, int]

# Which ICMP type answers which, by protocol.
ICMP_ANSWERS: dict[int, dict[int, int]] = {
    Protocol.ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17},
    Protocol.ICMPV6: {128: 129, 129: 128, 139: 140, 140: 139},
}


@lru_cache(maxsize=8192)
def unpacked(address: bytes) -> IPAddress:
    """An address of 4 or 16 bytes. The same few come again and again, at least once in each direction."""
    return IPv4Address(address) if len(address) == 4 else IPv6Address(address)


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction of a flow.

    Addresses may be given as text. Ports count for TCP, UDP, UDP-Lite, SCTP, DCCP and, as keys, for GRE; the
    ICMP fields for ICMP and ICMPv6. `zone` is the zone of this direction only; a flow's `zone` is that of
    both.
    """

    source: IPAddress
    destination: IPAddress
    protocol: Protocol | int = Protocol.TCP
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    icmp_id: int = 0
    zone: int | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            source: IPAddress | str,
            destination: IPAddress | str,
            protocol: Protocol | int = Protocol.TCP,
            source_port: int = 0,
            destination_port: int = 0,
            icmp_type: int = 0,
            icmp_code: int = 0,
            icmp_id: int = 0,
            zone: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        # Frozen, but text is welcome as an address.
        for name in ("source", "destination"):
            if not isinstance(getattr(self, name), IPv4Address | IPv6Address):
                object.__setattr__(self, name, ip_address(getattr(self, name)))
        object.__setattr__(self, "protocol", named(Protocol, self.protocol))
        if self.source.version != self.destination.version:
            raise ValueError(f"{self.source} and {self.destination} are not of one family")

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return int(socket.AF_INET if self.source.version == 4 else socket.AF_INET6)

    def inverse(self) -> "Tuple":
        """The other direction where nothing is translated."""
        answers = ICMP_ANSWERS.get(self.protocol, {})
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
            icmp_type=answers.get(self.icmp_type, self.icmp_type),
            zone=None,
        )

    @classmethod
    def from_values(cls, values: TupleValues, zone: int | None = None) -> "Tuple":
        """From what FlowBatch.unpack gives."""
        _, protocol, source, destination, source_port, destination_port, icmp_id, icmp_type, icmp_code = (
            values
        )
        return cls(
            source=unpacked(source),
            destination=unpacked(destination),
            protocol=protocol,
            source_port=source_port,
            destination_port=destination_port,
            icmp_type=icmp_type,
            icmp_code=icmp_code,
            icmp_id=icmp_id,
            zone=zone,
        )

    def values(self) -> TupleValues:
        """For FlowBatch.pack; the zone aside, which is an attribute of the flow there."""
        return (
            self.family,
            int(self.protocol),
            self.source.packed,
            self.destination.packed,
            self.source_port,
            self.destination_port,
            self.icmp_id,
            self.icmp_type,
            self.icmp_code,
        )
