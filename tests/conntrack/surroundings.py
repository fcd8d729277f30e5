# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command finds in the file system: with or without names of labels, with or without /proc."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

LABEL_NAMES = """\
# number and name of each label
0 first
1\tsecond
2   third
5 five
63 middle
77 with-dash
100 0x10
126 before_last
127 last
"""

# Names of protocols and users, and where the linker finds its libraries.
_NEEDED = ("group", "ld.so.cache", "localtime", "nsswitch.conf", "passwd", "protocols", "services")


class Mounts:
    """A mount namespace in which `script` was run by the shell. Ends with `close`."""

    def __init__(self, script: str) -> None:
        """Raises RuntimeError with what the script said if it fails."""
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-e", "-c", f"{script}\necho ready\nexec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._keeper.stdout is not None
        said = self._keeper.stdout.readline()
        if said != "ready\n":
            self.close()
            raise RuntimeError(f"no mount namespace of our own: {said.strip()}")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command line that is to be run there."""
        return ("nsenter", "--mount", "--target", str(self._keeper.pid), "--")

    def close(self) -> None:
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()


def with_label_names(directory: Path) -> Mounts:
    """A file system that has names of labels where the tools look for them; others have none there."""
    system = directory / "etc"
    names = system / "xtables" / "connlabel.conf"
    names.parent.mkdir(parents=True)
    names.write_text(LABEL_NAMES)
    for name in _NEEDED:
        if Path("/etc", name).exists():
            shutil.copy(f"/etc/{name}", system / name)
    return Mounts(f"mount --bind {shlex.quote(str(system))} /etc")


def without_label_names() -> Mounts | None:
    """A file system without names of labels; None where the machine's own has none."""
    return Mounts("mount -t tmpfs tmpfs /etc/xtables") if Path("/etc/xtables").exists() else None


def without_proc() -> Mounts:
    """A file system with nothing in /proc."""
    return Mounts("mount -t tmpfs tmpfs /proc")
