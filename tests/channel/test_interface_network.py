# SPDX-License-Identifier: GPL-2.0-or-later
"""Which network a dedicated link is on, where its interface has several addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from pyconntrack.channel.interface import interface_network
from testbed import Testbed
from testbed.namespace import Namespace


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    made = bed.namespace("interface")
    made.ip("link", "add", "link0", "type", "veth", "peer", "name", "other0")
    made.ip("link", "set", "link0", "up")
    return made


def test_the_network_is_that_of_the_address_in_use(namespace: Namespace) -> None:
    for address in ("10.1.0.1/16", "192.168.100.1/24", "192.168.100.2/25"):
        namespace.ip("address", "add", address, "dev", "link0")
    with namespace.entered():
        first = interface_network("link0")
        second = interface_network("link0", IPv4Address("192.168.100.1"))
        third = interface_network("link0", IPv4Address("192.168.100.2"))
    assert first == IPv4Network("10.1.0.0/16")
    assert second == IPv4Network("192.168.100.0/24")
    assert third == IPv4Network("192.168.100.0/25")


def test_an_interface_without_an_address_is_on_no_network(namespace: Namespace) -> None:
    with namespace.entered():
        assert interface_network("link0") is None
        assert interface_network("link0", IPv4Address("192.168.100.1")) is None
        assert interface_network("nothing0") is None
