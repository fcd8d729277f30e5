# SPDX-License-Identifier: GPL-2.0-or-later
"""One fail-over from end to end, with or without conntrackd."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from demo.outcome import Moments, Outcome, judge
from demo.show import Show
from testbed import Conntrackd, Testbed, WaitTimeoutError, wait_until
from testbed.firewalls import CLIENT, INSIDE_SHARED, OUTSIDE_SHARED, SERVER, FirewallPair
from testbed.traffic import TrafficClient, TrafficServer

SHORT_INTERVAL = 0.05
"""Seconds between two new short connections."""

DEATH_WATCH = 5.0
"""Seconds without a byte after which a connection counts as dead: TCP repeats itself four times in them."""

_TAKEOVER_COMMANDS = {
    "-c": "commit the external cache into the kernel",
    "-f": "flush the caches",
    "-R": "fill the internal cache from the kernel",
    "-B": "send it all to the peer, for the day it is back",
}
_ESTABLISHED = re.compile(rf"ESTABLISHED src={CLIENT} dst={SERVER} sport=(\d+) ")


class Failover:
    """A pair of firewalls under traffic, of which the first dies."""

    def __init__(self, bed: Testbed, show: Show, daemon: Sequence[str] | None, connections: int) -> None:
        """Build all of it. ``daemon`` is the command of conntrackd, None for none."""
        self.show = show
        self.pair = FirewallPair(bed)
        show.step("client, server, two switches and two firewalls are up in network namespaces")
        show.detail("strict rulesets: only established flows and SYNs from inside; nf_conntrack_tcp_loose=0")
        show.detail(f"firewall 1 has the shared addresses {INSIDE_SHARED} and {OUTSIDE_SHARED}")
        self.daemons: list[Conntrackd] = []
        if daemon is not None:
            self._start_daemons(daemon)
        self.server = TrafficServer(self.pair.server, SERVER, connections=connections)
        self.client = TrafficClient(
            self.pair.client, self.server, connections=connections, short_interval=SHORT_INTERVAL
        )
        show.step(f"{connections} TCP connections are open; short ones come and go beside them")

    def _start_daemons(self, command: Sequence[str]) -> None:
        firewalls = (self.pair.first, self.pair.second)
        self.daemons = [Conntrackd(each.namespace, command, each.configuration()) for each in firewalls]
        for daemon in self.daemons:
            daemon.start()
        self.show.step("conntrackd runs on both, FTFW over UDP on the dedicated link")

    def run(self, seconds: float) -> Outcome:
        """Traffic, failure, take-over, traffic again. ``seconds`` is the time of traffic before and after."""
        self._carry_traffic(seconds)
        self._wait_for_replication()
        self._show_flows()
        failure = time.monotonic()
        self._fail_first()
        commit = self._take_over()
        moments = Moments(failure, time.monotonic())
        self.show.step("firewall 2 is in charge")
        if self.daemons:
            return self._prove_alive(moments, seconds, commit)
        return self._prove_dead(moments)

    def _carry_traffic(self, seconds: float) -> None:
        def both_ways() -> bool:
            reports = (self.client.report(), self.server.report())
            return all(each.received for report in reports for each in report.connections)

        wait_until(both_ways, 10.0, "data on every connection, both ways")
        time.sleep(seconds)
        report = self.client.report()
        received = sum(connection.received for connection in report.connections)
        self.show.step(f"the client has received and checked {received:,} bytes so far")

    def _wait_for_replication(self) -> None:
        if not self.daemons:
            return
        ports = {str(connection.local_port) for connection in self.client.report().connections}
        backup = self.daemons[1]

        def all_there() -> bool:
            return ports <= set(_ESTABLISHED.findall(backup.client("-e").stdout))

        wait_until(all_there, 10.0, "all connections in firewall 2's external cache", backup.log)
        self.show.step(f"all {len(ports)} are in firewall 2's external cache, ESTABLISHED")

    def _show_flows(self) -> None:
        counts = [firewall.flow_count() for firewall in (self.pair.first, self.pair.second)]
        self.show.detail(f"flows in the kernel: firewall 1 has {counts[0]}, firewall 2 has {counts[1]}")

    def _fail_first(self) -> None:
        first = self.pair.first
        first.lose_links()
        if self.daemons:
            self.daemons[0].kill()
        killed = ", its conntrackd is killed" if self.daemons else ""
        self.show.step(f"FIREWALL 1 DIES: its links are down{killed}")

    def _take_over(self) -> float | None:
        """Firewall 2 does what keepalived and primary-backup.sh do; returns the seconds of the commit."""
        self.pair.second.take_addresses()
        self.show.step("firewall 2 has taken the shared addresses and told so by gratuitous ARP")
        spent: dict[str, float] = {}
        for option, meaning in _TAKEOVER_COMMANDS.items() if self.daemons else ():
            with _timed(option, spent):
                self.daemons[1].client(option)
            self.show.step(f"conntrackd {option}: {meaning} ({spent[option] * 1000:.0f} ms)")
        for line in self._commit_log():
            self.show.detail(f"its log: {line}")
        return spent.get("-c")

    def _commit_log(self) -> list[str]:
        """What firewall 2's daemon logged about the commit, without time and process id."""
        lines = self.daemons[1].log_file.read_text().splitlines() if self.daemons else []
        return [line.rpartition("] ")[2].strip() for line in lines if "commit" in line.lower()]

    def _prove_alive(self, moments: Moments, seconds: float, commit: float | None) -> Outcome:
        def flowing() -> bool:
            reports = (self.client.report(), self.server.report())
            return all(
                each.last_received > moments.takeover for report in reports for each in report.connections
            )

        try:
            wait_until(flowing, 2 * DEATH_WATCH, "data on every connection again")
            self.show.step("data flows on every connection again, both ways")
        except WaitTimeoutError:
            self.show.step("some connections are still silent")
        time.sleep(seconds)
        client, server = self.client.finish(), self.server.finish()
        outcome = judge(client, server, moments, finished=True, commit=commit)
        if outcome.lived == outcome.connections:
            self.show.step("all were closed in good order; every byte sent at one end arrived at the other")
        return outcome

    def _prove_dead(self, moments: Moments) -> Outcome:
        time.sleep(DEATH_WATCH)
        client, server = self.client.report(), self.server.report()
        outcome = judge(client, server, moments, finished=False, commit=None)
        self.show.step(f"{DEATH_WATCH:.0f} s later: {outcome.died} of {outcome.connections} are silent")
        self.show.detail(f"meanwhile {outcome.short_after} new connections went through firewall 2")
        return outcome


@contextmanager
def _timed(key: str, spent: dict[str, float]) -> Iterator[None]:
    start = time.monotonic()
    yield
    spent[key] = time.monotonic() - start
