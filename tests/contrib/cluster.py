# SPDX-License-Identifier: GPL-2.0-or-later
"""Two firewalls among which keepalived moves the shared addresses, and what can befall the first."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from testbed import Conntrackd, Testbed, run_command, wait_until
from testbed.firewalls import CLIENT, INSIDE_SHARED, OUTSIDE_SHARED, SERVER, Firewall, FirewallPair
from tests.contrib.firewalls import scripts_of, without_input_chain
from tests.contrib.keepalived import Keepalived
from tests.contrib.scripts import OWN_DAEMON, Scripts

PURGE_SECONDS = 1
COMMIT_SECONDS = 5
"""The kernel forgets what was committed and has no packet in this time: it has ended between the nodes."""
LONG = 30.0
_FLOW = re.compile(rf"ESTABLISHED src={CLIENT} dst={SERVER} sport=(\d+) dport=(\d+)")


@dataclass
class Member:
    """One of the two."""

    firewall: Firewall
    daemon: Conntrackd
    scripts: Scripts
    keepalived: Keepalived

    def start(self) -> None:
        """keepalived, which starts all else by its scripts."""
        before = len(self.keepalived.noted())
        self.keepalived.start()
        wait_until(lambda: len(self.keepalived.noted()) > before, LONG, "its first role", self.log)

    def power_off(self) -> None:
        # Stopped first, so that no one sees another one's end.
        self.signal_all(signal.SIGSTOP)
        self.signal_all(signal.SIGKILL)
        self.firewall.lose_links()
        self.keepalived.process.wait(10.0)

    def boot(self) -> None:
        """After a power-off: nothing is left of what was before, and keepalived starts."""
        self.keepalived.clear_run()
        self.firewall.namespace.run(["conntrack", "-F"])
        self.firewall.namespace.run(["nft", "delete table inet conntrackd_guard"], check=False)
        for interface in (self.firewall.inside, self.firewall.outside, self.firewall.dedicated):
            interface.up()
        self.start()

    def signal_all(self, number: signal.Signals) -> None:
        """To everything that runs on it: keepalived, conntrackd, scripts."""
        listed = run_command(["ip", "netns", "pids", self.firewall.namespace.name]).stdout
        for pid in listed.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def flows(self) -> set[tuple[str, str]]:
        """Ports of the established flows in the kernel."""
        listed = self.firewall.namespace.run(["conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED"])
        return set(_FLOW.findall(listed.stdout))

    def wait_forgotten(self) -> None:
        """Wait until neither kernel nor external cache has a flow that is established."""

        def left() -> str:
            return self.firewall.namespace.run(["conntrack", "-L"]).stdout + self.log()

        wait_until(lambda: not self.flows() and not self.external(), LONG, "no flow that has ended", left)

    def external(self) -> set[tuple[str, str]]:
        """The same of the external cache; empty while there is no daemon."""
        return set(_FLOW.findall(self.daemon.client("-e", check=False).stdout))

    def has_addresses(self) -> bool:
        shown = self.firewall.namespace.ip("-4", "-o", "address")
        return f"{INSIDE_SHARED}/" in shown and f"{OUTSIDE_SHARED}/" in shown

    def became(self, role: str) -> int:
        """How often keepalived has told it this role."""
        return self.keepalived.noted().count(f"primary-backup.sh {role}")

    def log(self) -> str:
        daemon = self.daemon.log_file.read_text() if self.daemon.log_file.exists() else ""
        return "\n".join(
            [self.keepalived.log(), *self.keepalived.noted(), *self.scripts.said(), daemon[-4000:]]
        )


class Cluster:
    """Firewall 1 has the higher priority."""

    def __init__(self, bed: Testbed) -> None:
        self.pair = FirewallPair(bed)
        self.first, self.second = (
            self._member(self.pair.first, "priority 150"),
            self._member(self.pair.second, "priority 100"),
        )
        self.pair.first.inside.remove_address(f"{INSIDE_SHARED}/24")
        self.pair.first.outside.remove_address(f"{OUTSIDE_SHARED}/24")
        self.second.start()
        self.first.start()
        self.wait_primary(self.first)

    def _member(self, firewall: Firewall, priority: str) -> Member:
        without_input_chain(firewall)
        configuration = firewall.configuration()
        configuration.mode_lines += [f"PurgeTimeout {PURGE_SECONDS}", f"CommitTimeout {COMMIT_SECONDS}"]
        daemon = Conntrackd(firewall.namespace, [str(OWN_DAEMON)], configuration)
        scripts = scripts_of(firewall, daemon)
        names = {"eth0": "inside", "eth1": "outside", "priority 150": priority}
        return Member(firewall, daemon, scripts, Keepalived(scripts, "two-nodes.conf", names))

    def other(self, member: Member) -> Member:
        return self.second if member is self.first else self.first

    def first_returns(self, undo: Callable[[], None]) -> None:
        """Undo what befell it, and wait until it is primary again, and alone."""
        before = self.first.became("primary")
        undo()
        wait_until(lambda: self.first.became("primary") > before, LONG, "its return", self.first.log)
        wait_until(lambda: not self.second.has_addresses(), LONG, "one primary", self.second.log)

    def wait_primary(self, member: Member) -> None:
        wait_until(member.has_addresses, LONG, "the shared addresses", member.log)

    def wait_replicated(self, source: Member, ports: set[str]) -> None:
        """Wait until the other node has these connections, by the client's port, from ``source``."""
        backup = self.other(source)
        wait_until(
            lambda: ports <= {port for port, _ in backup.external()},
            LONG,
            "all connections at the backup",
            backup.log,
        )

    # -- what befalls firewall 1; each returns what undoes it

    def first_dies(self) -> Callable[[], None]:
        """Power off."""
        self.first.power_off()

        def boots() -> None:
            for interface, address in (
                (self.first.firewall.inside, INSIDE_SHARED),
                (self.first.firewall.outside, OUTSIDE_SHARED),
            ):
                # The rest of keepalived, told of its parent's death, may have removed it.
                delete = ["ip", "address", "del", f"{address}/24", "dev", interface.name]
                self.first.firewall.namespace.run(delete, check=False)
            self.first.boot()

        return boots

    def first_freezes(self) -> Callable[[], None]:
        """Its programs stop; its kernel goes on, with the addresses."""
        self.first.signal_all(signal.SIGSTOP)
        return lambda: self.first.signal_all(signal.SIGCONT)

    def first_loses_a_cable(self) -> Callable[[], None]:
        """Inside alone: both addresses move."""
        self.first.firewall.inside.down()
        return self.first.firewall.inside.up
