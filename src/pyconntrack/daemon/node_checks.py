# SPDX-License-Identifier: GPL-2.0-or-later
"""What the log of a node tells of that only counts up elsewhere: see `watch`."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyconntrack.config import Mode, Transport
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.daemon.control import CONNECTION_LIMIT, ControlServer
from pyconntrack.daemon.measure import names_of_nodes
from pyconntrack.daemon.reporter import Reporter
from pyconntrack.daemon.watch import SILENCE, Check, Clocks, Fullness, Recurring
from pyconntrack.replication.session import Session

if TYPE_CHECKING:
    from pyconntrack.daemon.node import Node
    from pyconntrack.daemon.statistics_mode import StatisticsNode

# Of messages that come twice or late, as some do on any network, and where a node starts.
_WORTH_A_WORD = 20
_SEND_HINTS = {
    errno.EPERM: ", as where a firewall rule drops it",
    errno.ECONNREFUSED: ": does conntrackd run at the peer?",
    errno.ENETUNREACH: ": there is no route to the peer",
    errno.EHOSTUNREACH: ": the peer does not answer on the link",
    errno.ENETDOWN: ": the link is down",
    errno.ENOBUFS: ": the interface's queue is full",
    errno.EMSGSIZE: ": the link's MTU has become smaller",
}


def checks_of_node(node: Node) -> list[Check]:
    """For a node that replicates with others."""
    sync = node.settings.sync
    assert sync is not None
    over_tcp = sync.links[0].transport is Transport.TCP
    return [
        Clocks(),
        _crowd(node.control),
        # What a TCP link does not send is for want of a connection, and it tells that itself.
        *([] if over_tcp else [_sending(node)]),
        _strangers(node),
        _malformed(node),
        _old_numbers(node),
        # In mode ALARM a node with nothing to tell says nothing.
        *([] if sync.mode is Mode.ALARM else [Silences(node.session)]),
        *_fullness(node),
        *([node.injection.check()] if node.injection is not None else []),
    ]


def checks_of_statistics(node: StatisticsNode) -> list[Check]:
    """For the statistics mode."""
    checks: list[Check] = [Clocks(), _crowd(node.control)]
    if node.limit is not None:
        checks.append(
            _cache(
                *("the cache", node.limit, node.internal),
                lost="-i does not show further flows",
                then="reading the kernel's table again",
                restore=node.follower.resync_soon,
            )
        )
    return checks


class Silences:
    """Nodes that fall silent, and that are heard again; of each at most once a minute."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._silent: set[int] = set()
        self._told: dict[int, float] = {}

    def look(self, now: float, reporter: Reporter) -> None:
        names = names_of_nodes(self._session)
        for owner in self._told.keys() - names.keys():
            del self._told[owner]
        self._silent &= names.keys()
        for peer in self._session.nodes:
            if peer.silent == (peer.owner in self._silent):
                continue
            if not peer.silent:
                self._silent.discard(peer.owner)
                reporter.notice(f"node {names[peer.owner]} is heard again")
            elif now >= self._told.get(peer.owner, 0.0):
                self._told[peer.owner] = now + SILENCE
                self._silent.add(peer.owner)
                flows = _several(self._session.external.count_of(peer.owner), "flow")
                reporter.warning(
                    f"node {names[peer.owner]} has fallen silent: {flows} of it in the external cache"
                )


def _crowd(control: ControlServer) -> Check:
    return Recurring(
        lambda: control.crowded_out,
        lambda count: (
            f"{_several(count, 'connection')} to the control socket cut: "
            f"{CONNECTION_LIMIT} at a time is the limit"
        ),
    )


def _sending(node: Node) -> Check:
    def describe(count: int) -> str:
        channel = node.replicator.channel
        number = channel.traffic.last_send_error
        reason = f": {os.strerror(number)}{_SEND_HINTS.get(number, '')}" if number else ""
        return f"{channel.name}: {_several(count, 'datagram')} not sent{reason}"

    return Recurring(
        lambda: node.replicator.channel.traffic.send_errors,
        describe,
        lambda: node.replicator.channel.traffic.last_send_error,
    )


def _strangers(node: Node) -> Check:
    def describe(count: int) -> str:
        channel = node.replicator.channel
        return (
            f"{channel.name}: {_several(count, 'datagram')} of others than the peers dropped, "
            f"the last from {channel.traffic.last_stranger}"
        )

    return Recurring(lambda: node.replicator.channel.traffic.strangers, describe)


def _malformed(node: Node) -> Check:
    session = node.session
    return Recurring(
        lambda: session.malformed,
        lambda count: (
            f"{_several(count, 'malformed message')} passed over, the last from {session.last_malformed}; "
            "`conntrackd -s network' tells what is wrong with them"
        ),
    )


def _old_numbers(node: Node) -> Check:
    session = node.session
    return Recurring(
        lambda: session.messages_before,
        lambda count: (
            f"{_several(count, 'message')} under earlier sequence numbers than expected, the last from "
            f"{session.last_before}: repeated or late, or another one sends under its address"
        ),
        least=_WORTH_A_WORD,
    )


def _fullness(node: Node) -> list[Check]:
    limit = node.settings.general.hash_limit
    if limit is None:
        return []

    def ask_again() -> None:
        node.session.request_resync(asyncio.get_running_loop().time())
        node.replicator.flush()

    return [
        _cache(
            *("the internal cache", limit, node.internal),
            lost="further flows are not replicated",
            then="reading the kernel's table again",
            restore=node.follower.resync_soon,
        ),
        _cache(
            *("the external cache", limit, node.external),
            lost="further flows of other nodes would be lost in a fail-over",
            then="asking the other nodes for their tables",
            restore=ask_again,
        ),
    ]


def _cache(
    name: str,
    limit: int,
    cache: InternalCache | ExternalCache,
    *,
    lost: str,
    then: str,
    restore: Callable[[], None],
) -> Check:
    return Fullness(
        limit,
        lambda: len(cache),
        lambda: cache.counters.create_failed,
        full=f"{name} is full: HashLimit allows {limit} entries, and {lost}; raise HashLimit above "
        "net.netfilter.nf_conntrack_max",
        roomy=lambda count: f"{name} has room again, after {_several(count, 'refusal')}: {then}",
        restore=restore,
    )


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
