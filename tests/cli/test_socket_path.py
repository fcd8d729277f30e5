# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick look for the control socket finds what the real reader finds, or says that it does not know."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyconntrack.cli.socket_path import quick_socket_path, scan_socket_path
from pyconntrack.config import ConfigError, parse

SYNC = """Sync { Mode FTFW { }
    UDP { IPv4_address 10.9.0.1 IPv4_Destination_Address 10.9.0.2 Port 3780 Interface lo } }"""


def configuration(general: str) -> str:
    return f"{SYNC}\nGeneral {{\n{general}\n}}\n"


@pytest.mark.parametrize(
    "general",
    [
        "UNIX {\n Path /run/a.ctl\n}",
        "UNIX { Path /run/a.ctl Backlog 20 }",
        "UNIX { Backlog 20 Path /run/a.ctl }",
        "UNIX{Path /run/a.ctl }",
        "HashSize 1 # UNIX { Path /run/b.ctl }\nUNIX { # no\nPath # here\n /run/a.ctl # it is\n}",
        "LockFile /run/lock\nUNIX { Path /run/a.ctl\n}\nSyslog on",
    ],
)
def test_usual_ways_to_write_it(general: str) -> None:
    text = configuration(general)
    found = scan_socket_path(text)
    assert found is not None
    assert Path(found) == parse(text).settings.general.unix_path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "General { }",
        "General { UNIX { } }",
        "General { UNIX { Path } }",
        "General { UNIX { Path relative } }",
        'General { UNIX { Path "/run/a.ctl" } }',
        'General { UNIX { Path /run/a.ctl } LogFile "x" }',
        "General { UNIX { Path /run/a.ctl } UNIX { Path /run/b.ctl } }",
        "General { UNIX { Path /run/a.ctl Path /run/b.ctl } }",
        "General { UNIX { Path /run/a.ctl\n",
        "General { UNIX { Path /run/a.ctl\n } } }",
        "General { UNIX { Path /run/a.ctl} }",
        "Sync { UNIX { Path /run/a.ctl } }",
        "Path /run/a.ctl",
        "UNIX { Path /run/a.ctl }",
        "General { UNIX { Path /" + "x" * 107 + " } }",
    ],
)
def test_anything_else_is_left_to_the_reader(text: str) -> None:
    assert scan_socket_path(text) is None


BARE = ["UNIX", "Path", "Backlog", "20", "/run/a", "/run/b", "{", "}", "Syslog", "on", "LockFile", "HashSize"]
MORE = ["/run/d}", "/run/e#f", "# x\n", "\n", "UNIX {", "Path /run/c\n", "}\n", '"/run/g"', "HashSize 2"]
words = st.sampled_from([*BARE, *MORE])


@given(general=st.lists(words, max_size=14).map(" ".join))
@settings(max_examples=1000, deadline=None)
def test_it_never_differs_from_the_reader(general: str) -> None:
    text = configuration(general)
    found = scan_socket_path(text)
    if found is None:
        return
    try:
        expected = parse(text).settings.general.unix_path
    except ConfigError:
        return
    assert Path(found) == expected


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "conntrackd.conf"
    assert quick_socket_path(str(path)) is None
    path.write_text(configuration("UNIX { Path /run/a.ctl }"))
    assert quick_socket_path(str(path)) == "/run/a.ctl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert quick_socket_path(str(path)) == "/run/a.ctl"
    path.write_bytes(b"\xff" + path.read_bytes())
    assert quick_socket_path(str(path)) is None
    path.write_text("#" * 70000 + "\n" + configuration("UNIX { Path /run/a.ctl }"))
    assert quick_socket_path(str(path)) is None
    assert quick_socket_path(os.devnull) is None
