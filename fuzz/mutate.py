# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes that are nearly right."""

from __future__ import annotations

from random import Random

# What lengths and flags go wrong at.
_EDGES = (0x00, 0x01, 0x02, 0x03, 0x04, 0x07, 0x08, 0x0F, 0x10, 0x7F, 0x80, 0xFE, 0xFF)


def mutate(random: Random, seed: bytes, other: bytes) -> bytes:
    """A variant of `seed`: bytes changed, cut off, repeated, or with a piece of `other` in it."""
    data = bytearray(seed)
    kind = random.random()
    if kind < 0.5 or not data:
        for _ in range(1 + int(random.random() * 3)):
            if data:
                value = (
                    _EDGES[int(random.random() * len(_EDGES))]
                    if random.random() < 0.7
                    else random.getrandbits(8)
                )
                data[int(random.random() * len(data))] = value
    elif kind < 0.7:
        del data[int(random.random() * len(data)) :]
    elif kind < 0.85:
        place = int(random.random() * len(data))
        data[place:place] = data[place // 2 : place]
    else:
        place = int(random.random() * len(data))
        data[place : place + int(random.random() * 64)] = other[: int(random.random() * 64)]
    return bytes(data)
