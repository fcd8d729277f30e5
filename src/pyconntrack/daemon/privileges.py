# SPDX-License-Identifier: GPL-2.0-or-later
"""Least privilege: the process keeps the capabilities that the configuration needs, and cannot get others.

The daemon is started by root, reads the datagrams of other hosts, and for that needs CAP_NET_ADMIN and little
else; see capabilities(7). To be called while the process has one thread: each has capabilities of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from pyconntrack.config import Settings

# linux/capability.h
_VERSION_3 = 0x20080522
# linux/prctl.h
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_FIRST_UNPRIVILEGED_PORT = 1024


class Capability(enum.IntEnum):
    """Those that a daemon may need after its start, ``CAP_*`` of linux/capability.h."""

    DAC_OVERRIDE = 1
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct"""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """struct __user_cap_data_struct; of two of them, the second has the capabilities from 32 on"""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def give_up(settings: Settings) -> frozenset[Capability]:
    """Keep only what a daemon with these settings needs. Returns that, as far as the process had it.

    Also gone: the other capabilities of the bounding set, the ambient ones, and what the start of a program
    could add (no_new_privs). Raises OSError.
    """
    permitted = _permitted()
    keep = _of_links(settings)
    if _needs_override(files_of(settings), permitted, keep):
        keep |= {Capability.DAC_OVERRIDE}
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):  # a kernel before 4.3 has no ambient capabilities
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _bound(keep)
    kept = permitted & _mask(keep)
    _set(effective=kept, permitted=kept)
    return frozenset(capability for capability in keep if kept >> capability & 1)


def _of_links(settings: Settings) -> frozenset[Capability]:
    """What the kernel's table and the links need.

    It takes CAP_NET_RAW to tie a socket anew when its interface was removed and comes back.
    """
    keep = {Capability.NET_ADMIN}
    if settings.sync is not None:
        keep.add(Capability.NET_RAW)
        if any(link.port < _FIRST_UNPRIVILEGED_PORT for link in settings.sync.links):
            keep.add(Capability.NET_BIND_SERVICE)
    return frozenset(keep)


def files_of(settings: Settings) -> list[Path]:
    """What the daemon makes, opens anew or removes while it runs, and at its end."""
    general = settings.general
    files = [general.lock_file, general.unix_path]
    files += [general.log_file] if general.log_file is not None else []
    stats = settings.stats
    files += [stats.log_file] if stats is not None and stats.log_file is not None else []
    return files


def _needs_override(files: Iterable[Path], permitted: int, keep: frozenset[Capability]) -> bool:
    """Whether some file is usable only for who may pass over permissions.

    It is tried, with this capability away for the moment: the kernel knows best, of access lists, too.
    """
    usable = [file for file in files if _usable(file)]
    _set(effective=permitted & _mask(keep), permitted=permitted)
    try:
        return not all(_usable(file) for file in usable)
    finally:
        _set(effective=permitted, permitted=permitted)


def _usable(file: Path) -> bool:
    """Whether it can be written, and be removed and made anew."""
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=True):
        return False
    return not file.exists() or os.access(file, os.W_OK, effective_ids=True)


def _mask(capabilities: Iterable[Capability]) -> int:
    return sum(1 << capability for capability in capabilities)


def _permitted() -> int:
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    _check(_libc.capget(ctypes.byref(header), data))
    return int(data[0].permitted) | int(data[1].permitted) << 32


def _set(*, effective: int, permitted: int) -> None:
    """With nothing inheritable, so that a program that is started has none by this way."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    for number in range(2):
        data[number].effective = effective >> 32 * number & 0xFFFFFFFF
        data[number].permitted = permitted >> 32 * number & 0xFFFFFFFF
    _check(_libc.capset(ctypes.byref(header), data))


def _bound(keep: frozenset[Capability]) -> None:
    """Take the others out of the bounding set. Without CAP_SETPCAP it stays; no_new_privs bounds then."""
    number = 0
    while True:
        try:
            if _prctl(_PR_CAPBSET_READ, number) and number not in keep:
                _prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):  # the last one was before this one, or we may not
                return
            raise
        number += 1


def _prctl(operation: int, argument: int) -> int:
    unsigned = ctypes.c_ulong
    return _check(
        _libc.prctl(operation, unsigned(argument), unsigned(0), unsigned(0), unsigned(0)),
    )


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
