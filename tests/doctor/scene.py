# SPDX-License-Identifier: GPL-2.0-or-later
"""Two namespaces with a dedicated link, the first of them sound in the doctor's eyes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pyconntrack.cli.doctor.case import Case
from pyconntrack.cli.doctor.examination import CHECKS, examine
from pyconntrack.cli.doctor.finding import Finding, Severity
from pyconntrack.cli.doctor.machine import Machine
from testbed import Configuration, Interface, Namespace, Testbed, UnicastLink, veth

LINK = UnicastLink("link", own="10.9.0.1", peer="10.9.0.2")
SYSCTLS = {
    "net.netfilter.nf_conntrack_events": 1,
    "net.netfilter.nf_conntrack_tcp_loose": 0,
    "net.netfilter.nf_conntrack_tcp_be_liberal": 0,
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
}
NO_TRACKING = """
    table inet sync {
        chain arriving { type filter hook prerouting priority raw; udp dport 3780 notrack; }
        chain leaving { type filter hook output priority raw; udp dport 3780 notrack; }
    }
"""


class Scene:
    """What the tests of a module share; each fault is made good again."""

    def __init__(self, bed: Testbed) -> None:
        self.bed = bed
        self.one, self.two = bed.namespace("one"), bed.namespace("two")
        self.link, self.far = veth(
            *(self.one, "link", self.two, "link"),
            first_addresses=["10.9.0.1/24", "fd09::1/64"],
            second_addresses=["10.9.0.2/24", "fd09::2/64"],
        )
        self.inside, _ = veth(self.one, "inside", self.two, "inside", first_addresses=["10.8.0.1/24"])
        self.one.nft(NO_TRACKING)
        for name, value in SYSCTLS.items():
            self.one.sysctl(name, value, required=False)

    @property
    def configuration(self) -> Configuration:
        """A sound one."""
        return Configuration([LINK], ignore_addresses=["127.0.0.1", "::1", "10.9.0.1", "fd09::1", "10.8.0.1"])

    def write(self, configuration: Configuration | str) -> Path:
        """Write a configuration of the first node."""
        file = self.one.directory / "one.conf"
        if isinstance(configuration, Configuration):
            configuration = configuration.text(self.one.directory, "one")
        file.write_text(configuration)
        return file

    def examine(
        self,
        *subjects: str,
        configuration: Configuration | str | None = None,
        machine: Machine | None = None,
    ) -> list[Finding]:
        """The findings about these subjects, or all, in the first namespace."""
        file = self.write(self.configuration if configuration is None else configuration)
        checks = [check for check in CHECKS if not subjects or check.subject in subjects]
        assert len(checks) == (len(subjects) or len(CHECKS))
        with self.one.entered():
            return examine(Case.of_file(str(file), machine or Machine()), checks)

    def with_link(self, **changes: object) -> Configuration:
        """The sound configuration with another link."""
        return replace(self.configuration, links=[replace(LINK, **changes)])  # type: ignore[arg-type]

    @contextmanager
    def sysctl(self, name: str, value: int) -> Iterator[None]:
        """Set one in the first namespace, for a while."""
        before = self.one.read_sysctl(name)
        self.one.sysctl(name, value)
        try:
            yield
        finally:
            self.one.sysctl(name, before)

    @contextmanager
    def rules(self, text: str, *, program: str = "nft", at: Namespace | None = None) -> Iterator[None]:
        """A further ruleset, for a while: nft's, or that of an iptables-restore."""
        namespace = at or self.one
        try:
            command = ["nft", "-f", "-"] if program == "nft" else [f"{program}-restore"]
            namespace.run(command, input=text)
            yield
        finally:
            namespace.run(["nft", "flush", "ruleset"])
            if namespace is self.one:
                namespace.nft(NO_TRACKING)


@contextmanager
def set_down(interface: Interface) -> Iterator[None]:
    """An interface that is down, for a while."""
    interface.down()
    try:
        yield
    finally:
        interface.up()


def bad(findings: list[Finding]) -> list[Finding]:
    """Warnings and problems."""
    return [finding for finding in findings if finding.severity >= Severity.WARNING]
