# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a command to its end, with an error that says what the command said."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence


class CommandFailedError(RuntimeError):
    """A command ended with a status other than 0. The text holds the command, the status and its stderr."""

    def __init__(self, completed: subprocess.CompletedProcess[str]) -> None:
        self.completed = completed
        said = (completed.stderr or completed.stdout or "").strip() or "nothing said"
        super().__init__(f"{shlex.join(completed.args)}: exit status {completed.returncode}: {said}")


def run_command(
    args: Sequence[str], *, input: str | None = None, timeout: float = 30.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``args`` with captured text output.

    ``timeout`` is in seconds. Raises :class:`CommandFailedError` on another status than 0 unless ``check`` is
    false, ``subprocess.TimeoutExpired`` when it takes too long (it is killed then).
    """
    # Nothing to say means end of file at once: a command must never read the terminal.
    completed = subprocess.run(list(args), input=input or "", capture_output=True, text=True, timeout=timeout)
    if check and completed.returncode != 0:
        raise CommandFailedError(completed)
    return completed
