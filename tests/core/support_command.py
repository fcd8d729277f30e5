# SPDX-License-Identifier: GPL-2.0-or-later
"""The C command `conntrack`, fed with messages of our choice in place of the kernel's."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

DONE = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)
SECONDS, MICROSECONDS = 1_700_000_042, 28


class Command:
    """Runs `conntrack` behind a library that answers its receives."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if shutil.which("conntrack") is None or compiler is None:
            pytest.skip("conntrack and a C compiler are not installed (Debian: conntrack, gcc)")
        if shutil.which("unshare") is None:
            pytest.skip("unshare is not installed (Debian: util-linux)")
        self._directory = directory
        self._library = directory / "replayed_kernel.so"
        source = Path(__file__).with_name("replayed_kernel.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)
        self.labels = directory / "labels.conf"
        self.labels.write_text("0 zero\n1 one\n5 five five\n127 last\n")

    def output(
        self, messages: Sequence[bytes], *arguments: str, labels: bool = False, zone: str = "UTC"
    ) -> bytes:
        """What it prints of these messages; of a dump they are all, as events they are the last."""
        datagrams = [*messages, DONE] if "-L" in arguments else messages
        replay = self._directory / "replay"
        replay.write_bytes(b"".join(struct.pack("=I", len(data)) + data for data in datagrams))
        environment = {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            "REPLAY_FILE": str(replay),
            "REPLAY_TIME": f"{SECONDS}.{MICROSECONDS}",
            "TZ": zone,
        }
        if labels:
            environment["REPLAY_LABELS"] = str(self.labels)
        user = [] if os.geteuid() == 0 else ["-U", "-r"]
        done = subprocess.run(
            ["unshare", "-n", *user, "conntrack", *arguments],
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
