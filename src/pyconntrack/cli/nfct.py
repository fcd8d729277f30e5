# SPDX-License-Identifier: GPL-2.0-or-later
"""The command nfct(8): timeout policies, and helpers in user space.

    nfct command subsystem [parameters]

Both words may be abbreviated and stand in either order. Texts and exit status are those of the C tool.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from pyconntrack.cli.nfct_words import CommandError, UsageError
from pyconntrack.version import VERSION

# In the order in which an abbreviation is looked up.
COMMANDS = ("list", "add", "delete", "get", "flush", "disable", "default-set", "default-get")
SUBSYSTEMS = ("timeout", "helper", "version")

_USAGE = "Usage: nfct command subsystem [parameters]..."

HELP = """\
Usage: nfct command subsystem [parameters]...

Timeout policies: how long a flow lives in each state, in seconds
  nfct list timeout                               show all policies
  nfct get timeout NAME                           show one
  nfct add timeout NAME FAMILY PROTOCOL STATE SECONDS [STATE SECONDS]...
                                                  add one
  nfct delete timeout NAME                        delete one that no rule uses
  nfct flush timeout                              delete all that no rule uses
  nfct default-get timeout FAMILY PROTOCOL        show a protocol's defaults
  nfct default-set timeout FAMILY PROTOCOL STATE SECONDS [STATE SECONDS]...
                                                  set some of them

Helpers in user space, for conntrackd(8)
  nfct list helper                                show all helpers
  nfct get helper NAME [FAMILY PROTOCOL]          show one
  nfct add helper NAME FAMILY PROTOCOL            add one
  nfct disable helper NAME FAMILY PROTOCOL        queue no more packets for it
  nfct delete helper NAME [FAMILY PROTOCOL]       delete one
  nfct flush helper                               delete all

  nfct list version                               show the release
  nfct --help, nfct --version                     show this, or the release

FAMILY is inet or inet6. PROTOCOL is tcp, udp, udplite, icmp, icmpv6, sctp,
dccp, gre or generic; for helpers tcp or udp. Words may be abbreviated.
The states of each protocol, and the helpers, are told in nfct(8).
"""

_VERSION = f"""\
nfct v{VERSION}: utility for the Netfilter's Connection Tracking System
Copyright (C) The pyconntrack authors
This program comes with ABSOLUTELY NO WARRANTY.
This is free software, and you are welcome to redistribute it under certain{" "}
conditions; see LICENSE file distributed in this package for details.
"""


def run(words: Sequence[str]) -> int:
    """Run the command with these arguments. Returns the exit status."""
    try:
        _write(_answer(list(words)))
    except CommandError as error:
        _complain(str(error))
        return error.status
    return 0


def _answer(words: list[str]) -> list[str]:
    """What goes to standard output. Raises CommandError."""
    if words in (["--help"], ["-h"]):
        return [HELP]
    if words in (["--version"], ["-V"]):
        return [_VERSION]
    if len(words) < 2:
        raise UsageError(_USAGE)
    command, subsystem = _command_and_subsystem(*words[:2])
    if subsystem == "version":
        return [_VERSION]
    try:
        return _ask(command, subsystem, words[1], words[2:])
    except OSError as error:
        raise CommandError(f"netlink error: {_reason(error)}") from error
    except ValueError as error:
        raise CommandError(f"netlink error: {error}") from error


def _ask(command: str, subsystem: str, word: str, parameters: list[str]) -> list[str]:
    """Let the subsystem do it, of which only the one at hand is loaded."""
    if subsystem == "timeout":
        from pyconntrack.cli.nfct_timeout import timeout_command

        return timeout_command(command, parameters)
    from pyconntrack.cli.nfct_helper import helper_command

    return helper_command(command, word, parameters)


def _reason(error: OSError) -> str:
    """The C tool's words; where it can be helped, what to do about it, too."""
    from pyconntrack.kernel.subsystem import SubsystemMissingError

    if isinstance(error, SubsystemMissingError) or error.errno == errno.EPERM:
        return error.strerror or ""
    return os.strerror(error.errno or 0)


def _command_and_subsystem(first: str, second: str) -> tuple[str, str]:
    """The two words, in whichever order they came. Raises CommandError."""
    command, other = _known(first, COMMANDS), second
    if command is None:
        command, other = _known(second, COMMANDS), first
    subsystem = _known(other, SUBSYSTEMS)
    if subsystem is None:
        raise CommandError(f"Unknown subsystem: {first}", _USAGE)
    if command is None:
        raise CommandError(f"Unknown command: {first}", _USAGE)
    return command, subsystem


def _known(word: str, known: Sequence[str]) -> str | None:
    """The first known word that begins like this one; `help` therefore is the subsystem `helper`."""
    return next((name for name in known if name.startswith(word)), None)


def _write(texts: list[str]) -> None:
    """To standard output, in the bytes that names came in. Raises CommandError."""
    try:
        for text in texts:
            sys.stdout.buffer.write(os.fsencode(text))
        sys.stdout.flush()
    except OSError as error:
        # Python must not try to flush once more.
        sys.stdout = None
        raise CommandError(f"cannot write: {error.strerror}") from error


def _complain(text: str) -> None:
    """To standard error, which may be closed."""
    try:
        os.write(2, os.fsencode(f"{text}\n"))
    except OSError:
        return


if __name__ == "__main__":
    from pyconntrack.cli.program import nfct

    sys.exit(nfct())
