# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of all checks, and the examination that makes them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pyconntrack.cli.doctor import (
    check_configuration,
    check_kernel,
    check_links,
    check_peer,
    check_ruleset,
    check_sysctls,
)
from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.finding import Finding, Severity, note
from pyconntrack.cli.doctor.machine import Machine


class Needs(enum.Enum):
    """What a check cannot do without."""

    NOTHING = enum.auto()
    SETTINGS = enum.auto()
    """A sound configuration."""
    SYNC = enum.auto()
    """A sound configuration with other nodes."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check, with the subject that it is about."""

    subject: str
    function: Callable[[Case], Iterable[Finding]]
    needs: Needs = Needs.SYNC


CHECKS = (
    Check("configuration", check_configuration.configuration, Needs.NOTHING),
    Check("daemon", check_configuration.daemon, Needs.SETTINGS),
    Check("capabilities", check_configuration.capabilities, Needs.NOTHING),
    Check("files", check_configuration.files, Needs.SETTINGS),
    Check("kernel's table", check_kernel.ctnetlink, Needs.NOTHING),
    Check("kernel's options", check_kernel.kernel_options, Needs.NOTHING),
    Check("helpers", check_kernel.helper_modules),
    Check("events", check_sysctls.events, Needs.SETTINGS),
    Check("accounting", check_sysctls.accounting, Needs.SETTINGS),
    Check("size of the table", check_sysctls.table_size, Needs.SETTINGS),
    Check("buckets", check_sysctls.buckets, Needs.NOTHING),
    Check("tcp_loose", check_sysctls.tcp_loose),
    Check("TCP windows", check_sysctls.tcp_windows),
    Check("forwarding", check_sysctls.forwarding),
    Check("reverse paths", check_sysctls.reverse_path),
    Check("event buffer", check_sysctls.netlink_buffer, Needs.SETTINGS),
    Check("link buffers", check_sysctls.socket_buffers),
    Check("CommitTimeout", check_sysctls.commit_timeout),
    Check("interfaces", check_links.interfaces),
    Check("addresses", check_links.addresses),
    Check("MTU", check_links.mtu),
    Check("routes", check_links.route),
    Check("group", check_links.membership),
    Check("default route", check_links.shared_with_default_route),
    Check("redundancy", check_links.redundancy),
    Check("rules", check_ruleset.sync_traffic),
    Check("own addresses", check_configuration.own_addresses),
    Check("other nodes", check_peer.nodes),
    Check("peers", check_peer.peers),
    Check("TCP link", check_peer.links_in_use),
    Check("what was counted", check_peer.traffic, Needs.SETTINGS),
    Check("clock", check_kernel.clock, Needs.NOTHING),
)


def examine(case: Case, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """All findings, the worst first, and else in the order of the table."""
    found = [finding for check in checks for finding in _make(check, case)]
    return sorted(found, key=lambda finding: -finding.severity)


def _make(check: Check, case: Case) -> Iterator[Finding]:
    if case.loaded is None and check.needs is not Needs.NOTHING:
        return
    if check.needs is Needs.SYNC and case.settings.sync is None:
        return
    try:
        yield from check.function(case)
    except OSError as error:
        yield note(f"{check.subject}: could not be looked at: {error.strerror or error}", "try it as root")


def doctor(config: str) -> int:
    """The command: print a line for each finding. Returns 1 where there are problems, else 0."""
    findings = examine(Case.of_file(config, Machine()))
    for finding in findings:
        print(finding)
    return int(any(finding.severity is Severity.PROBLEM for finding in findings))
