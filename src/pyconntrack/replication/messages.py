# SPDX-License-Identifier: GPL-2.0-or-later
"""Headers and control messages of the replication protocol, version 1, and what can be wrong with them."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import NamedTuple

from pyconntrack.core.wire import read_header

HEADER_SIZE = 8
VERSION = 1
TYPE_CONTROL = 10
TYPE_EXPECT_DESTROY = 5


class Flag(enum.IntFlag):
    """The second byte of a message."""

    EXTENDED = 0x01
    RESYNC = 0x02
    NACK = 0x04
    ACK = 0x08
    ALIVE = 0x10
    HELLO = 0x20
    HELLO_BACK = 0x40


# Plain numbers: these are tested for each datagram, and arithmetic on enums is slow.
RESYNC, NACK, ACK, ALIVE = int(Flag.RESYNC), int(Flag.NACK), int(Flag.ACK), int(Flag.ALIVE)
EXTENDED, HELLO, HELLO_BACK = int(Flag.EXTENDED), int(Flag.HELLO), int(Flag.HELLO_BACK)
_CONTROL_FLAGS = RESYNC | NACK | ACK | ALIVE
# Lengths of an ALIVE of ours: with who says it, with a digest, and with what is meant for one node alone.
_IDENTITY, _DIGEST, _ADDRESSED = HEADER_SIZE + 8, HEADER_SIZE + 16, HEADER_SIZE + 20


class Message(NamedTuple):
    """A message's header, and where it stands in its datagram."""

    offset: int
    type: int
    flags: int
    length: int
    sequence: int

    @property
    def is_data(self) -> bool:
        return self.type <= TYPE_EXPECT_DESTROY and not self.flags & ~(HELLO | HELLO_BACK)


@dataclass(slots=True)
class MessageErrors:
    """What was wrong with received messages, as `conntrackd -s network` counts it."""

    wrong_version: int = 0
    malformed_header: int = 0
    bad_type: int = 0
    truncated: int = 0
    bad_size: int = 0
    total: int = 0
    """Of all kinds: kept, since it is looked at for each datagram."""

    def count(self, kind: str) -> None:
        """One more of the kind, which is the name of a field."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.total += 1


def before(first: int, second: int) -> bool:
    """Whether sequence number `first` comes before `second`, modulo 2**32."""
    return (first - second) & 0xFFFFFFFF > 0x7FFFFFFF


def read_message(datagram: bytes, offset: int, errors: MessageErrors) -> Message | None:
    """The message at `offset`; None where the rest of the datagram holds none.

    One that is whole but means nothing comes as a control message without flags. `errors` counts both.
    """
    header = read_header(datagram, offset)
    if header is None:
        errors.count("truncated")
        return None
    version, kind, flags, length, sequence = header
    if version != VERSION:
        errors.count("wrong_version")
    elif length < HEADER_SIZE:
        errors.count("malformed_header")
    elif length > len(datagram) - offset:
        errors.count("truncated")
    else:
        message = Message(offset, kind, flags, length, sequence)
        if message.is_data or _control_is_sound(message):
            return message
        if kind > TYPE_EXPECT_DESTROY and kind != TYPE_CONTROL:
            errors.count("bad_type")
        else:
            errors.count("bad_size")
        # It has a number, which is not lost: else it would be asked for, and sent, again and again.
        return message._replace(type=TYPE_CONTROL, flags=0)
    return None


def _control_is_sound(message: Message) -> bool:
    control = message.flags & _CONTROL_FLAGS
    if message.type != TYPE_CONTROL or message.flags & 0x80 or control not in (RESYNC, NACK, ACK, ALIVE):
        return False
    if message.flags & EXTENDED:
        return control == ALIVE and message.length in (_IDENTITY, _DIGEST, _ADDRESSED)
    return control == ALIVE or message.length == HEADER_SIZE + 8


def read_range(datagram: bytes, message: Message) -> tuple[int, int]:
    """The first and last sequence number that an ACK or a NACK names."""
    first, last = struct.unpack_from(">II", datagram, message.offset + HEADER_SIZE)
    return first, last


class Extension(NamedTuple):
    """What an ALIVE of ours holds: the number of the `node` that says it, and one of the others or none."""

    node: int
    digest: tuple[int, int] | None = None
    """How many entries it has, and their digest."""
    control: int = 0
    """ACK, NACK or RESYNC, to the node `addressee` alone, with the range `first` to `last`."""
    addressee: int = 0
    first: int = 0
    last: int = 0


def read_extension(datagram: bytes, message: Message) -> Extension:
    """What follows the header of an ALIVE with the flag EXTENDED."""
    offset = message.offset + HEADER_SIZE
    word, node = struct.unpack_from(">II", datagram, offset)
    if message.length == _DIGEST:
        return Extension(node, (word, *struct.unpack_from(">Q", datagram, offset + 8)))
    if message.length == _ADDRESSED:
        return Extension(node, None, word, *struct.unpack_from(">III", datagram, offset + 8))
    return Extension(node)
