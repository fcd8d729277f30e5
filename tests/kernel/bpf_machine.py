# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine for classic BPF, as the kernel's documentation (networking/filter) has it, with netlink's loads.

Only what a program over netlink messages needs. What the kernel would refuse raises AssertionError.
"""

from __future__ import annotations

import struct

EVERYTHING = 0xFFFFFFFF
_NLATTR, _NLATTR_NEST = 0xFFFFF00C, 0xFFFFF010
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}


class OutOfBoundsError(Exception):
    """A load from behind the end: the program ends, the message is dropped."""


def passes(program: bytes, message: bytes) -> bool:
    return run(program, message) != 0


def run(program: bytes, message: bytes) -> int:
    """The value that the program returns for a message."""
    try:
        return _Machine(message).run(list(struct.iter_unpack("=HBBI", program)))
    except OutOfBoundsError:
        return 0


def find_attribute(message: bytes, begin: int, end: int, kind: int) -> int:
    """The offset of the first attribute of a type, 0 where there is none before the first broken one."""
    while end - begin >= 4:
        length, found = struct.unpack_from("=HH", message, begin)
        if length < 4 or length > end - begin:
            return 0
        if found & 0x3FFF == kind:
            return begin
        begin += (length + 3) & ~3
    return 0


class _Machine:
    def __init__(self, message: bytes) -> None:
        self.message = message
        self.accumulator = 0
        self.index = 0
        self.memory: dict[int, int] = {}

    def run(self, program: list[tuple[int, int, int, int]]) -> int:
        at = 0
        while True:
            code, yes, no, number = program[at]
            at += 1
            if code == 0x06:
                return number
            if code & 7 == 5:
                at += self.jump(code, yes, no, number)
            else:
                self.step(code, number)

    def jump(self, code: int, yes: int, no: int, number: int) -> int:
        if code == 0x05:
            return number
        operand = self.index if code & 8 else number
        comparisons = {0x10: self.accumulator == operand, 0x30: self.accumulator >= operand}
        return yes if comparisons[code & 0xF0] else no

    def step(self, code: int, number: int) -> None:
        kind = code & 7
        if kind == 0:
            self.accumulator = self.load(code, number)
        elif code == 0x01:
            self.index = number
        elif code == 0x02:
            self.memory[number] = self.accumulator
        elif code == 0x07:
            self.index = self.accumulator
        elif code == 0x4C:
            self.accumulator |= self.index
        else:
            assert code == 0x64, hex(code)
            self.accumulator = self.accumulator << number & 0xFFFFFFFF

    def load(self, code: int, number: int) -> int:
        mode = code & 0xE0
        if mode == 0x00:
            return number
        if mode == 0x60:
            return self.memory[number]
        if mode == 0x80:
            return len(self.message)
        if mode == 0x20 and number in (_NLATTR, _NLATTR_NEST):
            return self.find(number == _NLATTR_NEST)
        size = _SIZES[code & 0x18]
        place = number + (self.index if mode == 0x40 else 0)
        if place + size > len(self.message):
            raise OutOfBoundsError
        return int.from_bytes(self.message[place : place + size], "big")

    def find(self, nested: bool) -> int:
        begin, end = self.accumulator, len(self.message)
        if end < 4 or begin > end - 4:
            return 0
        if nested:
            (length,) = struct.unpack_from("=H", self.message, begin)
            if length > end - begin:
                return 0
            begin, end = begin + 4, begin + length
        return find_attribute(self.message, begin, end, self.index)
