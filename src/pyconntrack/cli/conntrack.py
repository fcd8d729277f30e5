# SPDX-License-Identifier: GPL-2.0-or-later
"""The command conntrack(8): the tables of connection tracking, from a shell.

It is started from scripts by the thousand: what a command does not need is imported by those that do.
"""

from __future__ import annotations

import os
import sys

from pyconntrack.cli.conntrack_messages import SEE_HELP, TITLE, CommandFailedError, failed, tell
from pyconntrack.core.command_line import (
    COMMAND_ADD,
    COMMAND_COUNT,
    COMMAND_CREATE,
    COMMAND_DELETE,
    COMMAND_EVENT,
    COMMAND_FLUSH,
    COMMAND_GET,
    COMMAND_LIST,
    COMMAND_LOAD,
    COMMAND_STATISTICS,
    COMMAND_UPDATE,
    COMMAND_VERSION,
    TABLE_EXPECT,
    CommandLine,
    CommandLineError,
    parse,
)
from pyconntrack.kernel.errors import ConntrackError

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Command = Callable[[CommandLine], int]


def run(words: Sequence[bytes]) -> int:
    """Run the command with these arguments. Returns the exit status."""
    try:
        status = carry_out(words)
        sys.stdout.flush()
        return status
    except CommandFailedError as error:
        return _complain(str(error), error.status, usage=error.usage)
    except CommandLineError as error:
        _warn(error.warnings)
        place = "" if error.line is None else f"line {error.line}: "
        return _complain(f"{place}{error}", error.status, usage=error.usage)
    except ConntrackError as error:
        return _complain(str(failed(error.errno or 0)), 1)
    except OSError as error:
        return _complain(_of_system(error), 1)


def carry_out(words: Sequence[bytes]) -> int:
    """Carry out one command line. Returns the exit status.

    Raises CommandLineError, CommandFailedError, OSError.
    """
    from pyconntrack.cli.conntrack_labels import find_labels

    line = parse(words, find_labels)
    _warn(line.warnings)
    return command_of(line)(line)


def command_of(line: CommandLine) -> Command:
    """The function behind a command of a table."""
    command = line.command
    if command in (COMMAND_COUNT, COMMAND_STATISTICS):
        from pyconntrack.cli import conntrack_counts

        return conntrack_counts.count if command == COMMAND_COUNT else conntrack_counts.statistics
    if command == COMMAND_EVENT:
        from pyconntrack.cli.conntrack_events import follow

        return follow
    if command == COMMAND_LOAD:
        from pyconntrack.cli.conntrack_load import load

        return load
    if command == COMMAND_VERSION:
        return _version
    if line.table == TABLE_EXPECT:
        return _expectation_command(command)
    return _flow_command(command)


def _flow_command(command: int) -> Command:
    from pyconntrack.cli import conntrack_flows

    return {
        COMMAND_LIST: conntrack_flows.show,
        COMMAND_GET: conntrack_flows.get,
        COMMAND_DELETE: conntrack_flows.delete,
        COMMAND_CREATE: conntrack_flows.create,
        COMMAND_ADD: conntrack_flows.create,
        COMMAND_UPDATE: conntrack_flows.update,
        COMMAND_FLUSH: conntrack_flows.flush,
    }.get(command, _help)


def _expectation_command(command: int) -> Command:
    from pyconntrack.cli import conntrack_expectations

    return {
        COMMAND_LIST: conntrack_expectations.show,
        COMMAND_GET: conntrack_expectations.get,
        COMMAND_DELETE: conntrack_expectations.delete,
        COMMAND_CREATE: conntrack_expectations.create,
        COMMAND_FLUSH: conntrack_expectations.flush,
    }.get(command, _help)


def _version(_: CommandLine) -> int:
    print(TITLE)
    return 0


def _help(_: CommandLine) -> int:
    from pyconntrack.cli.conntrack_help import HELP

    print(HELP, end="")
    return 0


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        tell(f"{text}\n")


def _complain(text: str, status: int, *, usage: bool = False) -> int:
    """Tell of an error, behind what was printed if that can be written at all."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python must not try to flush once more.
        sys.stdout = None
    hint = f"{SEE_HELP}\n" if usage else ""
    tell(f"{TITLE}: {text}\n{hint}")
    return status


def _of_system(error: OSError) -> str:
    place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


if __name__ == "__main__":
    from pyconntrack.cli.program import conntrack

    conntrack()
