# SPDX-License-Identifier: GPL-2.0-or-later
"""What a fail-over did to the traffic, judged from the reports of both ends."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.traffic import ConnectionReport, TrafficReport


@dataclass(frozen=True)
class Moments:
    """When it happened, in monotonic seconds."""

    failure: float
    """Just before firewall 1 loses its links."""
    takeover: float
    """Firewall 2 has the addresses and has run all its commands."""


@dataclass(frozen=True)
class Outcome:
    """The figures of one fail-over."""

    connections: int
    lived: int
    died: int
    """Connections on which no byte came through after the take-over, in either direction."""
    broken: list[str]
    """Connections that ended with an error, or lost or mixed up a byte."""
    bytes_checked: int
    short_before: int
    short_after: int
    short_interrupted: int
    longest_stall: float
    """Seconds; the longest gap in what any end of any connection received."""
    commit_seconds: float | None


def judge(
    client: TrafficReport, server: TrafficReport, moments: Moments, *, finished: bool, commit: float | None
) -> Outcome:
    """Compare both ends. With ``finished``, to live means also: every byte arrived, and both ends closed."""
    ends = {report.number: report for report in server.connections}
    lived, died, broken = 0, 0, []
    for near in client.connections:
        far = ends.get(near.number, ConnectionReport(near.number, 0, error="unknown to the server"))
        fault = near.error or far.error or (_loss(near, far) if finished else "")
        last = [near.last_received, far.last_received]
        if fault:
            broken.append(f"connection {near.number}: {fault}")
        elif min(last) > moments.takeover:
            lived += 1
        if max(last) <= moments.takeover or fault:
            died += 1
    short = client.short
    everything = client.connections + server.connections
    return Outcome(
        connections=len(client.connections),
        lived=lived,
        died=died,
        broken=broken,
        bytes_checked=sum(report.received for report in everything) + short.bytes_checked,
        short_before=sum(end <= moments.failure for _, end in short.completed),
        short_after=sum(start >= moments.takeover for start, _ in short.completed),
        short_interrupted=len(short.failed),
        longest_stall=max(report.longest_gap for report in everything),
        commit_seconds=commit,
    )


def _loss(near: ConnectionReport, far: ConnectionReport) -> str:
    if not (near.closed and far.closed):
        return "did not end in good order"
    if near.sent != far.received or far.sent != near.received:
        return f"sent {near.sent} and {far.sent} bytes, received {far.received} and {near.received}"
    return ""
