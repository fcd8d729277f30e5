# SPDX-License-Identifier: GPL-2.0-or-later
"""What conntrack(8) says on standard error: programs read it, so that it is worded as the C tool words it."""

from __future__ import annotations

import errno
import os
import sys

from pyconntrack.version import VERSION

TITLE = f"conntrack v{VERSION} (pyconntrack)"
SEE_HELP = "Try `conntrack -h' or 'conntrack --help' for more information."

_NOT_PERMITTED = "sorry, you must be root or get CAP_NET_ADMIN capability to do this"
_REASONS = {
    errno.EPERM: _NOT_PERMITTED,
    errno.ENOMEM: "not enough memory",
    errno.EAFNOSUPPORT: "protocol not supported",
    errno.EINVAL: "invalid parameters",
}
NO_SUCH_FLOW = "such conntrack doesn't exist"
FLOW_EXISTS = "Such conntrack exists, try -U to update"


class CommandFailedError(Exception):
    """The command ends here, with this text and exit status; `usage` says that the line itself is wrong."""

    def __init__(self, text: str, *, status: int = 1, usage: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.usage = usage


def say(text: str) -> None:
    """A line on standard error, behind what was printed so far."""
    sys.stdout.flush()
    tell(f"{TITLE}: {text}\n")


def tell(text: str) -> None:
    """Text to standard error, as it is; nobody hears of it where that cannot be written."""
    try:  # noqa: SIM105 - contextlib takes time to load
        os.write(2, os.fsencode(text))
    except OSError:
        pass


def reason(number: int) -> str:
    """An errno of the kernel in the C tool's words."""
    return _REASONS.get(number) or os.strerror(number)


def failed(number: int, *, missing: str | None = None, exists: str | None = None) -> CommandFailedError:
    """What to raise for an errno; `missing` says what ENOENT means to the command, `exists` what EEXIST."""
    text = {errno.ENOENT: missing, errno.EEXIST: exists}.get(number) or reason(number)
    return CommandFailedError(f"Operation failed: {text}")
