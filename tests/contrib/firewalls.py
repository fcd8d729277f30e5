# SPDX-License-Identifier: GPL-2.0-or-later
"""Two firewalls with real daemons, the scripts of contrib/ on both, and connections that are to live."""

from __future__ import annotations

import time

from demo.outcome import Moments, Outcome, judge
from testbed import Conntrackd, Testbed, wait_until
from testbed.firewalls import SERVER, Firewall, FirewallPair
from testbed.traffic import TrafficClient, TrafficReport, TrafficServer
from tests.contrib.scripts import OWN_DAEMON, Scripts

CONNECTIONS = 50
SCRIPT = "primary-backup.sh"
DEATH_WATCH = 10.0
"""Seconds until a connection without a byte counts as dead."""


def scripts_of(firewall: Firewall, daemon: Conntrackd) -> Scripts:
    """The scripts, set up for a daemon."""
    return Scripts(firewall.namespace, OWN_DAEMON, daemon.configuration_file, daemon.lock)


def without_input_chain(firewall: Firewall) -> None:
    """Let the firewall answer whatever is for itself."""
    firewall.namespace.nft("delete chain inet firewall input")


class Traffic:
    """Connections through a pair, both ends."""

    def __init__(
        self,
        pair: FirewallPair,
        *,
        short_interval: float = 0.0,
        server: str = SERVER,
        connections: int = CONNECTIONS,
    ) -> None:
        """Open them, and then a short one every ``short_interval`` seconds; 0 for none."""
        self.server = TrafficServer(pair.server, server, connections=connections)
        self.client = TrafficClient(
            pair.client, self.server, connections=connections, short_interval=short_interval
        )

    def reports(self) -> tuple[TrafficReport, TrafficReport]:
        return self.client.report(), self.server.report()

    def flows_since(self, moment: float) -> bool:
        """Whether every connection that is not broken has carried data both ways since."""
        ends = [each for report in self.reports() for each in report.connections]
        return all(each.error or each.last_received > moment for each in ends)

    def wait_flowing(self, what: str, deadline: float = DEATH_WATCH) -> float:
        """Wait until data flows on all of them, from now on. Returns the seconds that it took."""
        now = time.monotonic()
        wait_until(lambda: self.flows_since(now), deadline, f"data on every connection: {what}")
        return time.monotonic() - now

    def outcome(self, moments: Moments) -> Outcome:
        """End all connections in good order, and judge both ends."""
        client = self.client.finish()
        return judge(client, self.server.finish(), moments, finished=True, commit=None)


class Pair:
    """Firewall 1 is primary; both have a daemon, and firewall 2 has been told that it is backup."""

    def __init__(self, bed: Testbed, **settings: str) -> None:
        self.bed = FirewallPair(bed)
        self.firewalls = (self.bed.first, self.bed.second)
        for firewall in self.firewalls:
            without_input_chain(firewall)
        self.daemons = [
            Conntrackd(each.namespace, [str(OWN_DAEMON)], each.configuration()) for each in self.firewalls
        ]
        self.scripts = [
            scripts_of(firewall, daemon)
            for firewall, daemon in zip(self.firewalls, self.daemons, strict=True)
        ]
        for scripts in self.scripts:
            scripts.settings.update(settings)

    def start(self) -> None:
        for daemon in self.daemons:
            daemon.start()
        self.tell(0, "primary")
        self.tell(1, "backup")

    def tell(self, index: int, role: str) -> None:
        """Tell a node its role, as keepalived does."""
        done = self.scripts[index].run(SCRIPT, role)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def wait_replicated(self, count: int, deadline: float = 60.0) -> None:
        """Wait until firewall 2 has at least as many flows in its external cache."""

        def enough() -> bool:
            cached = self.daemons[1].client("-s", "cache").stdout.partition("cache:external")[2]
            return int(cached.split("active objects:", 1)[1].split()[0]) >= count

        wait_until(enough, deadline, f"{count} flows at firewall 2", self.daemons[1].log)

    def first_dies(self) -> float:
        """All cables of firewall 1 and its daemon at once. Returns the moment before."""
        moment = time.monotonic()
        self.firewalls[0].lose_links()
        self.daemons[0].kill()
        return moment
