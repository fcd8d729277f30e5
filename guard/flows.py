# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows of the jobs, always the same: most are TCP, many translated, some UDP, ICMP, and IPv6."""

from __future__ import annotations

from tests.core.support_flows import (
    ASSURED,
    CONFIRMED,
    ICMP,
    SEEN_REPLY,
    SOURCE_NAT,
    SOURCE_NAT_DONE,
    TCP,
    UDP,
    FlowTuple,
    KernelFlow,
)

COUNT = 10_000
ESTABLISHED = 3

_PUBLIC = bytes((203, 0, 113, 1))


def _addresses(number: int) -> tuple[bytes, bytes]:
    if number % 10 == 9:
        prefix = bytes.fromhex("20010db8") + bytes(10)
        return prefix + number.to_bytes(2), prefix + (number % 251).to_bytes(2)
    return bytes((10, 1, number >> 8, number & 0xFF)), bytes((192, 0, 2, 1 + number % 200))


def _original(number: int) -> FlowTuple:
    source, destination = _addresses(number)
    if number % 20 == 8:
        return FlowTuple(source, destination, ICMP, icmp=(8, 0, number))
    protocol = UDP if number % 5 == 1 else TCP
    ports = (1024 + number * 7919 % 60_000, 443 if number % 3 else 53)
    return FlowTuple(source, destination, protocol, ports)


def make_flow(number: int) -> KernelFlow:
    flow = KernelFlow(_original(number), 0x10000 + number)
    flow.status = CONFIRMED | SEEN_REPLY | ASSURED
    flow.timeout = 100 + number
    if flow.original.protocol == TCP:
        flow.tcp = (ESTABLISHED, 7, 7)
    if flow.original.ipv4 and number % 4 == 0:
        flow.status |= SOURCE_NAT | SOURCE_NAT_DONE
        flow.nat_source = _PUBLIC
    if number % 16 == 0:
        flow.mark = number
    return flow


FLOWS = [make_flow(number) for number in range(COUNT)]
