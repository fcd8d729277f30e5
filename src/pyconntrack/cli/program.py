# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command does first, to end and to write as C programs do."""

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
