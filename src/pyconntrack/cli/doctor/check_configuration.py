# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the configuration file, of who runs already, and of the files that a daemon needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pyconntrack.cli.doctor.addresses import local_addresses
from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.finding import Finding, note, ok, problem, warning
from pyconntrack.config import Policy
from pyconntrack.daemon.availability import refusals, without_effect
from pyconntrack.daemon.privileges import Capability, files_of

_LITTLE_SPACE = 64 << 20


def configuration(case: Case) -> Iterator[Finding]:
    """Whether it can be used, and what its reader remarks, old clauses among it."""
    if case.loaded is None:
        for each in case.errors:
            yield problem(str(each), "mend the configuration; conntrackd.conf(5) has every clause")
        return
    for each in case.loaded.warnings:
        yield warning(str(each), "change the configuration as it says")
    for text in refusals(case.settings):
        yield problem(f"{case.config}: {text}", "add the section; the daemon does not start without")
    for text in without_effect(case.settings):
        yield warning(f"{case.config}: {text}", "take the section out, so that nobody relies on it")
    if not case.loaded.warnings:
        yield ok(f"the configuration {case.config} is sound")


def daemon(case: Case) -> Iterator[Finding]:
    """Whether one runs; whose the lock is."""
    if case.foreign:
        yield problem(
            f"the C conntrackd runs here, process {case.foreign[0]}: two daemons cannot share a link",
            "stop it before this one is started (conntrackd -k of its own command)",
        )
        return
    lock = case.settings.general.lock_file
    holder = _lock_holder(case, lock)
    if case.runs:
        yield ok(f"the daemon runs and answers at {case.settings.general.unix_path}")
    elif holder is not None:
        yield problem(
            f"a daemon holds the lock {lock} (process {holder}), but does not answer at"
            f" {case.settings.general.unix_path}: {case.refusal}",
            "look whether it was started with another configuration, or this user may use its socket; else"
            " restart it",
        )
    elif lock.exists():
        yield note(
            f"no daemon runs, and one that ended left its lock file {lock}",
            "nothing: it is taken over at the start; only the C daemon needs it removed",
        )
    else:
        yield note("no daemon runs, so the link could be looked at from this side only", "conntrackd -d")


def _lock_holder(case: Case, lock: Path) -> str | None:
    """Process id of who holds the lock. Read from the kernel's list: to try it could stop one that starts."""
    try:
        inode = lock.stat().st_ino
    except OSError:
        return None
    for line in (case.machine.read("/proc/locks") or "").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return fields[4]
    return None


def own_addresses(case: Case) -> Iterator[Finding]:
    """Flows of the firewall itself are of no use at another node."""
    accepted = case.settings.general.filter.address
    if accepted is not None and accepted.policy is Policy.ACCEPT:
        yield ok("only flows of the addresses that Filter names are replicated")
        return
    ignored = accepted.networks if accepted is not None else ()
    missing = [
        str(each.address)
        for each in local_addresses()
        if not each.address.is_link_local
        and not any(each.address in network for network in ignored if network.version == each.address.version)
    ]
    if not missing:
        yield ok("flows of this machine's own addresses are not replicated")
        return
    yield note(
        f"flows of this machine's own addresses are replicated, the sync traffic, ssh and the like:"
        f" {_shortened(missing)}",
        "name them, and the shared addresses, in Filter { Address Ignore { … } } on all nodes",
    )


def _shortened(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def capabilities(case: Case) -> Iterator[Finding]:
    """What the user of this command could do as a daemon."""
    missing = [
        f"CAP_{each.name}"
        for each in (Capability.NET_ADMIN, Capability.NET_RAW)
        if not case.machine.capable(each)
    ]
    if missing:
        yield note(
            f"this user lacks {' and '.join(missing)}, so not everything could be looked at",
            "run this command as root, as the daemon is started",
        )
    else:
        yield ok("this user has the capabilities that a daemon needs")


def files(case: Case) -> Iterator[Finding]:
    """Lock, log and control socket: their directories are there, can be written, and have room."""
    sound = True
    for file in files_of(case.settings):
        for finding in _file(file):
            sound = False
            yield finding
    if sound:
        yield ok("lock file, logs and control socket can be written")


def _file(file: Path) -> Iterator[Finding]:
    folder = file.parent
    if not folder.is_dir():
        yield problem(f"there is no directory {folder} for {file.name}", f"mkdir -p {folder}, at each boot")
        return
    if not os.access(folder, os.W_OK | os.X_OK) or (file.exists() and not os.access(file, os.W_OK)):
        what = f"{file} cannot be written by this user"
        if os.geteuid() == 0:
            yield problem(what, "change the owner or the mount, or the path in the configuration")
        else:
            yield note(what, "run this command as root to know whether the daemon could")
        return
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free < _LITTLE_SPACE and free * 20 < space.f_blocks * space.f_frsize:
        yield warning(
            f"the file system of {folder} has {free >> 20} MiB left", "make room, and rotate the logs"
        )
