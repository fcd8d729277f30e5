# SPDX-License-Identifier: GPL-2.0-or-later
"""Which process has a netlink port: who caused an event that carries an origin."""

import contextlib
import os

# linux/netlink.h
NETLINK_NETFILTER = 12
SOCKETS = "/proc/net/netlink"


def process_names(ports: set[int]) -> dict[int, bytes]:
    """The names, as in proc_pid_comm(5), of the processes behind ports of NETLINK_NETFILTER.

    A port whose process is gone, lives in another network namespace or may not be looked at is left out.
    Reads all of /proc: for a batch of events, not for each.
    """
    wanted = _inodes(ports)
    names: dict[int, bytes] = {}
    if not wanted:
        return names
    for process in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes time to load
        if process.isdigit() and len(names) < len(wanted):
            for inode in _sockets(process) & wanted.keys():
                with contextlib.suppress(OSError):
                    names[wanted[inode]] = _name(process)
    return names


def _inodes(ports: set[int]) -> dict[str, int]:
    """{name of the socket's file: port} of those that are open in this network namespace."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError), open(SOCKETS, encoding="ascii") as table:  # noqa: PTH123 - as above
        next(table, None)
        for row in table:
            fields = row.split()
            if int(fields[1]) == NETLINK_NETFILTER and int(fields[2]) in ports:
                found[f"socket:[{fields[9]}]"] = int(fields[2])
    return found


def _sockets(process: str) -> set[str]:
    """What the descriptors of a process refer to."""
    targets: set[str] = set()
    directory = f"/proc/{process}/fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(directory):  # noqa: PTH208 - as above
            with contextlib.suppress(OSError):
                targets.add(os.readlink(f"{directory}/{descriptor}"))  # noqa: PTH115 - as above
    return targets


def _name(process: str) -> bytes:
    with open(f"/proc/{process}/comm", "rb") as file:  # noqa: PTH123 - as above
        return file.read().rstrip(b"\n")
