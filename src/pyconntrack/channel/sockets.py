# SPDX-License-Identifier: GPL-2.0-or-later
"""What the sockets of all kinds of links have in common. See socket(7), ip(7), ipv6(7), tcp(7)."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address

from pyconntrack.channel.channel import ChannelError, LinkMissingError
from pyconntrack.channel.interface import interface_mtu, route_interface
from pyconntrack.config import Link
from pyconntrack.core.datagrams import SMALLEST

# asm-generic/socket.h; the socket module lacks these.
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

# Jumbo MTUs gain nothing beyond this, and the loopback's 64 KiB would make one loss cost a thousand messages.
_LONGEST = 8972

# Of an interface, or an address of it, that is not there.
_MISSING = (errno.ENODEV, errno.EADDRNOTAVAIL)

# Bytes of the receive buffer of a link of datagrams whose configuration does not say: enough for what several
# peers may have under way in mode FTFW, and more than one sends in a quarter of a second in the other modes.
RECEIVE_BUFFER = 4 << 20

# A peer that is gone is noticed after so many seconds without a word, or so long after something was sent.
_KEEPALIVE_IDLE = 3
_KEEPALIVE_INTERVAL = 2
_KEEPALIVE_COUNT = 3
_UNANSWERED_MILLISECONDS = 9000

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def link_name(link: Link) -> str:
    """How messages call a link: `UDP link on eth2`."""
    return f"{link.transport.value} link on {link.interface}"


def link_payload(link: Link, headers: int) -> int:
    """Bytes of the longest datagram on a link whose packets have so many bytes of headers.

    Raises ChannelError where its MTU is too small, LinkMissingError where its interface is not there.
    """
    try:
        mtu = interface_mtu(link.interface)
    except OSError as error:
        raise LinkMissingError(
            f"{link_name(link)}: there is no interface {link.interface}: {error.strerror}"
        ) from error
    payload = min(_LONGEST, mtu - headers)
    if payload < SMALLEST:
        raise ChannelError(
            f"{link_name(link)}: its MTU is {mtu} bytes, and must be {SMALLEST + headers} at least"
        )
    return payload


def setup_failure(link: Link, error: OSError) -> ChannelError:
    """The error to raise where a socket of the link cannot be set up."""
    kind = LinkMissingError if error.errno in _MISSING else ChannelError
    return kind(f"{link_name(link)}: {_explain(error, link)}")


def _explain(error: OSError, link: Link) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f"no interface has the address {link.interface_address or link.address}"
    if error.errno == errno.EADDRINUSE:
        return f"port {link.port} is in use: does another conntrackd run?"
    return f"{error.strerror}"


def socket_address(address: IPv4Address | IPv6Address, port: int, index: int) -> SocketAddress:
    """What bind() and connect() take. `index` is the interface of an address that means nothing without."""
    if address.version == 4:
        return str(address), port
    scoped = address.is_link_local or address.is_multicast
    return str(address).partition("%")[0], port, 0, index if scoped else 0


def set_send_buffer(opened: socket.socket, size: int | None) -> None:
    """Set its size in bytes; None leaves the system's default."""
    _set_buffer(opened, SO_SNDBUFFORCE, socket.SO_SNDBUF, size)


def set_receive_buffer(opened: socket.socket, size: int | None) -> None:
    """Set its size in bytes; None leaves the system's default."""
    _set_buffer(opened, SO_RCVBUFFORCE, socket.SO_RCVBUF, size)


def widen_receive_buffer(opened: socket.socket) -> None:
    """Give a socket of datagrams RECEIVE_BUFFER bytes, or what we may have of it, where it has less."""
    # Tried on another one: below the system's default there may be no way back.
    with socket.socket(opened.family, opened.type) as tried:
        set_receive_buffer(tried, RECEIVE_BUFFER)
        possible = tried.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < possible:
        set_receive_buffer(opened, RECEIVE_BUFFER)


def _set_buffer(opened: socket.socket, force: int, plain: int, size: int | None) -> None:
    """Without the system's limit where we may (CAP_NET_ADMIN), else up to it."""
    if not size:
        return
    try:
        opened.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, plain, size)


def other_way(link: Link, index: int) -> str | None:
    """Why a socket of the link cannot be tied to its interface, number `index`. None where it can.

    Where the peer's packets arrive by another interface, the link works all the same, and is not to fall
    silent. Raises LookupError where there is no way to the peer at the moment.
    """
    if link.peer is None or link.peer.is_link_local:
        return None
    way = route_interface(link.peer, link.address)
    if way is None:
        raise LookupError
    return None if way == index else f"the way to {link.peer} is by {_interface_name(way)}"


def tie(opened: socket.socket, link: Link) -> str | None:
    """Let a socket hear only what arrives by the link's interface. Why not, None where that was possible."""
    try:
        name = link.interface.encode() + b"\0"
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    except PermissionError:
        return "to tie it to its interface takes CAP_NET_RAW"
    return None


def _interface_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"


def connection_options(connection: socket.socket) -> None:
    """Let a TCP connection send at once what it is given, and notice within seconds that the peer is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MILLISECONDS)
