# SPDX-License-Identifier: GPL-2.0-or-later
"""Channels of datagrams: UDP to one peer, multicast to a group.

Two sockets each: one is bound to the port and receives, the other, connected, sends from a port of its own,
as the C daemon does. What comes from a stranger is dropped and counted: any other host than the peer (UDP),
any host that is not on the link's own network, or this node itself (multicast). A source address is easily
forged, so the receiving socket is tied to the link's interface: what arrives by another one is not heard.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyconntrack.channel.channel import DATAGRAMS_AT_ONCE, ChannelError, News, Traffic, datagrams_of
from pyconntrack.channel.interface import interface_network
from pyconntrack.channel.sockets import (
    SocketAddress,
    link_name,
    link_payload,
    other_way,
    set_receive_buffer,
    set_send_buffer,
    setup_failure,
    socket_address,
    tie,
    widen_receive_buffer,
)
from pyconntrack.config import Link, Transport
from pyconntrack.core.datagrams import DatagramReceiver, Datagrams

# linux/in.h, linux/in6.h and asm-generic/socket.h; the socket module lacks some of them.
SO_NO_CHECK = 11
IP_MULTICAST_ALL = 49
IPV6_MULTICAST_ALL = 29

_IPV4_HEADERS = 28
_IPV6_HEADERS = 48

# Socket addresses of peers that are remembered: a peer that restarts sends from another port.
_SENDERS_MAX = 256
# Seconds between two looks whether the interface is still the one that it was.
_LOOK_SECONDS = 1.0

# Of a link that is down, or has no peer yet.
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)

_Prepare = Callable[[socket.socket], None]


class DatagramChannel:
    """One dedicated link over UDP or multicast. Raises ChannelError where it cannot be set up."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.traffic = Traffic()
        self.warnings: list[str] = []
        """What the administrator should know of the link as it was set up."""
        self.changes = 0
        self.renewals = 0
        self.stirred = False
        self._family = socket.AF_INET if link.family == 4 else socket.AF_INET6
        headers = _IPV4_HEADERS if link.family == 4 else _IPV6_HEADERS
        self.payload = link_payload(link, headers)
        self._index = socket.if_nametoindex(link.interface)
        self._of_before = False
        """The sockets are still set to an interface of the same name that is gone."""
        self.tied = False
        """Whether only what arrives by the link's interface is heard."""
        self._next_look = 0.0
        self.receiver = self._open(self._receiving)
        try:
            self.sender = self._open(self._sending)
        except ChannelError:
            self.receiver.close()
            raise
        self._own = self._own_address()
        self.reachable = False
        """Whether the peers could be reached when that was last tried: not so while the link is down."""
        failure = self._connect()
        if failure is not None and failure.errno not in _UNREACHABLE:
            self.close()
            raise setup_failure(link, failure) from failure
        self._datagrams = DatagramReceiver(self.receiver.fileno(), DATAGRAMS_AT_ONCE)
        self._senders: dict[bytes, str] = {}
        self._network = (
            interface_network(link.interface, link.interface_address) if link.family == 4 else None
        )

    @property
    def name(self) -> str:
        """How messages call the link: `UDP link on eth2`."""
        return link_name(self.link)

    def news(self) -> list[News]:
        """Nothing happens to a link without connections."""
        return []

    def close(self) -> None:
        """Close both sockets. Harmless a second time."""
        self.receiver.close()
        self.sender.close()

    def fileno(self) -> int:
        """The receiving socket."""
        return self.receiver.fileno()

    def writing_fileno(self) -> int:
        """The sending socket."""
        return self.sender.fileno()

    def new_datagrams(self, count: int = 64) -> Datagrams:
        """Room for `count` datagrams as large as the link's MTU takes."""
        return Datagrams(self.payload, count)

    def send(self, datagrams: Datagrams, first: int = 0) -> int:
        """Send from number `first` on. Returns the number of the first that must wait for room in the socket.

        One that the kernel refuses (no route, a firewall rule, nobody listening) is lost, as on the wire,
        and counted.
        """
        self._follow_interface()
        if not self.reachable and (unreachable := self._connect()) is not None:
            self.traffic.send_errors += len(datagrams) - first
            self.traffic.last_send_error = unreachable.errno or 0
            return len(datagrams)
        while first < len(datagrams):
            sent, failure = datagrams.send(self.sender.fileno(), first)
            self.traffic.packets_sent += sent - first
            first = sent
            if failure == errno.EAGAIN:
                return first
            if failure:
                self.traffic.send_errors += 1
                self.traffic.last_send_error = failure
                # This one is the answer to an earlier datagram, and says nothing of the next.
                first += failure != errno.ECONNREFUSED
        self.traffic.bytes_sent += datagrams.bytes_filled
        return len(datagrams)

    def receive(self) -> tuple[list[tuple[bytes, str]], int]:
        """The datagrams that wait, with their senders, none of strangers; and how many waited, with theirs.

        Those of plain data that come one after another are one, see DatagramReceiver.receive; they count as
        many.
        """
        try:
            arrived = self._datagrams.receive()
        except OSError:
            self.traffic.receive_errors += 1
            return [], 0
        accepted = []
        total = 0
        for datagram, name, count in arrived:
            total += max(count, datagrams_of(len(datagram)))
            sender = self._senders.get(name) or self._meet(name, count)
            if sender is None:
                continue
            self.traffic.packets_received += count
            self.traffic.bytes_received += len(datagram)
            accepted.append((datagram, sender))
        return accepted, total

    def _meet(self, name: bytes, count: int) -> str | None:
        """Who it is that sends from a raw socket address for the first time, None if a stranger."""
        address = _address(name)
        if not self._is_of_cluster(address):
            self.traffic.strangers += count
            self.traffic.last_stranger = str(address)
            return None
        if len(self._senders) >= _SENDERS_MAX:
            self._senders.clear()
        self._senders[name] = str(address)
        return str(address)

    def _is_of_cluster(self, address: IPv4Address | IPv6Address) -> bool:
        if self.link.transport is Transport.UDP:
            return address == self.link.peer
        if address == self._own:
            return False
        if self._network is not None:
            return isinstance(address, IPv4Address) and address in self._network
        return isinstance(address, IPv6Address)

    def _open(self, prepare: _Prepare) -> socket.socket:
        opened = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            prepare(opened)
        except OSError as error:
            opened.close()
            raise setup_failure(self.link, error) from error
        return opened

    def _receiving(self, opened: socket.socket) -> None:
        link = self.link
        if link.receive_buffer is None:
            widen_receive_buffer(opened)
        else:
            set_receive_buffer(opened, link.receive_buffer)
        reason = self._tie(opened)
        if reason is not None:
            self.warnings.append(f"{self.name}: {reason}, so datagrams are taken from any interface")
        opened.bind(self._destination(link.address))
        if link.transport is Transport.MULTICAST:
            self._join(opened)

    def _tie(self, receiver: socket.socket) -> str | None:
        """Tie the receiver to the interface. Why that was not possible, None where it was or will be.

        Not where the peer's datagrams arrive by another interface: the link would work all the same, and is
        not to fall silent.
        """
        try:
            reason = other_way(self.link, self._index) or tie(receiver, self.link)
        except LookupError:
            return None
        if reason is not None:
            return reason
        self.tied = True
        return None

    def abandon(self) -> None:
        """What was sent is on the wire, or lost."""

    def interface_changed(self) -> None:
        """Look at once whether the interface was made anew, and fix anew where datagrams go."""
        self._next_look = 0.0
        self._follow_interface()
        # Its addresses and routes may have come only now; where they have not, the next sending tries again.
        self.reachable = False

    def _follow_interface(self) -> None:
        """Look once a second whether the interface was made anew, or can be tied to meanwhile."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(self.link.interface)
            if index != self._index:
                self._index = index
                self.tied = False
                self.reachable = False
                self._of_before = True
            if not self.tied:
                self._tie(self.receiver)
            if self._of_before:
                self._renew()

    def _renew(self) -> None:
        """Let the sockets forget the interface of before. Raises OSError."""
        if self.link.family == 6:
            # An address with a scope has bound it, and only that one's index would be taken any more.
            self.sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"\0")
        if self.link.transport is Transport.MULTICAST:
            try:
                self._join(self.receiver)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # It is a member already.
                    raise
            self._send_to_group(self.sender)
        self._of_before = False

    def _sending(self, opened: socket.socket) -> None:
        link = self.link
        set_send_buffer(opened, link.send_buffer)
        if not link.checksum:
            opened.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        if link.transport is Transport.MULTICAST:
            if link.interface_address is not None:
                # The kernel would only say that the network is unreachable.
                opened.bind((str(link.interface_address), 0))
            self._send_to_group(opened)
        elif not link.address.is_unspecified:
            opened.bind(self._destination(link.address, port=0))

    def _connect(self) -> OSError | None:
        """Fix where datagrams go. Fails while the link is down, and is tried again with the next ones."""
        try:
            self.sender.connect(self._destination(self.link.peer or self.link.address))
        except OSError as error:
            return error
        self.reachable = True
        self._own = self._own_address()
        return None

    def _destination(self, address: IPv4Address | IPv6Address, port: int | None = None) -> SocketAddress:
        return socket_address(address, self.link.port if port is None else port, self._index)

    def _request(self, group: IPv4Address) -> bytes:
        """struct ip_mreqn, ip(7)."""
        own = self.link.interface_address or IPv4Address(0)
        return struct.pack("=4s4si", group.packed, own.packed, self._index)

    def _join(self, opened: socket.socket) -> None:
        if isinstance(self.link.address, IPv4Address):
            opened.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, self._request(self.link.address))
        else:
            membership = self.link.address.packed + struct.pack("=I", self._index)
            opened.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)

    def _send_to_group(self, opened: socket.socket) -> None:
        if self.link.family == 4:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, self._request(IPv4Address(0)))
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        else:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._index)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)

    def _own_address(self) -> IPv4Address | IPv6Address:
        return ip_address(self.sender.getsockname()[0].partition("%")[0])


def _address(name: bytes) -> IPv4Address | IPv6Address:
    """The address in a raw struct sockaddr_in or sockaddr_in6."""
    if len(name) < 24:
        return IPv4Address(name[4:8])
    return IPv6Address(name[8:24])
