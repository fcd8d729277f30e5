# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the control socket is, without reading the whole configuration.

Client commands run from scripts and monitoring, and the grammar takes a tenth of a second to load. So a file
is first scanned for the one thing that they need; anything out of the ordinary is left to the real reader.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"#[^\n]*|[{}]|/\S*|[^\s{}#\"/][^\s{}#]*")

_SIZE_LIMIT = 1 << 16


def scan_socket_path(text: str) -> str | None:
    """The path in `General { UNIX { Path … } }` where that stands there exactly once, None otherwise."""
    if '"' in text:
        return None
    found: list[str] = []
    sections: list[str] = []
    last = ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token.startswith("#"):
            continue
        if token == "{":
            sections.append(last)
        elif token == "}":
            if not sections:
                return None
            sections.pop()
        elif last == "Path":
            if sections != ["General", "UNIX"]:
                return None
            found.append(token)
        last = token
    path = found[0] if len(found) == 1 and not sections else ""
    return path if path.startswith("/") and len(path.encode()) < 108 else None


def quick_socket_path(config: str) -> str | None:
    """The same of a file; None also where it cannot be read."""
    try:
        with open(config, encoding="utf-8-sig") as file:  # noqa: PTH123 - pathlib takes time to load
            text = file.read(_SIZE_LIMIT + 1)
    except (OSError, ValueError):
        return None
    return scan_socket_path(text) if len(text) <= _SIZE_LIMIT else None
