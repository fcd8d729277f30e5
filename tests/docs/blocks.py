# SPDX-License-Identifier: GPL-2.0-or-later
"""The fenced blocks of the documentation, for the tests that run them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```(?P<kind>[\w.+-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: the word at its opening fence, its text, and the line where that begins."""

    file: Path
    line: int
    kind: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def blocks_of(path: str, kind: str) -> list[Block]:
    """The blocks of one kind in a file of the repository."""
    file = ROOT / path
    content = file.read_text()
    return [
        Block(file, content.count("\n", 0, match.start("text")) + 1, match["kind"], match["text"])
        for match in _BLOCK.finditer(content)
        if match["kind"] == kind
    ]
