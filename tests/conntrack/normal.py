# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be another at each run is made the same: time, process ids, a table's own ids, the version."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.conntrack.kernel_table import rounded
from tests.conntrack.tools import Result

_VERSION = re.compile(r"^conntrack v[0-9.]+ \((?:conntrack-tools|pyconntrack)\)", re.M)
_TITLE = re.compile(r"(?<=^Command line interface for the connection tracking system\. Version )\S+$", re.M)

_BEFORE_TIMEOUT = (
    # Plain text, of an event perhaps, of any protocol: name, number, timeout.
    r"^(?:\s*\[[^\]\n]*\])*\s*(?:ipv[46]\s+\d+ )?[\w-]+\s+\d+ (?=\d+ )",
    # An expectation begins with it.
    r"^(?:\s*\[[^\]\n]*\])*\s*(?=\d+ (?:l3proto|proto)\b)",
    # As a command line.
    r"^-\w\b.* -t ",
    # XML.
    r"<timeout>",
    # JSON.
    r'"timeout": ?',
)
_TIMEOUT = re.compile(f"({'|'.join(f'(?:{pattern})' for pattern in _BEFORE_TIMEOUT)})(\\d+)", re.M)

_CLOCK: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"^\[\d{10}\.\d{1,6} *\]\t", re.M), "[TIME]\t"),
    (re.compile(r"\[(start|stop)=[^\]]*\]"), r"[\1=TIME]"),
    (re.compile(r"delta-time=\d+"), "delta-time=SECONDS"),
    (re.compile(r"(?<=<deltatime>)\d+(?=</deltatime>)"), "SECONDS"),
    (re.compile(r"<(hour|min|sec|wday|day|month|year|usec|start|stop)>\d+</\1>"), r"<\1>TIME</\1>"),
    # The name is known only as long as the process lives.
    (re.compile(r"portid=\d+(?: progname=\S+)?"), "portid=PID"),
]
# Not what an echo has for its id.
_ID = re.compile(r"(code=\d+ id=\d+)|\bid=\d+|<id>\d+</id>")
_USE = re.compile(r"\buse=\d+|<use>\d+</use>")
_STATISTICS = re.compile(r"(?<=[a-z]=)\d+|^cpu=\d+", re.M)


def normal(result: Result, *, words: list[str], own_table: bool) -> Result:
    """The result without what passes with time; if each tool had a table of its own, without ids."""
    output, errors = _plain(result.output), _plain(result.errors)
    if "-S" in words or "--stats" in words:
        output = _STATISTICS.sub("N", output)
    if own_table:
        output = _ID.sub(lambda found: found[1] or "ID", output)
    if "-U" in words or "--update" in words:
        # Who else holds a flow while it is printed hangs on the dump that goes on meanwhile.
        output = _USE.sub("USE", output)
    return Result(output, errors, result.status)


def _plain(text: str) -> str:
    text = _TITLE.sub("VERSION", _VERSION.sub("conntrack VERSION", text))
    for pattern, name in _CLOCK:
        text = pattern.sub(name, text)
    return _TIMEOUT.sub(_round, text)


_round: Callable[[re.Match[str]], str] = lambda found: f"{found[1]}{rounded(int(found[2]))}"  # noqa: E731
