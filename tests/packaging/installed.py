# SPDX-License-Identifier: GPL-2.0-or-later
"""What installed commands have to do, wherever they are installed."""

from __future__ import annotations

from pathlib import PurePath

from pyconntrack.version import VERSION
from testbed import Configuration, Conntrackd, Namespace, Testbed, UnicastLink, veth, wait_until
from testbed.command import run_command
from tests.packaging.chroot import Chroot

_FLOW = ["-s", "10.0.1.10", "-d", "192.0.2.10", "-p", "tcp", "--sport", "40000", "--dport", "443"]
_LISTED = "src=10.0.1.10 dst=192.0.2.10 sport=40000 dport=443"


class InstalledNode:
    """A namespace in which the commands of a chroot run."""

    def __init__(self, namespace: Namespace, chroot: Chroot, commands: PurePath, link: UnicastLink) -> None:
        self._namespace = namespace
        self._chroot = chroot
        self._commands = commands
        daemon = chroot.command(str(commands / "conntrackd"))
        self.daemon = Conntrackd(namespace, daemon, Configuration([link]))

    def conntrack(self, *args: str) -> str:
        """Run conntrack(8) inside, and return its output. Raises CommandFailedError."""
        return self._namespace.run(self._chroot.command(str(self._commands / "conntrack"), *args)).stdout


def check_versions(chroot: Chroot, commands: PurePath) -> None:
    """All three commands are there, and ours."""
    for name, option in (("conntrack", "-V"), ("conntrackd", "-v"), ("nfct", "--version")):
        shown = run_command(chroot.command(str(commands / name), option))
        told = shown.stdout + shown.stderr
        assert f"v{VERSION}" in told
        assert "pyconntrack" in told


def check_fail_over(bed: Testbed, chroot: Chroot, commands: PurePath) -> None:
    """A flow comes from one node's kernel into the other's, by both daemons and a commit."""
    first, second = bed.namespace("first"), bed.namespace("second")
    veth(first, "sync", second, "sync", first_addresses=["172.31.0.1/24"], second_addresses=["172.31.0.2/24"])
    left = InstalledNode(first, chroot, commands, UnicastLink("sync", "172.31.0.1", "172.31.0.2"))
    right = InstalledNode(second, chroot, commands, UnicastLink("sync", "172.31.0.2", "172.31.0.1"))
    left.daemon.start(60.0)
    right.daemon.start(60.0)
    left.conntrack("-I", *_FLOW, "--state", "ESTABLISHED", "-u", "SEEN_REPLY,ASSURED", "-t", "600")
    wait_until(
        lambda: _LISTED in right.daemon.client("-e").stdout, 60.0, "the flow in the other's external cache"
    )
    assert _LISTED not in right.conntrack("-L", "-p", "tcp")
    right.daemon.client("-c")
    assert _LISTED in right.conntrack("-L", "-p", "tcp")
    assert left.daemon.terminate() == 0
    assert right.daemon.terminate() == 0
