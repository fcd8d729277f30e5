# SPDX-License-Identifier: GPL-2.0-or-later
"""A fail-over under live traffic: for how long the connections stand still, against the size of the table.

Half of the table is older than the connections, half is younger, so that no order of a commit is of use by
chance. The firewall dies, the other one gets the shared addresses, and contrib/primary-backup.sh does the
rest.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bench.kernel_limits import load_table, room_for
from bench.results import OURS, THEIRS, Figures
from bench.run import Run, short
from testbed import Configuration, Conntrackd, Testbed, wait_until
from testbed.firewalls import SERVER, Firewall, FirewallPair
from testbed.traffic import ConnectionReport, TrafficClient, TrafficReport, TrafficServer

SIZES = (1_000, 300_000, 1_000_000)
_CONNECTIONS = 50
_PATIENCE = 120.0
_SCRIPT = Path(__file__).parents[1] / "contrib" / "primary-backup.sh"
_PROGRAMS = {OURS: Path(sys.executable).with_name("conntrackd"), THEIRS: Path("/usr/sbin/conntrackd")}
_DIRECTLY = ["DisableExternalCache on"]
_EXTERNAL = re.compile(r"cache external:\ncurrent active connections:\s*(\d+)")


def measure_fail_over(run: Run) -> None:
    """At the sizes that no more than the largest table has."""
    for size in (size for size in SIZES if size <= max(run.sizes)):
        for kind in run.turns(f"fail-over, table of {short(size)}", 1 if size > 1_000 else None):
            for figure, lines in (("stall", []), ("stall direct", _DIRECTLY)):
                with run.attempt(f"{figure} at {short(size)}, {kind}"), room_for(2 * size + 32_768):
                    run.results.add(kind, fail_over(kind, size, figure, lines), size)


def fail_over(kind: str, size: int, figure: str, mode_lines: list[str]) -> Figures:
    """The longest stall of any connection, in seconds."""
    with Testbed() as bed:
        pair = FirewallPair(bed)
        daemons = [_daemon(kind, firewall, size, mode_lines) for firewall in (pair.first, pair.second)]
        load_table(pair.first.namespace, size // 2, 1)
        server = TrafficServer(pair.server, SERVER, connections=_CONNECTIONS)
        client = TrafficClient(pair.client, server, connections=_CONNECTIONS)
        load_table(pair.first.namespace, size - size // 2, 2)
        _wait_replicated(pair, daemons[1], size + _CONNECTIONS, directly=bool(mode_lines))
        for end in (client, server):
            end.forget_gaps()
        pair.first.lose_links()
        daemons[0].kill()
        pair.second.take_addresses()
        _run_script(pair.second, daemons[1])
        _wait_flowing(client, server, daemons[1])
        return {figure: max(_gaps(client.finish(), server.finish()))}


def _daemon(kind: str, firewall: Firewall, size: int, mode_lines: list[str]) -> Conntrackd:
    configuration = Configuration(
        [firewall.unicast_link()],
        mode_lines=mode_lines,
        accept_protocols=["TCP"],
        hash_size=1 << max(0, size - 1).bit_length(),
        hash_limit=4 * size,
        netlink_buffer_size=32 * 2**20,
        netlink_buffer_growth=256 * 2**20,
    )
    daemon = Conntrackd(firewall.namespace, [str(_PROGRAMS[kind])], configuration)
    daemon.start()
    return daemon


def _wait_replicated(pair: FirewallPair, backup: Conntrackd, flows: int, *, directly: bool) -> None:
    """Until the second firewall's daemon, or with direct injection its kernel, has all flows."""

    def replicated() -> bool:
        if directly:
            return pair.second.flow_count() >= flows
        told = _EXTERNAL.search(backup.client("-s").stdout)
        return told is not None and int(told[1]) == flows

    wait_until(replicated, _PATIENCE, f"{flows} flows at the backup", backup.log)


def _run_script(firewall: Firewall, daemon: Conntrackd) -> None:
    settings = {
        "CONNTRACKD_BIN": daemon.command[0],
        "CONNTRACKD_CONFIG": str(daemon.configuration_file),
        "CONNTRACKD_LOCK": str(daemon.lock),
        "CONNTRACKD_SCRIPTS_CONF": "/nonexistent",
        "FAILOVER_LOCK": str(firewall.namespace.directory / "failover.lock"),
        "LOGGER": "echo",
    }
    words = [f"{name}={value}" for name, value in settings.items()]
    firewall.namespace.run(["env", *words, str(_SCRIPT), "primary"], timeout=_PATIENCE)


def _wait_flowing(client: TrafficClient, server: TrafficServer, daemon: Conntrackd) -> None:
    """Until each end of each connection has received more than when the script was through."""
    before = [each.received for each in _ends(client.report(), server.report())]

    def flowing() -> bool:
        now = [each.received for each in _ends(client.report(), server.report())]
        return all(late > early for late, early in zip(now, before, strict=True))

    wait_until(flowing, _PATIENCE, "data on every connection", daemon.log)


def _ends(*reports: TrafficReport) -> list[ConnectionReport]:
    return [connection for report in reports for connection in report.connections]


def _gaps(*reports: TrafficReport) -> list[float]:
    """Raises OSError where a connection is lost, or has lost a byte."""
    ends = _ends(*reports)
    for end in ends:
        if end.error or not end.closed:
            raise OSError(f"connection {end.number}: {end.error or 'did not end in good order'}")
    return [end.longest_gap for end in ends]
