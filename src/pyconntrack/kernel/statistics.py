# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts of the table and of each processor (IPCTNL_MSG_CT_GET_STATS and _STATS_CPU)."""

from typing import NamedTuple

from pyconntrack.core.requests import table_request
from pyconntrack.kernel.counts import HEADER_SIZE, numbers, table_counts
from pyconntrack.kernel.socket import ConntrackSocket

GET_STATS_CPU = 4
NLM_F_DUMP = 0x300


class TableStatistics(NamedTuple):
    """Flows in the table of this network namespace, and how many it may hold (0 before Linux 5.11, which does
    not say).
    """

    entries: int
    max_entries: int


class ProcessorStatistics(NamedTuple):
    """What one processor counted since the start of the network namespace (struct ip_conntrack_stat)."""

    cpu: int
    found: int = 0
    invalid: int = 0
    insert: int = 0
    insert_failed: int = 0
    drop: int = 0
    early_drop: int = 0
    error: int = 0
    search_restart: int = 0
    clash_resolve: int = 0
    chain_too_long: int = 0


# CTA_STATS_*, linux/netfilter/nfnetlink_conntrack.h; numbers left out are of kernels long gone.
PROCESSOR_ATTRIBUTES = {
    2: "found",
    4: "invalid",
    8: "insert",
    9: "insert_failed",
    10: "drop",
    11: "early_drop",
    12: "error",
    13: "search_restart",
    14: "clash_resolve",
    15: "chain_too_long",
}


def table_statistics(socket: ConntrackSocket) -> TableStatistics:
    """Ask for the counts of the table. Raises ConntrackError."""
    return TableStatistics(*table_counts(socket))


def processor_statistics(socket: ConntrackSocket) -> list[ProcessorStatistics]:
    """Ask for the counts of each processor. Raises ConntrackError."""
    sequence = socket.next_sequence()
    answers = socket.request(table_request(GET_STATS_CPU, NLM_F_DUMP, sequence), sequence)
    return [processor(message) for message in answers]


def processor(message: bytes) -> ProcessorStatistics:
    """One processor's counts; its number stands in the netfilter header."""
    counts = {
        PROCESSOR_ATTRIBUTES[kind]: number
        for kind, number in numbers(message[HEADER_SIZE:]).items()
        if kind in PROCESSOR_ATTRIBUTES
    }
    return ProcessorStatistics(cpu=int.from_bytes(message[18:20], "big"), **counts)
