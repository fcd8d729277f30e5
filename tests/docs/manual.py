# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages of the manual as a test reads them: a scene, and steps in their order.

A page names the machines on which it is carried out by a comment, ``<!-- scene: NAME -->``. Its fenced blocks
are its steps. A block of kind ``console`` has command lines behind a prompt, ``# `` or ``$ ``, which may
begin with the name of a machine (``fw1# ``), lines that go on with a command behind ``> ``, and what the
commands print, where ``...`` stands for anything. A comment just before a block says more of it:
``<!-- file: HOST ... PATH -->`` that its text is to be in a file, ``<!-- not run: REASON -->`` that no test
can carry it out, and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.docs.blocks import ROOT

MANUAL = ROOT / "docs" / "manual"
PAGES = sorted(MANUAL.glob("*.md"))

_SCENE = re.compile(r"<!-- scene: (\S+) -->")
_STEP = re.compile(
    r"(?:<!-- (?P<remark>file|not run): (?P<words>[^>]*?) -->\n\n?)?"
    r"^```(?P<kind>[\w.+{}-]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PROMPT = re.compile(r"^(?P<host>[a-z][a-z0-9]*)?[#$] (?P<command>.*)$")


@dataclass
class Command:
    """A command line, where it is given, and what it is to print: nothing means that this does not matter."""

    host: str
    line: int
    text: str
    output: list[str] = field(default_factory=list)

    def expected(self) -> re.Pattern[str] | None:
        """What its output must be like."""
        if not self.output:
            return None
        pattern = ""
        for line in self.output:
            if line.strip() == "...":
                pattern += r"(?:.*\n)*?"
            else:
                # A run of blanks stands for any: columns depend on numbers.
                parts = [r"\s+".join(map(re.escape, part.split(" "))) for part in _words(line)]
                pattern += ".*?".join(parts) + r"[ \t]*\n"
        return re.compile(pattern)


def _words(line: str) -> list[str]:
    return re.sub(r"[ \t]+", " ", line.rstrip()).split("...")


@dataclass(frozen=True)
class Step:
    """A block of a page."""

    line: int
    kind: str
    text: str
    remark: str = ""
    words: str = ""

    def commands(self) -> list[Command]:
        """Of a block of kind console. Raises ValueError where it does not begin with a command."""
        found: list[Command] = []
        for number, line in enumerate(self.text.splitlines(), start=self.line):
            match = _PROMPT.match(line)
            if match:
                found.append(Command(match["host"] or "", number, match["command"]))
            elif not found:
                raise ValueError(f"line {number} is neither a command nor the output of one")
            elif line.startswith("> ") and not found[-1].output:
                found[-1].text += "\n" + line[2:]
            else:
                found[-1].output.append(line)
        return found


@dataclass(frozen=True)
class Page:
    """A page of the manual."""

    name: str
    scene: str
    steps: list[Step]


def read_page(name: str) -> Page:
    """The page in docs/manual/NAME.md."""
    content = (MANUAL / f"{name}.md").read_text()
    scene = _SCENE.search(content)
    steps = [
        Step(
            content.count("\n", 0, match.start("text")) + 1,
            match["kind"],
            match["text"],
            match["remark"] or "",
            match["words"] or "",
        )
        for match in _STEP.finditer(content)
    ]
    return Page(name, scene[1] if scene else "", steps)
