# SPDX-License-Identifier: GPL-2.0-or-later
"""How many flows there are (IPCTNL_MSG_CT_GET_STATS)."""

from __future__ import annotations

from pyconntrack.core.netlink import attributes
from pyconntrack.core.requests import table_request

TYPE_CHECKING = False

if TYPE_CHECKING:
    from pyconntrack.kernel.socket import ConntrackSocket

GET_STATS = 5
NLM_F_ACK = 0x004
HEADER_SIZE = 20  # nlmsghdr and nfgenmsg
# CTA_STATS_GLOBAL_*, linux/netfilter/nfnetlink_conntrack.h
GLOBAL_ENTRIES, GLOBAL_MAX_ENTRIES = 1, 2


def table_counts(socket: ConntrackSocket) -> tuple[int, int]:
    """Flows in the table of this network namespace, and how many it may hold (0 before Linux 5.11, which does
    not say). Raises ConntrackError.
    """
    sequence = socket.next_sequence()
    counts: dict[int, int] = {}
    for message in socket.request(table_request(GET_STATS, NLM_F_ACK, sequence), sequence):
        counts |= numbers(message[HEADER_SIZE:])
    return counts.get(GLOBAL_ENTRIES, 0), counts.get(GLOBAL_MAX_ENTRIES, 0)


def numbers(data: bytes) -> dict[int, int]:
    """Attributes that hold a big-endian number each."""
    return {kind: int.from_bytes(value, "big") for kind, value in attributes(data).items()}
