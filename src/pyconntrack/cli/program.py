# SPDX-License-Identifier: GPL-2.0-or-later
"""Where commands begin: before anything else is loaded, they are made to end and write as C programs do."""

from __future__ import annotations

import os
import signal
import sys


def begin() -> None:
    """Let a closed pipe and Ctrl-C end the process at once, without a word.

    A standard descriptor that is closed becomes /dev/null, so that nothing else gets its number.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - pathlib takes time to load


def conntrack() -> int:
    """The command conntrack(8) with the arguments of the process. Returns the exit status."""
    begin()
    from pyconntrack.cli.conntrack import run

    return run([os.fsencode(word) for word in sys.argv[1:]])


def nfct() -> int:
    """The command nfct(8) with the arguments of the process. Returns the exit status."""
    begin()
    from pyconntrack.cli.nfct import run

    return run(sys.argv[1:])
