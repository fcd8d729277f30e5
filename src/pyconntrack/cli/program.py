# SPDX-License-Identifier: GPL-2.0-or-later
"""Where commands begin: before anything else is loaded, they are made to end and write as C programs do."""

from __future__ import annotations

# What the module signal wraps in enums, which take as long to load as all the rest.
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NoReturn


def begin() -> None:
    """Let a closed pipe and Ctrl-C end the process at once, without a word.

    A standard descriptor that is closed becomes /dev/null, so that nothing else gets its number.
    """
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - pathlib takes time to load


def conntrack() -> NoReturn:
    """The command conntrack(8) with the arguments of the process, which ends here.

    At once: to take the interpreter apart takes as long as many a command. Nothing is left to be written.
    """
    begin()
    from pyconntrack.cli.conntrack import run

    os._exit(run([os.fsencode(word) for word in sys.argv[1:]]))


def nfct() -> int:
    """The command nfct(8) with the arguments of the process. Returns the exit status."""
    begin()
    from pyconntrack.cli.nfct import run

    return run(sys.argv[1:])
