# SPDX-License-Identifier: GPL-2.0-or-later
"""``conntrackd.conf`` made from parameters; see conntrackd.conf(5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from testbed.privilege import in_user_namespace

Mode = Literal["FTFW", "NOTRACK", "ALARM"]


@dataclass(frozen=True)
class UnicastLink:
    """A UDP or TCP link: own and peer's address on a dedicated interface."""

    interface: str
    own: str
    peer: str
    port: int = 3780
    transport: Literal["UDP", "TCP"] = "UDP"
    buffer_size: int = 4 * 2**20
    """Send and receive socket buffer, in bytes; 0 to leave them out."""

    def clause(self, options: Iterable[str] = ()) -> list[str]:
        family = "IPv6" if ":" in self.own else "IPv4"
        return _block(
            " ".join([self.transport, *options]),
            f"{family}_address {self.own}",
            f"{family}_Destination_Address {self.peer}",
            f"Port {self.port}",
            f"Interface {self.interface}",
            *_buffers(self.buffer_size),
            "Checksum on",
        )


@dataclass(frozen=True)
class MulticastLink:
    """A multicast link: a group on a dedicated interface, with its ``own`` address for an IPv4 group."""

    interface: str
    own: str = ""
    group: str = "225.0.0.50"
    port: int = 3780
    buffer_size: int = 4 * 2**20
    """Send and receive socket buffer, in bytes; 0 to leave them out."""

    def clause(self, options: Iterable[str] = ()) -> list[str]:
        if ":" in self.group:
            where = [f"IPv6_address {self.group}"]
        else:
            where = [f"IPv4_address {self.group}", f"IPv4_interface {self.own}"]
        return _block(
            " ".join(["Multicast", *options]),
            *where,
            f"Group {self.port}",
            f"Interface {self.interface}",
            *_buffers(self.buffer_size),
            "Checksum on",
        )


@dataclass
class Configuration:
    """The settings of one daemon. ``lines`` in a field are taken into that clause as they are."""

    links: list[UnicastLink | MulticastLink]
    """The first is the default one; there must be at least one."""
    mode: Mode = "FTFW"
    mode_lines: list[str] = field(default_factory=list)
    """For instance ``DisableExternalCache on`` or ``ResendQueueSize 131072``."""
    options: list[str] = field(default_factory=list)
    """For the ``Options`` clause, for instance ``TCPWindowTracking on``."""
    accept_protocols: list[str] = field(default_factory=list)
    """Only flows of these are replicated; empty for all."""
    ignore_addresses: list[str] = field(default_factory=list)
    """Flows to and from these addresses or networks are not replicated: the firewall's own."""
    accept_states: list[str] = field(default_factory=list)
    """TCP flows are replicated only in these states; empty for all."""
    filter_place: Literal["Userspace", "Kernelspace"] = "Userspace"
    hash_size: int = 32768
    hash_limit: int = 2 * 2**20
    netlink_buffer_size: int = 2 * 2**20
    """Bytes; the daemon doubles it upon overruns up to the next one."""
    netlink_buffer_growth: int = 64 * 2**20
    general_lines: list[str] = field(default_factory=list)

    def text(self, directory: Path, name: str) -> str:
        """The file's text; ``NAME.lock``, ``NAME.ctl`` and ``NAME.log`` are in ``directory``."""
        clauses = [
            _block("Sync", *self._sync()),
            _block("General", *self._general(directory / name), *self._filter(), *self.general_lines),
        ]
        return "\n".join(line for clause in clauses for line in clause) + "\n"

    def _sync(self) -> list[str]:
        lines = _block(f"Mode {self.mode}", *self.mode_lines)
        for number, link in enumerate(self.links):
            lines += link.clause(["Default"] if number == 0 and len(self.links) > 1 else [])
        if self.options:
            lines += _block("Options", *self.options)
        return lines

    def _general(self, base: Path) -> list[str]:
        return [
            f"HashSize {self.hash_size}",
            f"HashLimit {self.hash_limit}",
            f"LogFile {base}.log",
            f"LockFile {base}.lock",
            *_block("UNIX", f"Path {base}.ctl"),
            f"NetlinkBufferSize {self.netlink_buffer_size}",
            f"NetlinkBufferSizeMaxGrowth {self.netlink_buffer_growth}",
        ]

    def _filter(self) -> list[str]:
        lines: list[str] = []
        if self.accept_protocols:
            lines += _block("Protocol Accept", *self.accept_protocols)
        if self.ignore_addresses:
            lines += _block("Address Ignore", *map(_address, self.ignore_addresses))
        if self.accept_states:
            lines += _block("State Accept", f"{' '.join(self.accept_states)} for TCP")
        return _block(f"Filter From {self.filter_place}", *lines) if lines else []


def _address(address: str) -> str:
    return f"{'IPv6' if ':' in address else 'IPv4'}_address {address}"


def _buffers(size: int) -> list[str]:
    # Beyond the system's limit it takes SO_RCVBUFFORCE, which a user namespace's root may not use: the C
    # daemon does not start then.
    if not size or in_user_namespace():
        return []
    return [f"SndSocketBuffer {size}", f"RcvSocketBuffer {size}"]


def _block(head: str, *lines: str) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]
