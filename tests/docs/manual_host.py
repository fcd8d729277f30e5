# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine on which a page of the manual is carried out: a shell of root's in namespaces of its own."""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed import Namespace
from tests.docs.blocks import ROOT

_PROGRAMS = Path(sys.executable).parent
_PATH = f"{_PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "bash"]
SET_UP = """
mount -t tmpfs tmpfs /run && mkdir -p /run/lock /run/netns || exit
mount -t tmpfs tmpfs /mnt || exit
for directory in etc usr/local; do
    upper=/mnt/$directory/upper work=/mnt/$directory/work
    mkdir -p $upper $work || exit
    mount -t overlay overlay -o lowerdir=/$directory,upperdir=$upper,workdir=$work /$directory || exit
done
rm -rf /etc/conntrackd /etc/keepalived && mkdir /etc/conntrackd /etc/keepalived || exit
mount -t tmpfs tmpfs /var/log || exit
cd {root} && PATH={path} && HOME={home} && export PATH HOME || exit
unset PYTHONPATH
"""


class CommandTimeoutError(AssertionError):
    """A command of the manual's did not end."""


class Host:
    """A shell that lives from one command to the next, as a reader's does.

    Processes, mounts and the files that it changes in /etc, /usr/local, /run and /var/log are its own, and
    end with it. It stands in the source's directory. Its network is that of ``namespace``.

    Another ``shell``, with the commands that set it up, may stand on another machine's files.
    """

    def __init__(self, namespace: Namespace, shell: Sequence[str] = SHELL, set_up: str = SET_UP) -> None:
        self.namespace = namespace
        self._directory = namespace.directory / f"{namespace.label}-host"
        self._directory.mkdir()
        self._count = 0
        self._shell = namespace.popen(list(shell), pipes=True, name="shell")
        status, said = self.run(
            f"hostname {namespace.label}\n" + set_up.format(root=ROOT, path=_PATH, home=self._directory)
        )
        assert status == 0, said

    def run(self, text: str, timeout: float = 40.0) -> tuple[int, str]:
        """Carry out a command; its status, and all that it has printed."""
        self._count += 1
        script, output = (self._directory / f"{self._count}.{end}" for end in ("sh", "out"))
        script.write_text(text + "\n")
        self._shell.stdin.write(f". {script} >{output} 2>&1 </dev/null; s=$?; echo $s; (exit $s)\n")
        self._shell.stdin.flush()
        ready, _, _ = select.select([self._shell.stdout], [], [], timeout)
        if not ready:
            raise CommandTimeoutError(f"{timeout:.0f} s were not enough for: {text}\n{output.read_text()}")
        answer = self._shell.stdout.readline()
        said = output.read_text(errors="replace")
        assert answer, f"the shell has ended with: {text}\n{said}{self._shell.output()}"
        return int(answer), said

    def write(self, path: str, text: str) -> None:
        """Put a file into its place, as a reader does with an editor."""
        source = self._directory / "edited"
        source.write_text(text)
        status, said = self.run(f"mkdir -p {Path(path).parent} && cp {source} {path}")
        assert status == 0, said

    def close(self) -> None:
        """End all that runs here."""
        self._shell.kill()
