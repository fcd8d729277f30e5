# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells the C nodes of a multicast group apart where each has another address on each of several links.

A session follows each node's sequence numbers, and loses nothing over a change of link only if it knows that
the sender is the one from before. A node of ours says in its messages who it is, and the session sees to it
that its addresses are one node's. A C node does not. But a node uses one link at a time and numbers its
messages throughout: the first message from a new address belongs to the node whose numbers it goes on with
and that has not been heard on that link yet. Where several would do, or where it starts (HELLO), its address
must end like that node's, as addresses of one host often do on several networks. Else it is a new one.

Numbers begin with the time of day, so those of two nodes may be near each other. Where an address that was
taken for a node's turns out to speak beside it, with numbers of its own, it is a node of its own from then
on.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

# So many messages may have been lost since a node was last heard on another link.
REACH = 1 << 15
# So many may have come by another link already: a node that hears nobody sends the same over several.
TWICE = 1 << 10
# Seconds for which a message by the link that was left may still come after one by the new one.
LATE = 1.0
# So many times within so many seconds, numbers at two places of one node must not go on with each other.
CONTRADICTIONS = 3
CONTRADICTED = 10.0
# Bits at the end of an address that name the host at least, where nodes are told apart by them.
HOST_BITS = 4
# Addresses that are remembered; more are not believed to be nodes of one group.
_ADDRESSES_MAX = 256

# Of a control message's second byte.
_EXTENDED, _HELLO = 0x01, 0x20


_Place = tuple[int, str]
"""A link, and an address there."""


@dataclass(slots=True)
class _Node:
    name: str
    first: _Place
    """Where it was heard first."""
    place: _Place
    """Where it was heard last."""
    last: int
    """Number of the last message there."""
    changed: float
    """Since when it has been there."""
    links: set[int]
    """Where it was ever heard."""
    identified: bool = False
    """It says itself who it is."""
    contradictions: int = 0
    contradicted: float = 0.0
    """When the first of them was."""


class NodeNames:
    """Names for the nodes of a group: of each, the first address that it was heard under."""

    def __init__(self) -> None:
        self._nodes: dict[_Place, _Node] = {}

    def name(self, link: int, address: str, datagram: bytes, now: float) -> str:
        """Who sent a datagram that came from `address` by a link. `now` in seconds."""
        place = (link, address)
        number = int.from_bytes(datagram[4:8])
        node = self._nodes.get(place)
        if node is None:
            node = self._meet(place, number, datagram, now)
        elif node.place == place:
            node.last = number
        elif _starts(datagram) or _goes_on(node.last, number):
            _move(node, place, number, now)
        elif now - node.changed >= LATE:
            node = self._contradict(node, place, number, now)
        node.identified |= _identifies(datagram)
        return node.name

    def _meet(self, place: _Place, number: int, datagram: bytes, now: float) -> _Node:
        if len(self._nodes) >= _ADDRESSES_MAX:
            self._nodes.clear()
        link = place[0]
        nodes = {id(node): node for node in self._nodes.values()}.values()
        same = [
            node
            for node in nodes
            if link not in node.links and not node.identified and _goes_on(node.last, number)
        ]
        if _identifies(datagram):
            fitting = None
        elif len(same) == 1 and not _starts(datagram):
            fitting = same[0]
        else:
            fitting = _most_alike(same, place[1])
        if fitting is None:
            return self._found(place, number, now)
        node = self._nodes[place] = fitting
        node.links.add(link)
        _move(node, place, number, now)
        return node

    def _found(self, place: _Place, number: int, now: float) -> _Node:
        link, address = place
        taken = {node.name for node in self._nodes.values()}
        name = address if address not in taken else f"{address} on link {link + 1}"
        node = self._nodes[place] = _Node(name, place, place, number, now, {link})
        return node

    def _contradict(self, node: _Node, place: _Place, number: int, now: float) -> _Node:
        """What comes from a place of the node does not go on with what came from another one."""
        if now - node.contradicted > CONTRADICTED:
            node.contradictions, node.contradicted = 0, now
        node.contradictions += 1
        if node.contradictions < CONTRADICTIONS:
            node.place, node.last = place, number
            return node
        if place != node.first:
            node.links.discard(place[0])
            return self._found(place, number, now)
        other = node.place
        node.links.discard(other[0])
        self._found(other, node.last, now)
        _move(node, place, number, now)
        node.contradictions = 0
        return node


def _most_alike(nodes: list[_Node], address: str) -> _Node | None:
    """The one of the nodes whose first address ends most like this one, if one stands out."""
    alike = sorted(((_alike(node.first[1], address), i) for i, node in enumerate(nodes)), reverse=True)
    if not alike or alike[0][0] < HOST_BITS or (len(alike) > 1 and alike[0][0] == alike[1][0]):
        return None
    return nodes[alike[0][1]]


def _alike(first: str, second: str) -> int:
    """How many bits at their ends two addresses have in common."""
    different = int(ip_address(first)) ^ int(ip_address(second))
    return (different & -different).bit_length() - 1 if different else 128


def _move(node: _Node, place: _Place, number: int, now: float) -> None:
    node.place, node.last = place, number
    if now - node.changed >= LATE:
        node.changed = now


def _starts(datagram: bytes) -> bool:
    return len(datagram) > 1 and bool(datagram[1] & _HELLO)


def _identifies(datagram: bytes) -> bool:
    """Whether it begins with who sends it, as one of ours does each second and after each change."""
    return len(datagram) > 1 and bool(datagram[1] & _EXTENDED)


def _goes_on(last: int, number: int) -> bool:
    return (number - last + TWICE) & 0xFFFFFFFF <= REACH + TWICE
