# SPDX-License-Identifier: GPL-2.0-or-later
"""Links between namespaces, loss on them, and an address that moves."""

from __future__ import annotations

import json
import socket

import pytest

from testbed import Interface, Namespace, Testbed, bridge, dropped, loss, plug, veth, wait_until

_PORT = 9


def _datagram_socket(namespace: Namespace, address: str) -> socket.socket:
    with namespace.entered():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind((address, _PORT))
    made.settimeout(5.0)
    return made


@pytest.mark.parametrize(
    "addresses", [("10.9.0.1/24", "10.9.0.2/24"), ("fd00:9::1/64", "fd00:9::2/64")], ids=["IPv4", "IPv6"]
)
def test_veth_carries_datagrams_at_once(bed: Testbed, addresses: tuple[str, str]) -> None:
    one, two = bed.namespace("one"), bed.namespace("two")
    veth(one, "a", two, "b", first_addresses=[addresses[0]], second_addresses=[addresses[1]], mtu=1400)
    near, far = (address.partition("/")[0] for address in addresses)
    with _datagram_socket(one, near) as sender, _datagram_socket(two, far) as receiver:
        sender.sendto(b"hello", (far, _PORT))
        assert receiver.recv(100) == b"hello"
    assert json.loads(two.ip("-json", "link", "show", "b"))[0]["mtu"] == 1400


def _pass(ends: tuple[Interface, Interface], count: int) -> tuple[int, int]:
    """Send ``count`` datagrams each way; how many the rules dropped at each end."""
    addresses = ("10.9.0.1", "10.9.0.2")
    sockets = [_datagram_socket(end.namespace, address) for end, address in zip(ends, addresses, strict=True)]
    for sender, target in zip(sockets, reversed(addresses), strict=True):
        for _ in range(count):
            sender.sendto(b"x", (target, _PORT))
    for each in sockets:
        each.close()
    return dropped(ends[0]), dropped(ends[1])


@pytest.mark.parametrize("percent", [0.0, 30.0, 100.0])
def test_loss_hits_both_directions(bed: Testbed, percent: float) -> None:
    ends = veth(
        *(bed.namespace("one"), "a", bed.namespace("two"), "b"),
        first_addresses=["10.9.0.1/24"],
        second_addresses=["10.9.0.2/24"],
    )
    with loss(*ends, percent=percent):
        counts = _pass(ends, 500)
    # The system's own IPv6 multicast reports may be lost too; 150 of 500 has a standard deviation of 10.
    low, high = {0.0: (0, 0), 30.0: (50, 250), 100.0: (500, 520)}[percent]
    assert all(low <= count <= high for count in counts)


def test_loss_ends_with_its_block(bed: Testbed) -> None:
    ends = veth(bed.namespace("one"), "a", bed.namespace("two"), "b")
    with pytest.raises(ZeroDivisionError), loss(*ends, percent=1):
        assert "numgen" in ends[0].namespace.run(["nft", "list", "ruleset"]).stdout
        raise ZeroDivisionError
    assert [end.namespace.run(["nft", "list", "ruleset"]).stdout for end in ends] == ["", ""]


def test_an_announced_address_moves_at_once(bed: Testbed) -> None:
    switch = bridge(bed.namespace("switch"))
    watcher = plug(switch, bed.namespace("watcher"), "eth", ["10.9.0.9/24"])
    first = plug(switch, bed.namespace("first"), "eth", ["10.9.0.1/24"])
    second = plug(switch, bed.namespace("second"), "eth")

    def neighbour() -> str:
        listed = json.loads(watcher.namespace.ip("-json", "neighbour", "show", "10.9.0.1"))
        return str(listed[0].get("lladdr", "")) if listed else ""

    with _datagram_socket(watcher.namespace, "10.9.0.9") as sender:
        sender.sendto(b"x", ("10.9.0.1", _PORT))
    wait_until(lambda: neighbour() == first.hardware_address().hex(":"), 5.0, "the first holder's address")
    first.down()
    second.add_address("10.9.0.1/24")
    second.announce("10.9.0.1")
    wait_until(lambda: neighbour() == second.hardware_address().hex(":"), 5.0, "the second holder's address")
