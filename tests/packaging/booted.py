# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian in a directory, booted: systemd is process 1 of namespaces of its own, with a root of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from functools import partial
from pathlib import Path
from types import TracebackType

from testbed.command import run_command
from testbed.waiting import wait_until
from tests.packaging.chroot import Chroot

# systemd clears /tmp, mounts over what it finds, and sets sysctls: nothing of this machine may be in reach
# when it begins. So its root is another one, by pivot_root(2), with /dev, /run and /tmp of its own; of the
# sysctls, it can write those of its network namespace; of the control groups, it sees only its own.
_BOOT = """
set -eu
cd "$1"
mount --bind . .
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mkdir dev/old
pivot_root . dev/old
umount -l /dev/old
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-sys_boot \\
    env -i container=testbed PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
"""
_NAMESPACES = ["--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup"]
# What reaches for hardware, the network outside, or the clock.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "getty.target",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
)


def control_groups() -> Path | None:
    """Where the control groups of version 2 are mounted, if they are."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


class BootedDebian:
    """The Debian of a :class:`Chroot`, which has systemd, from its boot to its end. A context manager."""

    def __init__(self, chroot: Chroot, groups: Path) -> None:
        """``groups`` is where :func:`control_groups` found them."""
        self.root = chroot.root
        self._group = groups / f"testbed-{os.getpid()}-systemd"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BootedDebian:
        """Boot. Raises WaitTimeoutError where not everything has started in a minute."""
        for unit in _MASKED:
            with contextlib.suppress(FileExistsError):
                (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        self._group.mkdir()
        join = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
        isolated = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--propagation", "private"]
        command = [
            "sh",
            "-c",
            join,
            "sh",
            str(self._group),
            *isolated,
            "sh",
            "-c",
            _BOOT,
            "sh",
            str(self.root),
        ]
        with (self.root.parent / "boot.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(self._is_up, 60.0, "systemd to have started everything", self._log)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill process 1 and with it all others, and remove the control groups."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for directory, _, _ in os.walk(self._group, topdown=False):
            wait_until(partial(_removed, directory), 10.0, f"{directory} to be empty")

    def run(self, *args: str, check: bool = True) -> str:
        """Run a command inside and return its output. With ``check``, raises CommandFailedError."""
        return run_command(self._command(*args), timeout=60.0, check=check).stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit: systemctl show."""
        return self.run("systemctl", "show", unit, "--value", "-p", name).strip()

    def _command(self, *args: str) -> list[str]:
        assert self._process is not None
        inside = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", *args]
        return ["nsenter", "--all", "--target", self._first_process(), *inside]

    def _first_process(self) -> str:
        assert self._process is not None
        number = self._process.pid
        return Path(f"/proc/{number}/task/{number}/children").read_text().strip()

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"systemd did not come up: {self._log()}")
        if not self._first_process():
            return False
        return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    def _log(self) -> str:
        return (self.root.parent / "boot.log").read_text()


def _removed(directory: str) -> bool:
    try:
        Path(directory).rmdir()
    except OSError:
        return False
    return True
