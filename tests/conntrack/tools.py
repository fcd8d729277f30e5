# SPDX-License-Identifier: GPL-2.0-or-later
"""The two tools, and how a command line of either is run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from testbed import Namespace
from tests.conntrack.surroundings import Mounts

NOBODY = 65534
_DEADLINE = 60.0
_ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class Result:
    """What a command line did as far as it is seen from outside."""

    output: str
    errors: str
    status: int

    def replaced(self, **parts: str | int) -> Result:
        return replace(self, **parts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Tool:
    """A `conntrack` to be run."""

    name: str
    command: tuple[str, ...]

    def line(self, arguments: list[str], mounts: Mounts | None = None, user: int | None = None) -> list[str]:
        """The command line, in another file system if `mounts`, as `user` if not as root."""
        drop = () if user is None else ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
        return [*(mounts.prefix if mounts else ()), *drop, *self.command, *arguments]

    def run(
        self,
        namespace: Namespace,
        arguments: list[str],
        *,
        mounts: Mounts | None = None,
        input: str | None = None,
        user: int | None = None,
    ) -> Result:
        """Run it in the namespace to its end."""
        with namespace.entered():
            ended = subprocess.run(
                self.line(arguments, mounts, user),
                input=(input or "").encode(),
                capture_output=True,
                env=_ENVIRONMENT,
                timeout=_DEADLINE,
                check=False,
            )
        return Result(_text(ended.stdout), _text(ended.stderr), ended.returncode)

    def start(self, namespace: Namespace, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start it in the namespace; its outputs are pipes."""
        with namespace.entered():
            return subprocess.Popen(
                self.line(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
            )


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _ours() -> tuple[str, ...]:
    named = os.environ.get("CONNTRACK_UNDER_TEST")
    return (named,) if named else (str(Path(sys.executable).parent / "conntrack"),)


C = Tool("C", ("/usr/sbin/conntrack",))
OURS = Tool("ours", _ours())
