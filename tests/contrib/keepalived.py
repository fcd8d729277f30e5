# SPDX-License-Identifier: GPL-2.0-or-later
"""Real keepalived on a firewall of a namespace, by a configuration of contrib/."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from testbed import Process
from testbed.namespace import Namespace
from tests.contrib.scripts import CONTRIB, Scripts

ADVERT_SECONDS = 0.1
PREEMPT_SECONDS = 1


def keepalived_program() -> str:
    """Where it is; skips where it is not installed."""
    found = shutil.which("keepalived", path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip("keepalived is not installed")
    return found


class Keepalived:
    """One keepalived. ``substitutions`` are made in the example, beside those that every test needs."""

    def __init__(self, scripts: Scripts, example: str, substitutions: dict[str, str]) -> None:
        self.program = keepalived_program()
        self.namespace: Namespace = scripts.namespace
        self._process: Process | None = None
        base = self.namespace.directory / self.namespace.label
        self.configuration = base.with_suffix(".keepalived")
        self._pid_files = (base.with_suffix(".pid"), base.with_suffix(".vrrp"))
        self.roles, self.done = base.with_suffix(".roles"), base.with_suffix(".done")
        text = (CONTRIB / "keepalived" / example).read_text()
        for old, new in {
            # The test bed's directories are not only root's.
            r"enable_script_security\n": "\n",
            r"advert_int \S+": f"advert_int {ADVERT_SECONDS}",
            r"preempt_delay \S+": f"preempt_delay {PREEMPT_SECONDS}",
            r"/etc/conntrackd/([a-z-]+\.sh)": rf"{self._wrapper(scripts, base)} \1",
            **substitutions,
        }.items():
            text, count = re.subn(old, new, text)
            assert count, f"{old} is not in {example}"
        self.configuration.write_text(text)

    def _wrapper(self, scripts: Scripts, base: Path) -> Path:
        """A script with the settings of this node, which notes each change of role."""
        path = base.with_suffix(".notify")
        settings = "".join(f"export {name}='{value}'\n" for name, value in scripts.environment().items())
        path.write_text(
            f'#!/bin/sh\n{settings}words=$*\necho "$words" >>{self.roles}\nscript=$1\nshift\n'
            f'{CONTRIB}/$script "$@"\nstatus=$?\necho "$words" >>{self.done}\nexit $status\n'
        )
        path.chmod(0o755)
        return path

    def clear_run(self) -> None:
        """As a reboot does with /run."""
        for path in self._pid_files:
            path.unlink(missing_ok=True)
        if self.roles.exists():
            # What ran then will not come to its end.
            self.done.write_text(self.roles.read_text())

    def start(self) -> None:
        parent, child = map(str, self._pid_files)
        self._process = self.namespace.popen(
            [
                *[self.program, "--dont-fork", "--log-console", "--log-detail", "--vrrp"],
                *[
                    "--use-file",
                    str(self.configuration),
                    "--pid",
                    parent,
                    "--vrrp_pid",
                    child,
                ],
            ],
            name="keepalived",
        )

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    def noted(self) -> list[str]:
        """Each call of a script so far."""
        return self.roles.read_text().splitlines() if self.roles.exists() else []

    def idle(self) -> bool:
        """Whether every script that it has called is through."""
        done = self.done.read_text().splitlines() if self.done.exists() else []
        return len(done) == len(self.noted())

    def log(self) -> str:
        return self.process.output()
