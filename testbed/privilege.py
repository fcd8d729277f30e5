# SPDX-License-Identifier: GPL-2.0-or-later
"""The right to make network namespaces: as root, or as root of a user namespace of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_MARK = "TESTBED_USER_NAMESPACE"
_SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_TOOLS = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "mount": "mount"}


class PrivilegeError(RuntimeError):
    """Network namespaces cannot be made here. The text is one line with the reason."""


def in_user_namespace() -> bool:
    """Whether :func:`require_root` has moved this process into a user namespace."""
    return os.environ.get(_MARK) is not None


def require_root(argv: Sequence[str] | None = None) -> None:
    """Return if this process can make network namespaces; else replace it by itself in a user namespace.

    There (``unshare -Urnm``, unshare(1)) it is root over namespaces of its own, and ``/run`` is a tmpfs so
    that ``ip netns`` works. ``argv`` is the command line to execute again, by default this one. Call it
    before threads and children exist. Raises :class:`PrivilegeError`.
    """
    _complete_path()
    _require_tools()
    if in_user_namespace():
        _prepare_run()
        return
    own = _attempt("-nm")
    if os.geteuid() == 0 and own is None:
        return
    refused = _attempt("-Urnm")
    if refused is not None:
        who = f"root, but without the capabilities ({own})" if os.geteuid() == 0 else "not root"
        raise PrivilegeError(f"{who}, and this kernel refuses a user namespace ({refused})")
    command = list(argv) if argv is not None else [sys.executable, *sys.orig_argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe("unshare", ["unshare", "-Urnm", "--", *command], {**os.environ, _MARK: "1"})


def _complete_path() -> None:
    """Debian leaves the directories of ``ip``, ``nft`` and ``conntrackd`` out of a user's PATH."""
    known = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*known, *(path for path in _SYSTEM_PATHS if path not in known)])


def _require_tools() -> None:
    missing = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise PrivilegeError(f"missing: {', '.join(missing)} (apt install {' '.join(missing)})")


def _attempt(flags: str) -> str | None:
    """Why ``unshare`` with these flags fails, or None."""
    tried = subprocess.run(
        ["unshare", flags, "true"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if tried.returncode == 0:
        return None
    return tried.stderr.strip().replace("\n", "; ") or f"exit status {tried.returncode}"


def _prepare_run() -> None:
    done = Path("/run/lock/testbed")
    if done.is_dir():
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if mounted.returncode != 0:
        raise PrivilegeError(f"cannot mount a tmpfs in a user namespace: {mounted.stderr.strip()}")
    # A child that calls require_root() sees by this directory that it is done.
    done.mkdir(parents=True)
