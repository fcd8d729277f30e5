# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of classic BPF, put together from instructions, labels and searches among ranges.

Codes: linux/bpf_common.h and linux/filter.h; what the kernel makes of them: its documentation,
networking/filter. All jumps go forward, and a conditional one at most 255 instructions far: where that does
not reach, the assembler sends it by way of an unconditional one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

LD_WORD, LD_HALF, LD_BYTE = 0x20, 0x28, 0x30
"""Load from a fixed place of the message, as a big-endian number."""
LD_WORD_AT_X, LD_BYTE_AT_X = 0x40, 0x50
LD_NUMBER, LD_MEMORY, LD_LENGTH = 0x00, 0x60, 0x80
LDX_NUMBER, STORE, TAX = 0x01, 0x02, 0x07
OR_X, SHIFT_LEFT = 0x4C, 0x64
JUMP, JUMP_EQUAL, JUMP_EQUAL_X, JUMP_AT_LEAST = 0x05, 0x15, 0x1D, 0x35
RETURN = 0x06

MAXIMUM = 4096
"""Instructions of the longest program, BPF_MAXINSNS."""

_WORD_BITS = 32
_REACH = 255
# The most instructions of a search that share two jumps to where it ends.
_BLOCK = 100


class Label:
    """A place in a program, which can be jumped to before it is known."""

    def __init__(self) -> None:
        self.item = -1


@dataclass(slots=True)
class _Item:
    """One instruction; a conditional jump may become up to three."""

    code: int
    number: int = 0
    yes: Label | None = None
    no: Label | None = None
    far_yes: bool = False
    far_no: bool = False

    @property
    def size(self) -> int:
        return 1 + self.far_yes + self.far_no


class Assembler:
    """Instructions in their order. `jump` is unconditional; `branch` goes to one of two labels."""

    def __init__(self) -> None:
        self._items: list[_Item] = []

    def add(self, code: int, number: int = 0) -> None:
        self._items.append(_Item(code, number))

    def jump(self, target: Label) -> None:
        self._items.append(_Item(JUMP, yes=target))

    def branch(self, code: int, number: int, yes: Label, no: Label) -> None:
        self._items.append(_Item(code, number, yes, no))

    def place(self, label: Label) -> None:
        """What comes next is where the label is."""
        label.item = len(self._items)

    def assemble(self) -> bytes:
        """An array of struct sock_filter. Raises ValueError where it is longer than the kernel takes."""
        starts = self._starts()
        while self._lengthen(starts):
            starts = self._starts()
        if starts[-1] > MAXIMUM:
            raise ValueError(f"a program of {starts[-1]} instructions is longer than {MAXIMUM}")
        written = (self._write(item, start, starts) for item, start in zip(self._items, starts, strict=False))
        return b"".join(written)

    def _starts(self) -> list[int]:
        """Where each item begins, and where the last one ends."""
        starts = [0]
        for item in self._items:
            starts.append(starts[-1] + item.size)
        return starts

    def _lengthen(self, starts: list[int]) -> bool:
        """Give a jump of its own to what is too far for a conditional one. Whether there was any."""
        changed = False
        for item, start in zip(self._items, starts, strict=False):
            if item.yes is None or item.no is None:
                continue
            far_yes = item.far_yes or starts[item.yes.item] - start - 1 > _REACH
            far_no = item.far_no or starts[item.no.item] - start - 1 > _REACH
            changed = changed or (far_yes, far_no) != (item.far_yes, item.far_no)
            item.far_yes, item.far_no = far_yes, far_no
        return changed

    @staticmethod
    def _write(item: _Item, start: int, starts: list[int]) -> bytes:
        if item.yes is None:
            return _pack(item.code, item.number)
        yes = starts[item.yes.item]
        if item.no is None:
            return _pack(item.code, yes - start - 1)
        no = starts[item.no.item]
        jumps = b""
        near_yes, near_no = yes - start - 1, no - start - 1
        if item.far_yes:
            near_yes = 0
            jumps += _pack(JUMP, yes - start - 2)
        if item.far_no:
            near_no = int(item.far_yes)
            jumps += _pack(JUMP, no - start - 2 - near_no)
        return _pack(item.code, item.number, near_yes, near_no) + jumps


def _pack(code: int, number: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, number & 0xFFFFFFFF)


# Searches. A value of several words is compared word by word: the accumulator holds one of them.


@dataclass(frozen=True, slots=True)
class _End:
    inside: bool


@dataclass(frozen=True, slots=True)
class _Compare:
    code: int
    number: int
    yes: _Tree
    no: _Tree


@dataclass(frozen=True, slots=True)
class _NextWord:
    word: int
    then: _Tree


_Tree = _End | _Compare | _NextWord


def add_search(
    program: Assembler,
    ranges: Sequence[tuple[int, int]],
    bits: int,
    memory: int,
    inside: Label,
    outside: Label,
) -> None:
    """Go to `inside` where a value is in one of the ranges, else to `outside`.

    The ranges are sorted and disjoint, both ends belong to them. A value has 32 bits or a multiple of them;
    its first word is in the accumulator, the next one in the program's memory at `memory` + 1, and so on.
    """
    bounds = [bound for first, last in ranges for bound in (first, last + 1) if bound < 1 << bits]
    tree = _tree([_split(bound, bits // _WORD_BITS) for bound in bounds], 0, False)
    _add_tree(program, tree, memory, inside, outside)


def _split(number: int, words: int) -> tuple[int, ...]:
    return tuple(number >> _WORD_BITS * place & 0xFFFFFFFF for place in reversed(range(words)))


def _tree(bounds: list[tuple[int, ...]], word: int, inside: bool) -> _Tree:
    """Decide over a value whose words before `word` are those of the bounds, which have the others left.

    At each bound it goes into a range or out of one; below the first it is as `inside` says.
    """
    pieces: list[tuple[int, _Tree]] = [(0, _End(inside))]
    for number, group in groupby(bounds, key=lambda bound: bound[0]):
        rest = [bound[1:] for bound in group]
        if pieces[-1][0] == number:
            pieces.pop()
        if not any(rest[0]):
            inside = not inside
            del rest[0]
        if not rest:
            pieces.append((number, _End(inside)))
            continue
        pieces.append((number, _NextWord(word + 1, _tree(rest, word + 1, inside))))
        inside ^= len(rest) % 2 == 1
        if number < 0xFFFFFFFF:
            pieces.append((number + 1, _End(inside)))
    return _balanced(pieces)


def _balanced(pieces: list[tuple[int, _Tree]]) -> _Tree:
    """Find the piece that a word belongs to; each begins at its number and ends where the next begins."""
    if len(pieces) == 1:
        return pieces[0][1]
    if len(pieces) == 3:
        before, (number, only), (end, after) = pieces
        if before[1] == after and end == number + 1:
            return _Compare(JUMP_EQUAL, number, only, after)
    middle = len(pieces) // 2
    return _Compare(JUMP_AT_LEAST, pieces[middle][0], _balanced(pieces[middle:]), _balanced(pieces[:middle]))


def _size(tree: _Tree) -> int:
    if isinstance(tree, _Compare):
        return 1 + _size(tree.yes) + _size(tree.no)
    return 1 + _size(tree.then) if isinstance(tree, _NextWord) else 0


def _add_tree(program: Assembler, tree: _Tree, memory: int, inside: Label, outside: Label) -> None:
    """In blocks, of which each ends with jumps to where the search ends: they are near from within it."""
    if isinstance(tree, _End) or _size(tree) <= _BLOCK:
        near_inside, near_outside = Label(), Label()
        _add_block(program, tree, memory, near_inside, near_outside)
        program.place(near_inside)
        program.jump(inside)
        program.place(near_outside)
        program.jump(outside)
    elif isinstance(tree, _NextWord):
        program.add(LD_MEMORY, memory + tree.word)
        _add_tree(program, tree.then, memory, inside, outside)
    else:
        yes, no = Label(), Label()
        program.branch(tree.code, tree.number, yes, no)
        program.place(no)
        _add_tree(program, tree.no, memory, inside, outside)
        program.place(yes)
        _add_tree(program, tree.yes, memory, inside, outside)


def _add_block(program: Assembler, tree: _Tree, memory: int, inside: Label, outside: Label) -> None:
    if isinstance(tree, _End):
        program.jump(inside if tree.inside else outside)
    elif isinstance(tree, _NextWord):
        program.add(LD_MEMORY, memory + tree.word)
        _add_block(program, tree.then, memory, inside, outside)
    else:
        yes, no = (
            Label() if not isinstance(child, _End) else inside if child.inside else outside
            for child in (tree.yes, tree.no)
        )
        program.branch(tree.code, tree.number, yes, no)
        for child, label in ((tree.no, no), (tree.yes, yes)):
            if not isinstance(child, _End):
                program.place(label)
                _add_block(program, child, memory, inside, outside)
