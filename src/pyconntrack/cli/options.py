# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of conntrackd(8).

Read in order, and as the C daemon reads it: of several client commands the last counts, a command takes the
next word where that does not begin with a dash, `-x` stands after `-i` or `-e`. An unknown option shows the
usage and exits with 0, as there.
"""

from __future__ import annotations

USAGE = """\
Usage: conntrackd [commands] [options]

Commands and options of the daemon:
  -d, run in the background
  -C [file], the configuration, /etc/conntrackd/conntrackd.conf otherwise
  --check, check the configuration and exit
  --doctor (or doctor), look at this machine, and say what to do
  -v, show the version
  -h, show this help

Commands to the daemon that runs:
  -c [ct|expect], commit the external cache to the kernel's table
  -f [internal|external], flush a cache, or both
  -F [ct|expect], flush the kernel's table
  -i [ct|expect], show the internal cache
  -e [ct|expect|nodes], show the external cache, or which node each flow is from
  -k, stop the daemon
  -s [network|cache|runtime|link|rsqueue|process|queue|ct|expect|nodes],
     show statistics
  -R [ct|expect], read the kernel's table again
  -n, ask the other nodes for their states
  -B, send all states to the other nodes
  -x, show a cache as XML (after -i or -e)
  -t, flush the kernel's table after PurgeTimeout

"""

DEFAULT_CONFIG = "/etc/conntrackd/conntrackd.conf"

_TABLES = ("ct", "expect")
_SUBJECTS = ("network", "cache", "runtime", "link", "rsqueue", "process", "queue", "ct", "expect", "nodes")

_COMMANDS = {
    "-i": ("dump internal", _TABLES),
    "-e": ("dump external", (*_TABLES, "nodes")),
    "-c": ("commit", _TABLES),
    "-F": ("flush-kernel", _TABLES),
    "-R": ("resync-kernel", _TABLES),
    "-f": ("flush", ("internal", "external")),
    "-s": ("statistics", _SUBJECTS),
    "-n": ("request-resync", ()),
    "-B": ("send-bulk", ()),
    "-t": ("reset-timers", ()),
    "-k": ("stop", ()),
}
"""The request of each client command, and the words that it takes."""

_STRICT = ("-s", "-f")
"""Commands that complain of a word that they do not know; others leave it to be an unknown option."""


class UsageError(Exception):
    """The command line cannot be used. `usage` says whether the help belongs before the message."""

    def __init__(self, message: str, *, usage: bool, status: int) -> None:
        super().__init__(message)
        self.usage = usage
        self.status = status


class Options:
    """What the command line asks for."""

    def __init__(self) -> None:
        self.config = DEFAULT_CONFIG
        self.action = "run"
        """run, request, check, doctor, version or help."""
        self.background = False
        self.command = ""
        """The request to the daemon, without the form of a dump."""
        self.xml = False

    @property
    def request(self) -> str:
        """The request line for the control socket."""
        if not self.command.startswith("dump "):
            return self.command
        if self.command.endswith(" nodes"):
            return "dump external ct nodes"
        table = "" if self.command.endswith(_TABLES) else " ct"
        return f"{self.command}{table} {'xml' if self.xml else 'plain'}"


def parse_options(arguments: list[str]) -> Options:
    """Raises UsageError."""
    options = Options()
    words = list(reversed(arguments))
    while words:
        word = words.pop()
        if word == "-C":
            if not words:
                raise UsageError("Missing config filename", usage=True, status=1)
            options.config = words.pop()
        elif word in _COMMANDS:
            _command(options, word, words)
        elif not _switch(options, word):
            raise UsageError(f"Unknown option: {word}", usage=True, status=0)
        if options.action in ("version", "help"):
            break
    return options


def _command(options: Options, option: str, words: list[str]) -> None:
    request, known = _COMMANDS[option]
    if options.action in ("check", "doctor") or options.background:
        raise UsageError("Invalid parameters", usage=True, status=1)
    options.action, options.command, options.xml = "request", request, False
    if known and words and not words[-1].startswith("-"):
        if words[-1] in known:
            options.command += f" {words.pop()}"
        elif option in _STRICT:
            message = f"unknown parameter `{words[-1]}' for option `{option}'"
            raise UsageError(message, usage=False, status=1)


def _switch(options: Options, word: str) -> bool:
    """Options that are no client commands; False where the word is none of them."""
    invalid = UsageError("Invalid parameters", usage=True, status=1)
    if word == "-x":
        if not options.command.startswith("dump ") or options.command.endswith(" nodes"):
            raise invalid
        options.xml = True
    elif word == "-d":
        if options.action != "run":
            raise invalid
        options.background = True
    elif word in ("--check", "--doctor", "doctor"):
        if options.action == "request" or options.background:
            raise invalid
        options.action = word.lstrip("-")
    elif word in ("-v", "--version"):
        options.action = "version"
    elif word in ("-h", "--help"):
        options.action = "help"
    else:
        return False
    return True
