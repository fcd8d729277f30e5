# SPDX-License-Identifier: GPL-2.0-or-later
"""The two tools, and how a command line of either is run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from testbed import Namespace
from tests.conntrack.surroundings import Mounts

NOBODY = 65534
_DEADLINE = 60.0
# One at a time: now and then execve(2) gave EFAULT where several threads, each in a namespace, started one.
_starting = threading.Lock()


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
    """A `conntrack` to be run, by that name, for some messages tell it."""

    name: str
    directory: Path

    def line(self, arguments: list[str], mounts: Mounts | None = None, user: int | None = None) -> list[str]:
        """The command line, in another file system if `mounts`, as `user` if not as root."""
        drop = () if user is None else ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
        return [*(mounts.prefix if mounts else ()), *drop, "conntrack", *arguments]

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
        process = self.start(namespace, arguments, mounts=mounts, user=user)
        try:
            output, errors = process.communicate((input or "").encode(), _DEADLINE)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return result_of(output, errors, process.returncode)

    def start(
        self,
        namespace: Namespace,
        arguments: list[str],
        *,
        mounts: Mounts | None = None,
        user: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start it in the namespace; its standard files are pipes."""
        environment = {
            "PATH": os.pathsep.join([str(self.directory), os.environ.get("PATH", os.defpath)]),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        with _starting, namespace.entered():
            return subprocess.Popen(
                self.line(arguments, mounts, user),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )


def result_of(output: bytes, errors: bytes, status: int) -> Result:
    """A result of what a process wrote."""
    return Result(_text(output), _text(errors), status)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


C = Tool("C", Path("/usr/sbin"))
OURS = Tool("ours", Path(os.environ.get("CONNTRACK_UNDER_TEST", sys.executable)).parent)
