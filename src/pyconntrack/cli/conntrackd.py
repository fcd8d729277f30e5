# SPDX-License-Identifier: GPL-2.0-or-later
"""The command conntrackd(8): the daemon, and the client of one that runs.

Every import that a client command does not need stands in the function that does.
"""

from __future__ import annotations

import sys

from pyconntrack.cli.options import USAGE, Options, UsageError, parse_options
from pyconntrack.daemon.log import ERROR, WARNING, print_line
from pyconntrack.version import VERSION

# As in typing, whose import would take longer than all the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyconntrack.config import Loaded, Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process if None. Returns the exit status."""
    try:
        options = parse_options(list(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        if error.usage:
            _show_usage()
        print_line(ERROR, str(error))
        return error.status
    try:
        return _act(options)
    except OSError as error:
        # Python must not try to flush once more. Where it is a pipe, its reader, like head(1), had enough.
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):
            print_line(ERROR, error.strerror or str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _act(options: Options) -> int:
    match options.action:
        case "help":
            _show_usage()
            return 0
        case "version":
            print(f"Connection tracking userspace daemon v{VERSION} (pyconntrack). Licensed under GPLv2+.")
            return 0
        case "check":
            return _check(options.config)
        case "doctor":
            from pyconntrack.cli.doctor.examination import doctor

            return doctor(options.config)
        case "request":
            return _request(options)
    loaded = _load(options.config)
    if loaded is None:
        return 1
    from pyconntrack.cli.start import start_daemon

    return start_daemon(loaded, background=options.background)


def _show_usage() -> None:
    print(f"Connection tracking userspace daemon v{VERSION} (pyconntrack)\n{USAGE}", end="", flush=True)


def _request(options: Options) -> int:
    """Ask the daemon that runs. The configuration is read in full only where a quick look does not do."""
    from pyconntrack.cli.socket_path import quick_socket_path

    path = quick_socket_path(options.config)
    if path is None:
        loaded = _load(options.config)
        if loaded is None:
            return 1
        path = str(loaded.settings.general.unix_path)
    return _send(path, options.request)


def _send(path: str, command: str) -> int:
    from pyconntrack.daemon.control_client import AnswerError, UnreachableError, request

    try:
        request(path, command, sys.stdout.buffer)
    except UnreachableError:
        print_line(ERROR, "can't connect: is conntrackd running? appropriate permissions?")
        return 1
    except AnswerError as error:
        print_line(ERROR, str(error))
        return 1
    return 0


def _load(config: str) -> Loaded | None:
    """Read the configuration; where it cannot be used, say why."""
    from pyconntrack.config import ConfigError, load

    try:
        loaded = load(config)
    except ConfigError as error:
        for problem in error.problems:
            print_line(ERROR, str(problem))
        return None
    for problem in loaded.warnings:
        print_line(WARNING, str(problem))
    return loaded


def _check(config: str) -> int:
    """Tell everything about a configuration, one line each; 1 where it cannot be used."""
    from pyconntrack.config import ConfigError, Problem, load, missing_interfaces

    errors: Sequence[Problem] = ()
    try:
        loaded = load(config)
        warnings = [*loaded.warnings, *missing_interfaces(loaded.settings)]
    except ConfigError as error:
        errors, warnings = error.problems, error.warnings
    else:
        warnings += [Problem(config, 0, 0, text) for text in _not_available(loaded.settings)]
    lines = [(problem, "error") for problem in errors] + [(problem, "warning") for problem in warnings]
    for problem, kind in sorted(lines):
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        print(f"{place}: {kind}: {problem.message}", file=sys.stderr)
    return 1 if errors else 0


def _not_available(settings: Settings) -> list[str]:
    from pyconntrack.daemon.availability import refusals, without_effect

    return refusals(settings) + without_effect(settings)


if __name__ == "__main__":
    sys.exit(main())
