# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of what the kernel can do: options, modules, its table, its clock."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gzip
import os
import re
from collections.abc import Iterator

from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.finding import Finding, note, ok, problem, warning
from pyconntrack.cli.doctor.machine import Machine
from pyconntrack.kernel.errors import ConntrackError
from pyconntrack.kernel.table import ConntrackTable

_WANTED = ("NF_CONNTRACK", "NF_CT_NETLINK", "NF_CONNTRACK_EVENTS")
_WANTED_FOR_STATISTICS = ("NF_CONNTRACK_TIMESTAMP",)

# linux/timex.h
_TIME_ERROR = 5
_TIMEX_SIZE = 208

_H323 = ("ras", "q.931", "h.245", "h323")


def ctnetlink(case: Case) -> Iterator[Finding]:
    """Whether the table can be read by netlink at all."""
    try:
        with ConntrackTable() as table:
            entries = table.statistics().entries
    except ConntrackError as error:
        if error.errno == errno.EPERM:
            yield note("the kernel's table was not asked for: it takes CAP_NET_ADMIN", "run as root")
        else:
            yield problem(
                f"the kernel's connection tracking table cannot be read: {error.strerror}",
                "modprobe nf_conntrack_netlink, now and at boot (/etc/modules-load.d)",
            )
        return
    yield ok(f"the kernel's table can be read by netlink: {entries} flows")


def kernel_options(case: Case) -> Iterator[Finding]:
    """What the kernel was built with, where it tells."""
    options = options_of(case.machine)
    if options is None:
        yield note(
            "the kernel's build options are not told (no /proc/config.gz, no /boot/config of this release)",
            "if the daemon does not start, look for CONFIG_NF_CT_NETLINK and CONFIG_NF_CONNTRACK_EVENTS",
        )
        return
    statistics = case.loaded is not None and case.settings.stats is not None
    wanted = _WANTED + (_WANTED_FOR_STATISTICS if statistics else ())
    missing = [name for name in wanted if options.get(name, "n") == "n"]
    for name in missing:
        kind = warning if name in _WANTED_FOR_STATISTICS else problem
        yield kind(f"this kernel was built without CONFIG_{name}", "boot a kernel that has it")
    if not missing:
        yield ok(f"the kernel was built with {', '.join(f'CONFIG_{name}' for name in wanted)}")


def options_of(machine: Machine) -> dict[str, str] | None:
    """The kernel's options without CONFIG_, y or m or a value; None where it does not tell."""
    text: str | None = None
    with contextlib.suppress(OSError, EOFError), gzip.open(machine.path("/proc/config.gz"), "rt") as file:
        text = file.read()
    if text is None:
        text = machine.read(f"/boot/config-{os.uname().release}")
    return None if text is None else dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))


def helper_modules(case: Case) -> Iterator[Finding]:
    """The helpers whose expectations are replicated have to be here, too."""
    helpers = case.sync.expectation_sync
    if not helpers:
        return
    if helpers is True:
        yield note(
            "expectations of all helpers are replicated",
            "load the same nf_conntrack_NAME and nf_nat_NAME modules, with the same rules, on all nodes",
        )
        return
    options = options_of(case.machine) or {}
    for helper in sorted(helpers):
        name = "h323" if helper.lower() in _H323 else helper.lower().replace("-", "_")
        module = f"nf_conntrack_{name}"
        loaded = case.machine.path(f"/sys/module/{module}").is_dir()
        if loaded or options.get(module.upper()) == "y":
            yield ok(f"the helper {helper} of ExpectationSync is there ({module})")
        else:
            yield warning(
                f"the helper {helper} of ExpectationSync is not there: its expectations cannot be committed",
                f"modprobe {module} (and nf_nat_{name} where addresses are translated), now and at boot",
            )


def clock(case: Case) -> Iterator[Finding]:
    """adjtimex(2), asking only."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    if answer < 0:
        yield note("whether the clock is synchronized is not known", "compare the nodes' clocks")
    elif answer == _TIME_ERROR:
        yield note(
            "the clock is not synchronized: only time stamps, in logs and of flows, depend on it",
            "run chrony or the like on all nodes",
        )
    else:
        yield ok("the clock is synchronized")
