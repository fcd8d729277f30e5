# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of sysctls. One that this kernel or this namespace does not have is passed over."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from pyconntrack.channel.sockets import RECEIVE_BUFFER, SO_RCVBUFFORCE, link_name
from pyconntrack.cli.doctor.addresses import local_addresses
from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.finding import Finding, note, ok, problem, warning
from pyconntrack.config import Transport

_NETFILTER = "net.netfilter.nf_conntrack_"
_GOOD_NETLINK_BUFFER = 2 << 20
_CROWDED_BUCKET = 8


def events(case: Case) -> Iterator[Finding]:
    """Whether the kernel tells of changes, and of which flows."""
    value = case.machine.sysctl(f"{_NETFILTER}events")
    set_it = f"sysctl -w {_NETFILTER}events=1, and in /etc/sysctl.d"
    if value is None or (case.settings.general.poll_seconds is not None and value != 1):
        return
    if value == 0:
        yield problem(f"{_NETFILTER}events is 0: the kernel tells the daemon nothing", set_it)
    elif value == 2:
        yield note(
            f"{_NETFILTER}events is 2: of flows that began before the daemon, ends are noticed late", set_it
        )
    else:
        yield ok(f"{_NETFILTER}events is {value}")


def accounting(case: Case) -> Iterator[Finding]:
    """For the statistics mode."""
    if case.settings.stats is None:
        return
    for name, kind, lacks in (
        ("acct", warning, "packets and bytes"),
        ("timestamp", note, "start and duration"),
    ):
        value = case.machine.sysctl(_NETFILTER + name)
        if value == 0:
            yield kind(
                f"{_NETFILTER}{name} is 0: the lines of flows have no {lacks}",
                f"sysctl -w {_NETFILTER}{name}=1, and in /etc/sysctl.d",
            )
        elif value is not None:
            yield ok(f"{_NETFILTER}{name} is {value}")


def table_size(case: Case) -> Iterator[Finding]:
    """The table beside the caches, and how full it is."""
    largest, count = case.machine.sysctl(f"{_NETFILTER}max"), case.machine.sysctl(f"{_NETFILTER}count")
    limit = case.settings.general.hash_limit
    if largest is None:
        return
    if limit is not None and 0 < limit < largest:
        yield warning(
            f"HashLimit {limit} is less than {_NETFILTER}max {largest}: a full table does not fit in",
            f"HashLimit {2 * largest}",
        )
    else:
        yield ok(f"the caches hold what the table can ({_NETFILTER}max {largest})")
    if count is not None and 10 * count >= 8 * largest:
        kind = problem if 100 * count >= 95 * largest else warning
        yield kind(
            f"the kernel's table has {count} of {largest} flows: a full one drops new connections, and what a"
            " commit brings",
            f"sysctl -w {_NETFILTER}max={2 * largest} on all nodes",
        )


def buckets(case: Case) -> Iterator[Finding]:
    """A hash table whose chains are long costs time for each packet."""
    largest, number = case.machine.sysctl(f"{_NETFILTER}max"), case.machine.sysctl(f"{_NETFILTER}buckets")
    if largest is None or number is None:
        return
    if largest > _CROWDED_BUCKET * number:
        yield warning(
            f"{_NETFILTER}max is {largest // max(number, 1)} times {_NETFILTER}buckets: long chains",
            f"sysctl -w {_NETFILTER}buckets={largest // 4} (in the first network namespace)",
        )
    else:
        yield ok(f"{_NETFILTER}buckets is {number}")


def tcp_loose(case: Case) -> Iterator[Finding]:
    """Whether a connection may be picked up in its middle."""
    value = case.machine.sysctl(f"{_NETFILTER}tcp_loose")
    if value:
        yield note(
            f"{_NETFILTER}tcp_loose is {value}: a connection that was not replicated is picked up in its"
            " middle, without its translation and its direction",
            f"sysctl -w {_NETFILTER}tcp_loose=0, and drop invalid packets",
        )
    elif value == 0:
        yield ok(f"{_NETFILTER}tcp_loose is 0")


def tcp_windows(case: Case) -> Iterator[Finding]:
    """The sysctl against the clause."""
    liberal = case.machine.sysctl(f"{_NETFILTER}tcp_be_liberal")
    if liberal is None:
        return
    tracked = case.sync.tcp_window_tracking
    if liberal:
        yield note(
            f"{_NETFILTER}tcp_be_liberal is 1: packets outside of the window pass in all connections"
            + (", so that TCPWindowTracking has no effect" if tracked else ""),
            f"sysctl -w {_NETFILTER}tcp_be_liberal=0: a commit makes its own flows liberal where it has to",
        )
    else:
        strict = (
            "checks windows, with what TCPWindowTracking brings"
            if tracked
            else "is liberal in what it brings"
        )
        yield ok(f"{_NETFILTER}tcp_be_liberal is 0, and a commit {strict}")


def forwarding(case: Case) -> Iterator[Finding]:
    """A firewall forwards."""
    if case.machine.sysctl("net.ipv4.ip_forward") == 0:
        yield warning(
            "net.ipv4.ip_forward is 0: this machine forwards nothing, so connections end here",
            "sysctl -w net.ipv4.ip_forward=1, unless it is a proxy or keepalived's script sets it",
        )
    else:
        yield ok("IPv4 is forwarded")
    links = {link.interface for link in case.sync.links}
    routed = [
        each
        for each in local_addresses()
        if each.address.version == 6
        and not (each.address.is_link_local or each.address.is_loopback)
        and _name_of(each.index) not in links
    ]
    if routed and case.machine.sysctl("net.ipv6.conf.all.forwarding") == 0:
        yield note(
            f"net.ipv6.conf.all.forwarding is 0, and there are IPv6 addresses ({routed[0].address})",
            "sysctl -w net.ipv6.conf.all.forwarding=1, if IPv6 is to pass, too",
        )


def reverse_path(case: Case) -> Iterator[Finding]:
    """Strict reverse path filtering drops what comes by another way than its answer would go."""
    every = case.machine.sysctl("net.ipv4.conf.all.rp_filter") or 0
    strict = [
        name
        for _, name in socket.if_nameindex()
        if name != "lo"
        and max(every, case.machine.sysctl(f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter") or 0) == 1
    ]
    if not strict:
        yield ok("no interface filters reverse paths strictly")
    elif case.sync.disable_external_cache:
        yield warning(
            f"rp_filter is strict on {', '.join(strict)}, and without an external cache both nodes may see"
            " halves of a flow",
            "sysctl -w net.ipv4.conf.all.rp_filter=2 and that of each interface",
        )
    else:
        yield note(
            f"rp_filter is strict on {', '.join(strict)}: right unless answers take another way",
            "2 (loose) where both nodes carry traffic",
        )


def netlink_buffer(case: Case) -> Iterator[Finding]:
    """Room for bursts of events."""
    general = case.settings.general
    size = general.netlink_buffer_size
    largest = max(size or 0, general.netlink_buffer_size_max_growth or 0)
    if largest < _GOOD_NETLINK_BUFFER:
        yield note(
            f"the event socket's buffer is {size or 'the default'} and does not grow beyond"
            f" {largest or 'that'}: bursts of events are lost, and the table is read again",
            "NetlinkBufferSize 2097152 and NetlinkBufferSizeMaxGrowth 67108864",
        )
    else:
        yield ok(f"the event socket's buffer may grow to {largest} bytes")


def socket_buffers(case: Case) -> Iterator[Finding]:
    """The buffers of the links: whether what they should have is possible."""
    for link in case.sync.links:
        kind, wanted = warning, link.receive_buffer
        if wanted is None:
            kind, wanted = note, 0 if link.transport is Transport.TCP else RECEIVE_BUFFER
        short = _short_of("net.core.rmem_max", wanted, kind, case) or _short_of(
            "net.core.wmem_max", link.send_buffer or 0, warning, case
        )
        yield short or ok(f"{link_name(link)}: its buffers have the size that they should")


def _short_of(name: str, wanted: int, kind: Callable[[str, str], Finding], case: Case) -> Finding | None:
    limit = case.machine.sysctl(name)
    if limit is None or wanted <= limit or _forces_buffers(wanted):
        return None
    return kind(
        f"{name} is {limit}, and a link's buffer is to have {wanted} bytes, which this user may not force",
        f"sysctl -w {name}={wanted}, or start the daemon with CAP_NET_ADMIN",
    )


def _forces_buffers(size: int) -> bool:
    """Whether we may go beyond the limit; a user namespace's root may not. The socket is used for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        except OSError:
            return False
    return True


def commit_timeout(case: Case) -> Iterator[Finding]:
    """Whether connections that pause live through a commit."""
    given = case.sync.commit_timeout
    established = case.machine.sysctl(f"{_NETFILTER}tcp_timeout_established")
    if given is not None and established is not None and given < established:
        yield note(
            f"CommitTimeout {given}: a connection that says nothing for so many seconds after a fail-over is"
            f" lost ({_NETFILTER}tcp_timeout_established is {established})",
            "leave CommitTimeout out: each flow then keeps the time that it had left",
        )


def _name_of(index: int) -> str:
    with contextlib.suppress(OSError):
        return socket.if_indextoname(index)
    return ""
