# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads `conntrackd.conf`: from a file or a text to `Settings`."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from .build import build_settings
from .problems import ConfigError, Problem, Report
from .reader import Reader
from .schema import FILE, OUTERMOST
from .settings import Settings, Source
from .syntax import read_tree

SIZE_LIMIT = 1 << 19
"""Bytes. The longest example with all its comments has 14 thousand."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and what its reader had to remark."""

    settings: Settings
    warnings: list[Problem]


def load(path: str | os.PathLike[str]) -> Loaded:
    """Read a configuration file.

    Raises:
        ConfigError: the file cannot be read or is not sound; it tells every mistake.
    """
    name = os.fspath(path)
    try:
        with Path(name).open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _whole(name, f"cannot read the configuration: {reason}") from None
    if len(data) > SIZE_LIMIT:
        raise _whole(name, f"larger than {SIZE_LIMIT} bytes; this is no conntrackd.conf")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise _whole(name, f"a zero byte in line {line}; this is a binary file and no conntrackd.conf")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problem = Problem(
            name, line, column, f"byte 0x{data[error.start]:02x} is not UTF-8; convert the file"
        )
        raise ConfigError([problem]) from None
    return parse(text, name)


def parse(text: str, name: str = "conntrackd.conf") -> Loaded:
    """Read a configuration from a text; ``name`` stands for the file in messages.

    Raises:
        ConfigError: the text is not sound; it tells every mistake.
    """
    if len(text) > SIZE_LIMIT:
        raise _whole(name, f"larger than {SIZE_LIMIT} bytes; this is no conntrackd.conf")
    report = Report(name)
    items = read_tree(text.removeprefix("\ufeff"), report, OUTERMOST)
    if not items and not report.errors:
        report.error(
            None, 'the configuration is empty; it needs "General { … }" and "Sync { … }" or "Stats { … }"'
        )
    body = Reader(report).read(items, FILE)
    settings = build_settings(body, report)
    if settings is None:
        raise ConfigError(report.errors, report.warnings)
    return Loaded(settings, sorted(report.warnings))


def missing_interfaces(settings: Settings) -> list[Problem]:
    """Tell which interfaces of the links this machine does not have, at this moment."""
    problems = []
    for link in settings.sync.links if settings.sync is not None else ():
        try:
            socket.if_nametoindex(link.interface)
        except OSError:
            source = link.source or Source("conntrackd.conf", 0, 0)
            message = f'no such interface: "{link.interface}"'
            problems.append(Problem(source.file, source.line, source.column, message))
    return problems


def _whole(name: str, message: str) -> ConfigError:
    return ConfigError([Problem(name, 0, 0, message)])
