# SPDX-License-Identifier: GPL-2.0-or-later
"""One of a node's dedicated links, open or not, and what the log says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyconntrack.channel.channel import LinkChannel, LinkStatus, Traffic
from pyconntrack.channel.link_choice import Change, Reason
from pyconntrack.channel.link_monitor import LinkMonitor
from pyconntrack.config import Link


@dataclass(slots=True)
class Member:
    """A link, and its channel once it could be opened."""

    link: Link
    channel: LinkChannel | None = None
    traffic: Traffic = field(default_factory=Traffic)
    complaint: str = ""
    """Why it could not be opened; told once."""
    runs: bool = False

    def can_run(self, monitor: LinkMonitor) -> bool:
        """Whether it is open, and its interface can carry something."""
        return self.channel is not None and monitor.status(self.link.interface) is LinkStatus.RUNNING

    def what_is_wrong(self, monitor: LinkMonitor) -> str:
        """Why it cannot run, as the end of a sentence."""
        name = self.link.interface
        if not monitor.index(name):
            return "is not there"
        if self.channel is None:
            return "could not be opened"
        return "has no carrier" if monitor.status(name) is LinkStatus.NO_CARRIER else "is down"


def none_available(members: Sequence[Member], monitor: LinkMonitor) -> str:
    """The line for the log while no link can run."""
    all_of_them = [f"`{member.link.interface}' {member.what_is_wrong(monitor)}" for member in members]
    return f"no dedicated links available! {', '.join(all_of_them)}"


def took_over(old: Member, new: Member, monitor: LinkMonitor) -> str:
    """The line for the log when one link stands in for another that cannot run."""
    return (
        f"device `{new.link.interface}' becomes dedicated link in place of `{old.link.interface}', "
        f"which {old.what_is_wrong(monitor)}"
    )


def news_of(change: Change, members: Sequence[Member], monitor: LinkMonitor) -> tuple[str, bool]:
    """The line for the log on a change of the link in use, and whether it is trouble."""
    old, new = members[change.before].link.interface, members[change.after].link.interface
    match change.reason:
        case Reason.NONE_RUNS:
            return none_available(members, monitor), True
        case Reason.STOPPED:
            return took_over(members[change.before], members[change.after], monitor), False
        case Reason.FOLLOWED:
            why = "messages come by it"
        case Reason.RUNS_AGAIN if old == new:
            return f"device `{new}' is up again, and the dedicated link", False
        case Reason.RUNS_AGAIN:
            why = "it is up again"
    return f"device `{new}' becomes dedicated link in place of `{old}': {why}", False
