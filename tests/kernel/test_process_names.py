# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink ports lead to the processes that hold them."""

from __future__ import annotations

import socket
from pathlib import Path

from pyconntrack.kernel.process_names import NETLINK_NETFILTER, process_names


def test_our_own_port_is_ours() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as held:
        held.bind((0, 0))
        port = held.getsockname()[0]
        ours = Path("/proc/self/comm").read_bytes().rstrip(b"\n")
        assert process_names([port, 0xFFFFFFF0]) == {port: ours}
    assert process_names([port]) == {}


def test_no_port_is_no_name() -> None:
    assert process_names([]) == {}
