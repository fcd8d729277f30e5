# SPDX-License-Identifier: GPL-2.0-or-later
"""The scripts of contrib/ run in a namespace, beside a conntrackd that is played or real."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from testbed import run_command
from testbed.namespace import Namespace

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
OWN_DAEMON = ROOT / ".venv" / "bin" / "conntrackd"

# Notes what it is called with and what guards the namespace meanwhile; fails where a file bids it.
_PLAYED = """#!/bin/sh
echo "$*" >>{calls}
nft -t list table inet conntrackd_guard >/dev/null 2>&1 && printf '%s\\n' "$3" >>{calls}.guarded
if [ -e {calls}.fail"$3" ]; then echo "no, not this"; exit 1; fi
exit 0
"""


@dataclass
class Scripts:
    """How the scripts are set up on one node."""

    namespace: Namespace
    daemon: Path
    configuration: Path
    lock: Path
    settings: dict[str, str] = field(default_factory=dict)
    directory: Path = CONTRIB

    @property
    def log(self) -> Path:
        return self.namespace.directory / f"{self.namespace.label}.said"

    def environment(self) -> dict[str, str]:
        """Every path, and a logger that writes to a file."""
        logger = self.namespace.directory / f"{self.namespace.label}-logger"
        logger.write_text(f'#!/bin/sh\necho "$*" >>{self.log}\n')
        logger.chmod(0o755)
        return {
            "PATH": os.environ["PATH"],
            "CONNTRACKD_BIN": str(self.daemon),
            "CONNTRACKD_CONFIG": str(self.configuration),
            "CONNTRACKD_LOCK": str(self.lock),
            "CONNTRACKD_SCRIPTS_CONF": str(self.namespace.directory / f"{self.namespace.label}.scripts.conf"),
            "FAILOVER_LOCK": str(self.namespace.directory / f"{self.namespace.label}.turn"),
            "LOGGER": str(logger),
            **self.settings,
        }

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end, whatever its status."""
        settings = [f"{name}={value}" for name, value in self.environment().items()]
        command = ["env", "-i", *settings, str(self.directory / script), *arguments]
        return run_command(self.namespace.command(command), timeout=60.0, check=False)

    def said(self) -> list[str]:
        """What was logged so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []


class Played(Scripts):
    """Beside a conntrackd that only notes how it is called."""

    def __init__(self, namespace: Namespace) -> None:
        base = namespace.directory / namespace.label
        self.noted = base.with_suffix(".calls")
        super().__init__(
            namespace, base.with_suffix(".daemon"), Path("/etc/the.conf"), base.with_suffix(".lock")
        )
        self.daemon.write_text(_PLAYED.format(calls=self.noted))
        self.daemon.chmod(0o755)

    def fails(self, option: str) -> None:
        Path(f"{self.noted}.fail{option}").touch()

    def calls(self) -> list[str]:
        """The options of each call since the last look."""
        lines = self.noted.read_text().splitlines() if self.noted.exists() else []
        self.noted.unlink(missing_ok=True)
        assert all(line.startswith("-C /etc/the.conf -") for line in lines)
        return [line.removeprefix("-C /etc/the.conf ") for line in lines]

    def guarded(self) -> list[str]:
        """The options of the calls during which the guard stood, since the last look."""
        path = Path(f"{self.noted}.guarded")
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def guard(namespace: Namespace) -> str:
    """The guard's set as nft shows it; empty where there is no guard."""
    return namespace.run(["nft", "list", "set", "inet", "conntrackd_guard", "guarded"], check=False).stdout
