# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines to parse, with labels from a fixed list."""

from __future__ import annotations

import shlex

from pyconntrack.core.command_line import CommandLine, CommandLineError, parse


class Labels:
    """Three names, as a label map would have them."""

    def find(self, name: str, /) -> int:
        return {"one": 1, "two": 2, "last": 127}.get(name, -1)


def labels(path: str | None) -> Labels:
    return Labels()


def no_labels(path: str | None) -> Labels:
    raise FileNotFoundError(2, "No such file or directory")


def parsed(line: str) -> CommandLine:
    return parse([word.encode() for word in shlex.split(line)], labels)


def refused(line: str) -> CommandLineError:
    """What is said about a line that is wrong."""
    try:
        parse([word.encode() for word in shlex.split(line)], labels)
    except CommandLineError as error:
        return error
    raise AssertionError(f"{line} was taken")
