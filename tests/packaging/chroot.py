# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian with next to nothing in it, in a directory."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

from testbed.command import run_command

# Each program is executed in place of the one before, so that a signal comes to the last. The root is a mount
# of its own: ip-netns(8) asks for that.
_ENTER = """
root=$1 shared=$2
shift 2
mount --bind "$root" "$root" && mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" &&
    mkdir -p "$root$shared" && mount --bind "$shared" "$root$shared" && exec chroot "$root" "$@"
"""
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "Dpkg::Options::=--force-confold"]
_RECORDS = ("/var/lib/apt/", "/var/lib/dpkg/", "/var/cache/", "/var/log/")


class Chroot:
    """A Debian of this machine's release. The directory for temporary files is shared with it."""

    def __init__(self, root: Path) -> None:
        """Install it (mmdebstrap(1)) from where this machine's packages come. Raises CommandFailedError."""
        self.root = root
        self._shared = tempfile.gettempdir()
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        sources = [str(file) for file in _SOURCES if file.is_file() and file.read_text().strip()]
        options = ["--quiet", "--variant=minbase", "--format=directory", "--include=python3-venv"]
        options += ["--dpkgopt=force-unsafe-io", "--skip=cleanup/apt"]
        run_command(["mmdebstrap", *options, release, str(root), *sources[:1]], timeout=900.0)
        (root / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
        # There is no init here: packages must not start their daemons.
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)

    def command(self, *args: str) -> list[str]:
        """The command line that runs ``args`` inside."""
        return ["unshare", "-m", "sh", "-c", _ENTER, "sh", str(self.root), self._shared, *args]

    def run(self, *args: str, check: bool = True) -> str:
        """Run a command inside and return its output. With ``check``, raises CommandFailedError."""
        return run_command(self.command(*args), timeout=300.0, check=check).stdout

    def apt(self, *args: str) -> None:
        """Run apt-get(8); it asks nothing and keeps configurations as they are."""
        self.run(*_APT, "--no-install-recommends", *args)

    def packages(self) -> dict[str, str]:
        """The state of each package that is known: ``installed``, ``config-files``."""
        shown = self.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n")
        return {name: state for name, _, state in (line.partition(" ") for line in shown.splitlines())}

    def has(self, path: str) -> bool:
        """Whether there is such a path, a link that leads nowhere included."""
        inside = self.root / path.lstrip("/")
        return inside.exists() or inside.is_symlink()

    def paths_with(self, part: str) -> set[str]:
        """All paths with this in their name, except in the records of apt and dpkg."""
        found = run_command(["find", str(self.root), "-xdev", "-name", f"*{part}*"], timeout=60.0).stdout
        paths = {line.removeprefix(str(self.root)) for line in found.splitlines()}
        return {path for path in paths if not path.startswith(_RECORDS)}
