# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what each asks for, and what each mistake is called."""

from __future__ import annotations

import pytest

from pyconntrack.cli.options import DEFAULT_CONFIG, UsageError, parse_options
from pyconntrack.daemon.statistics import OWN_SUBJECTS, SUBJECTS


@pytest.mark.parametrize(
    ("line", "request_line"),
    [
        ("-i", "dump internal ct plain"),
        ("-i ct", "dump internal ct plain"),
        ("-i expect", "dump internal expect plain"),
        ("-i -x", "dump internal ct xml"),
        ("-e expect -x", "dump external expect xml"),
        ("-e -C file -x", "dump external ct xml"),
        ("-e nodes", "dump external ct nodes"),
        ("-c", "commit"),
        ("-c ct", "commit ct"),
        ("-f", "flush"),
        ("-f internal", "flush internal"),
        ("-f external", "flush external"),
        ("-F", "flush-kernel"),
        ("-F expect", "flush-kernel expect"),
        ("-R", "resync-kernel"),
        ("-R ct", "resync-kernel ct"),
        ("-n", "request-resync"),
        ("-B", "send-bulk"),
        ("-t", "reset-timers"),
        ("-k", "stop"),
        ("-s", "statistics"),
        *((f"-s {subject}", f"statistics {subject}") for subject in SUBJECTS + OWN_SUBJECTS if subject),
        ("-i -s", "statistics"),
        ("-s -i", "dump internal ct plain"),
        ("-i -x -e", "dump external ct plain"),
    ],
)
def test_client_commands(line: str, request_line: str) -> None:
    options = parse_options(line.split())
    assert (options.action, options.request) == ("request", request_line)


@pytest.mark.parametrize(
    ("line", "action", "background"),
    [
        ("", "run", False),
        ("-d", "run", True),
        ("-d -d", "run", True),
        ("--check", "check", False),
        ("--doctor", "doctor", False),
        ("doctor", "doctor", False),
        ("-v", "version", False),
        ("-h", "help", False),
        ("--help", "help", False),
        ("-i -h", "help", False),
        ("-h -Z", "help", False),
    ],
)
def test_other_actions(line: str, action: str, background: bool) -> None:
    options = parse_options(line.split())
    assert (options.action, options.background) == (action, background)
    assert options.config == DEFAULT_CONFIG


@pytest.mark.parametrize("line", ["-C one -s", "-s -C one", "-C two -s -C one"])
def test_the_configuration_is_the_last_one_named(line: str) -> None:
    assert parse_options(line.split()).config == "one"


@pytest.mark.parametrize(
    ("line", "message", "usage", "status"),
    [
        ("-Z", "Unknown option: -Z", True, 0),
        ("word", "Unknown option: word", True, 0),
        ("-i bogus", "Unknown option: bogus", True, 0),
        ("-n ct", "Unknown option: ct", True, 0),
        ("-s bogus", "unknown parameter `bogus' for option `-s'", False, 1),
        ("-f ct", "unknown parameter `ct' for option `-f'", False, 1),
        ("-x", "Invalid parameters", True, 1),
        ("-x -i", "Invalid parameters", True, 1),
        ("-s -x", "Invalid parameters", True, 1),
        ("-d -i", "Invalid parameters", True, 1),
        ("-i -d", "Invalid parameters", True, 1),
        ("-d --check", "Invalid parameters", True, 1),
        ("--check -d", "Invalid parameters", True, 1),
        ("--check -i", "Invalid parameters", True, 1),
        ("-i --check", "Invalid parameters", True, 1),
        ("-i doctor", "Invalid parameters", True, 1),
        ("doctor -i", "Invalid parameters", True, 1),
        ("-d doctor", "Invalid parameters", True, 1),
        ("--doctor -d", "Invalid parameters", True, 1),
        ("-C", "Missing config filename", True, 1),
        ("-i -C", "Missing config filename", True, 1),
    ],
)
def test_mistakes(line: str, message: str, usage: bool, status: int) -> None:
    with pytest.raises(UsageError) as raised:
        parse_options(line.split())
    assert (str(raised.value), raised.value.usage, raised.value.status) == (message, usage, status)
