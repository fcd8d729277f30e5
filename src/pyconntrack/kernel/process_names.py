# SPDX-License-Identifier: GPL-2.0-or-later
"""Which processes are behind netlink ports: who caused an event, as `[USERSPACE] ... progname=` names it.

A port belongs to a socket, whose inode /proc/net/netlink tells, and the socket to whoever has it among its
descriptors (proc(5)). Short-lived processes are gone before they are asked for.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

NETLINK_NETFILTER = 12
SOCKETS = Path("/proc/thread-self/net/netlink")
PROCESSES = Path("/proc")


def process_names(ports: Iterable[int]) -> dict[int, bytes]:
    """The names (TASK_COMM) of the processes that hold these ports, of those that can be found.

    Ports are of this thread's network namespace. Processes of other users are seen by root only.
    """
    sockets = inodes(set(ports))
    names: dict[int, bytes] = {}
    if not sockets:
        return names
    for process in PROCESSES.iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            for port in ports_of(process, sockets):
                names[port] = (process / "comm").read_bytes().rstrip(b"\n")
        if len(names) == len(sockets):
            break
    return names


def inodes(ports: set[int]) -> dict[str, int]:
    """{link of a descriptor: port} of netfilter's netlink sockets with these ports."""
    found: dict[str, int] = {}
    if not ports:
        return found
    with contextlib.suppress(OSError):
        for line in SOCKETS.read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if int(fields[1]) == NETLINK_NETFILTER and int(fields[2]) in ports:
                found[f"socket:[{fields[9]}]"] = int(fields[2])
    return found


def ports_of(process: Path, sockets: dict[str, int]) -> set[int]:
    """The ports of a process, of those wanted. Raises OSError where it is gone or may not be looked at."""
    held: set[int] = set()
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            link = str(descriptor.readlink())
            if link in sockets:
                held.add(sockets[link])
    return held
