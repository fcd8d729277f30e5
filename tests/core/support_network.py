# SPDX-License-Identifier: GPL-2.0-or-later
"""What a queue sends, taken apart."""

from __future__ import annotations

from typing import NamedTuple

from pyconntrack.core.datagrams import Datagrams
from pyconntrack.core.queue import MessageQueue


class Sent(NamedTuple):
    """A message on the wire."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def take_apart(datagram: bytes) -> list[Sent]:
    """The messages of a datagram."""
    found = []
    while datagram:
        assert datagram[0] >> 4 == 1
        length = int.from_bytes(datagram[2:4], "big")
        assert 8 <= length <= len(datagram)
        sequence = int.from_bytes(datagram[4:8], "big")
        found.append(Sent(datagram[0] & 15, datagram[1], sequence, datagram[8:length]))
        datagram = datagram[length:]
    return found


def messages_of(out: Datagrams) -> list[Sent]:
    """The messages in `out`."""
    return [sent for index in range(len(out)) for sent in take_apart(out[index])]


def send_some(queue: MessageQueue, sequence: int, flags: int = 0, limit: int = 1 << 20) -> list[Sent]:
    """What the queue sends in one go."""
    out = Datagrams(1472)
    queue.fill(out, sequence & 0xFFFFFFFF, flags, limit)
    return messages_of(out)
