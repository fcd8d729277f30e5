# SPDX-License-Identifier: GPL-2.0-or-later
"""What a section `Helper` comes to: no helper runs in user space here, and the log says what to do."""

from __future__ import annotations

from collections.abc import Iterable

from pyconntrack.config import Helper
from pyconntrack.kernel.helpers import UserspaceHelpers
from pyconntrack.kernel.subsystem import SubsystemMissingError

# Of the C daemon's helpers those that are modules of the kernel as well: net/netfilter/nf_conntrack_*.c.
IN_KERNEL = frozenset(("amanda", "ftp", "sane", "tftp"))

_NO_SUPPORT = "this kernel does not support helpers in user space (it has no nfnetlink_cthelper)"
_NOT_RUN = "this daemon does not run helpers in user space"


def helper_warnings(helper: Helper | None) -> list[str]:
    """One line that says why no helper is set up, and what to do; none where the section asks for none."""
    if helper is None or not helper.types:
        return []
    reason = _NOT_RUN if _kernel_supports_helpers() else _NO_SUPPORT
    return [f"the section Helper has no effect: {reason}; {instead_of(kind.name for kind in helper.types)}"]


def instead_of(names: Iterable[str]) -> str:
    """What to use in place of user-space helpers of these names."""
    asked = set(names)
    own, others = sorted(asked & IN_KERNEL), sorted(asked - IN_KERNEL)
    advice = []
    if own:
        modules = " and ".join(f"nf_conntrack_{name}" for name in own)
        advice.append(
            f"use {modules}, assigned to flows by `ct helper' of nft or `-j CT --helper' of iptables"
        )
    if others:
        advice.append(f"for {', '.join(others)} the kernel has no helper of its own")
    return "; ".join(advice)


def _kernel_supports_helpers() -> bool:
    """Whether it may: who must not ask the kernel is not told that it does not."""
    try:
        with UserspaceHelpers() as helpers:
            list(helpers)
    except SubsystemMissingError:
        return False
    except OSError:
        return True
    return True
