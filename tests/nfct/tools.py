# SPDX-License-Identifier: GPL-2.0-or-later
"""Both nfct tools, run in a namespace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from testbed import Namespace

C_TOOL = ["nfct"]
OURS = [sys.executable, "-c", "import sys; from pyconntrack.cli.program import nfct; sys.exit(nfct())"]

_RELEASE = re.compile(rb"\bv\d+\.\d+\.\d+\b")


class Outcome(NamedTuple):
    """How a command ended; the release in its words is `vX`."""

    status: int
    output: bytes
    errors: bytes


def run_tool(
    tool: Sequence[str],
    words: Sequence[str],
    namespace: Namespace,
    *,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a tool to its end."""
    with namespace.entered():
        done = subprocess.run(
            [*tool, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
            env=None if environment is None else {**os.environ, **environment},
        )
    output, errors = (_RELEASE.sub(b"vX", text) for text in (done.stdout, done.stderr))
    return Outcome(done.returncode, output, errors)
