# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that names connection labels, as iptables and libnetfilter_conntrack share it.

A line is a bit and a name. What libnetfilter_conntrack takes, is taken; what it passes over without a word,
is passed over: comments, names with other characters than letters, digits, spaces and `-`, bits beyond its
limit, a bit or a name for the second time.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pyconntrack.core.label_names import LabelNames

LABEL_MAP = "/etc/xtables/connlabel.conf"

# The library reads a line in pieces of this many bytes, and takes each for a line.
PIECE = 1023
BITS = 1024
ULONG = 1 << 64
# A bit as strtoul(3) reads it: octal with a leading 0, hexadecimal with 0x.
ENTRY = re.compile(
    rb"[ \t\v\f\r]*(?P<sign>[+-]?)(?P<bit>0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
    rb"[ \t\v\f\r]*(?P<name>[A-Za-z0-9 -]+?)?[ \t\v\f\r]*\n?\Z"
)


class LabelMapError(ValueError):
    """The file of label names cannot be read, or names nothing. The text is one line."""


def load_label_names(path: str | Path = LABEL_MAP) -> LabelNames:
    """The names in a file in the format of connlabel.conf.

    Raises LabelMapError where the file cannot be read, or no line of it names a bit.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LabelMapError(f"cannot read the label names in {path}: {error.strerror}") from error
    names = LabelNames()
    for bit, name in entries(data):
        names.add(bit, name)
    if not len(names):
        raise LabelMapError(f"{path} names no label: a line with a bit and a name is needed, such as `0 web`")
    return names


def entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every (bit, name) that the lines hold, doubles too."""
    for line in data.split(b"\n"):
        for start in range(0, len(line), PIECE):
            piece = line[start : start + PIECE].partition(b"\0")[0]
            match = ENTRY.match(piece)
            if match is None or match["name"] is None:
                continue
            bit = number(match["bit"], negative=match["sign"] == b"-")
            if bit < BITS:
                yield bit, match["name"]


def number(digits: bytes, *, negative: bool) -> int:
    """What strtoul(3) makes of digits with base 0: a negative number wraps around."""
    if digits[:2].lower() == b"0x":
        value = int(digits, 16)
    else:
        value = int(digits, 8 if digits.startswith(b"0") else 10)
    return -value % ULONG if negative and value < ULONG else value
