# SPDX-License-Identifier: GPL-2.0-or-later
"""What a case is: the words of one command line, and the table that it is run on.

The files `cases_*.py` write them as a shell would, one command line in each line. Behind two number signs a
line may say what is special about it::

    -L -o xml
    -L --id 5           ## differs: crash
    -L -n1.2.3.4        ## as: -L -n 1.2.3.4
    -U -n1.2.3.4 -m 5   ## as: -U -n 1.2.3.4 -m 5   ## differs: update-without-family

The second differs from the C tool in a way that is meant, see `deliberate.py`. The third must do what the C
tool does with the other words; those differ deliberately, too. The fourth differs from that as well.

`{file}` in the words stands for a file with the case's text.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One command line, its table and its surroundings."""

    words: str
    scene: str = "empty"
    changes: bool = False
    """Whether it may change the table: then it is made anew for each tool, else both run on the same."""
    text: str | None = None
    """The standard input, and the content of `{file}`."""
    labels: bool = False
    """Whether there is a file with names of labels."""
    user: int | None = None
    """The user that runs it, if not root."""
    differs: tuple[str, ...] = ()
    """The names of the deliberate differences that show in this case; see `deliberate.py`."""
    reference: str = ""
    """The words for the C tool, if they are others."""

    @property
    def arguments(self) -> list[str]:
        return shlex.split(self.words)

    def __str__(self) -> str:
        text = "" if self.text is None else f" < {self.text!r}"
        surroundings = (" with names of labels" if self.labels else "") + (
            "" if self.user is None else f" as user {self.user}"
        )
        shown = f"{self.words or 'nothing'}{text}"
        return f"{self.scene}{surroundings}: {shown if len(shown) < 160 else shown[:157] + '...'}"


def reads(scene: str, lines: str, *, labels: bool = False, user: int | None = None) -> Iterator[Case]:
    """Command lines that leave the table as it is, those that are refused among them."""
    for words, reference, differs in _split(lines):
        yield Case(words, scene, labels=labels, user=user, differs=differs, reference=reference)


def changes(scene: str, lines: str, *, labels: bool = False) -> Iterator[Case]:
    """Command lines that may change the table."""
    for words, reference, differs in _split(lines):
        yield Case(words, scene, changes=True, labels=labels, differs=differs, reference=reference)


def loads(scene: str, words: str, text: str, *differs: str, labels: bool = False) -> Case:
    """A command line that may change the table, with a text as its file and standard input."""
    return Case(words, scene, changes=True, text=text, labels=labels, differs=differs)


def refused(lines: str) -> Iterator[Case]:
    """Command lines of which nothing comes, on the smallest of tables that is not empty."""
    return reads("one", lines)


def _split(lines: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for line in lines.strip().splitlines():
        words, *texts = line.split("##")
        remarks = dict(text.strip().split(": ", 1) for text in texts)
        if not remarks.keys() <= {"differs", "as"}:
            raise ValueError(f"no such remark: {line}")
        if words.strip():
            yield words.strip(), remarks.get("as", "").strip(), tuple(remarks.get("differs", "").split())
