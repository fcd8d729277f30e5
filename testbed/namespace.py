# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace: commands, processes, sockets, sysctls and nft rulesets inside it."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from testbed.command import CommandFailedError, run_command
from testbed.process import Process
from testbed.waiting import wait_until

_NAMED = Path("/run/netns")
_OWNED_NAME = re.compile(r"testbed-(\d+)-")
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_serial = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


class SysctlMissingError(RuntimeError):
    """The kernel does not have this setting here, or does not let us write it."""


class Namespace:
    """A network namespace of our own, named ``testbed-PID-SERIAL-NAME``, with ``lo`` up. A context manager.

    Its end kills whatever still runs inside, daemons that left their parent included.
    """

    def __init__(self, name: str, directory: Path) -> None:
        """Create it. ``directory`` takes the logs of its processes. Raises :class:`CommandFailedError`."""
        self.label = name
        self.name = f"testbed-{os.getpid()}-{next(_serial)}-{name}"
        self.directory = directory
        self._processes: list[Process] = []
        try:
            run_command(["ip", "netns", "add", self.name])
            self.ip("link", "set", "lo", "up")
            # Addresses are usable at once only without duplicate address detection.
            for interface in ("all", "default"):
                self.sysctl(f"net.ipv6.conf.{interface}.accept_dad", 0, required=False)
            # With its default, 2, it depends on listeners in *other* namespaces whether events are told.
            self.sysctl("net.netfilter.nf_conntrack_events", 1, required=False)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill and reap every process inside and delete the namespace. Harmless a second time."""
        while self._processes:
            self._processes.pop().kill()
        if (_NAMED / self.name).exists():
            delete_namespace(self.name)

    # -- commands and processes

    def command(self, args: Sequence[str]) -> list[str]:
        """The command line that runs ``args`` inside, for those who start it themselves."""
        return ["ip", "netns", "exec", self.name, *args]

    def run(
        self, args: Sequence[str], *, input: str | None = None, timeout: float = 30.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; see :func:`testbed.command.run_command`."""
        return run_command(self.command(args), input=input, timeout=timeout, check=check)

    def popen(
        self,
        args: Sequence[str],
        *,
        name: str = "",
        pipes: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a process inside. It ends with the namespace at the latest. ``name`` names its log."""
        log = self.directory / f"{self.label}-{name or Path(args[0]).name}.log"
        process = Process(self.command(args), log, pipes=pipes, environment=environment)
        self._processes.append(process)
        return process

    def ip(self, *args: str) -> str:
        """Run ``ip -n NAMESPACE ARGS`` and return its output."""
        return run_command(["ip", "-n", self.name, *args]).stdout

    def nft(self, ruleset: str) -> None:
        """Load a ruleset, all of it or nothing (``nft -f``). Raises :class:`CommandFailedError`."""
        self.run(["nft", "-f", "-"], input=ruleset)

    # -- this thread inside

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace; sockets made meanwhile stay in it (setns(2)).

        Only this thread is moved; threads and processes started meanwhile begin inside.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(_NAMED / self.name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(target)
            finally:
                os.close(target)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def sysctl(self, name: str, value: int | str, *, required: bool = True) -> None:
        """Set ``net.…`` inside. Raises :class:`SysctlMissingError` unless ``required`` is false."""
        with self.entered():
            try:
                _sysctl_path(name).write_text(f"{value}\n")
            except OSError as error:
                if required:
                    reason = f"{name}: cannot be set in {self.label}: {error.strerror}"
                    raise SysctlMissingError(reason) from error

    def read_sysctl(self, name: str) -> str:
        """The value of ``net.…`` inside. Raises :class:`SysctlMissingError`."""
        with self.entered():
            try:
                return _sysctl_path(name).read_text().strip()
            except OSError as error:
                reason = f"{name}: cannot be read in {self.label}: {error.strerror}"
                raise SysctlMissingError(reason) from error

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _sysctl_path(name: str) -> Path:
    # As sysctl(8): a slash in the dotted form stands for a dot, as in the name of a VLAN.
    return Path("/proc/sys", name.translate(str.maketrans("./", "/.")))


def _pids(name: str) -> list[int]:
    listed = run_command(["ip", "netns", "pids", name], check=False).stdout
    return [int(pid) for pid in listed.split() if int(pid) != os.getpid()]


def delete_namespace(name: str) -> None:
    """Kill what runs in the named namespace, then delete it. For namespaces of this package only."""
    if not _OWNED_NAME.match(name):
        raise ValueError(f"{name} is none of ours")
    for pid in _pids(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _pids(name), 10.0, f"the end of every process in {name}")
    run_command(["ip", "netns", "del", name])


def sweep() -> list[str]:
    """Delete the namespaces of processes that were killed before they could; return their names."""
    swept = []
    for entry in sorted(_NAMED.iterdir()) if _NAMED.is_dir() else []:
        match = _OWNED_NAME.match(entry.name)
        if match and not Path("/proc", match[1]).exists():
            with contextlib.suppress(CommandFailedError):  # another one may sweep at the same time
                delete_namespace(entry.name)
                swept.append(entry.name)
    return swept
