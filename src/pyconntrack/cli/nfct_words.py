# SPDX-License-Identifier: GPL-2.0-or-later
"""What both subsystems of nfct(8) share: how a command fails, and the words for families."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from pyconntrack.version import VERSION

T = TypeVar("T")

# AF_INET, AF_INET6
_FAMILIES = {"inet": 2, "inet6": 10}


class CommandError(Exception):
    """The command cannot be carried out. The arguments are the lines for standard error, of which the first
    gets the command's name and release before it.
    """

    status = 1

    def __str__(self) -> str:
        return prefixed("\n".join(self.args))


class UsageError(CommandError):
    """Nothing but a line of help."""

    def __str__(self) -> str:
        return "\n".join(self.args)


class CannotOpenError(CommandError):
    """There is no netlink to speak to."""

    status = 255


def opened(kind: Callable[[], T]) -> T:
    """The objects of a subsystem. Raises CannotOpenError."""
    try:
        return kind()
    except OSError as error:
        raise CannotOpenError(f"cannot open netlink: {os.strerror(error.errno or 0)}") from error


def no_more(parameters: list[str]) -> None:
    """Raises CommandError where there are parameters."""
    if parameters:
        raise CommandError("too many arguments")


def family_number(word: str) -> int:
    """The layer 3 family of this name. Raises CommandError."""
    if word not in _FAMILIES:
        raise CommandError("unknown layer 3 protocol")
    return _FAMILIES[word]


def cut(name: str, limit: int) -> str:
    """A name, without what is longer than the kernel takes in bytes."""
    return os.fsdecode(os.fsencode(name)[:limit])


def prefixed(text: str) -> str:
    """A line with the command's name and release before it."""
    return f"nfct v{VERSION}: {text}"
