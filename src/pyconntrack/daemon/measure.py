# SPDX-License-Identifier: GPL-2.0-or-later
"""Gathers a node's numbers for `conntrackd -s`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pyconntrack.channel.channel import LinkState
from pyconntrack.config import Mode, Transport
from pyconntrack.core.bypass import Bypass
from pyconntrack.core.counters import Counters
from pyconntrack.core.external import ExternalCache
from pyconntrack.core.internal import InternalCache
from pyconntrack.daemon.control import ControlServer
from pyconntrack.daemon.expectations import Expectations
from pyconntrack.daemon.follower import KernelFollower
from pyconntrack.daemon.kernel_commands import KernelCommands
from pyconntrack.daemon.statistics import (
    BypassStatistics,
    CacheStatistics,
    InjectStatistics,
    LinkStatistics,
    NetworkStatistics,
    NodeStatistics,
    QueuedMessage,
    QueueStatistics,
    RuntimeStatistics,
    Statistics,
)
from pyconntrack.replication.session import Session

if TYPE_CHECKING:
    from pyconntrack.daemon.node import Node

_UNLIMITED = 0x7FFFFFFF
# Of a long resend queue, the oldest are shown.
_RESEND_QUEUE_SHOWN = 10_000
_TRANSPORTS = {Transport.MULTICAST: "multicast", Transport.UDP: "UDP", Transport.TCP: "TCP"}


def measure(node: Node, uptime: int, now: float) -> Statistics:
    """All of a node's numbers at this moment; `uptime` in seconds, `now` by the clock of its session."""
    queue = node.internal.queue
    acknowledged = node.sync.mode is Mode.FTFW
    unacknowledged = queue.unacknowledged if acknowledged else 0
    queues = [
        QueueStatistics("txqueue", queue.waiting, _UNLIMITED),
        QueueStatistics("errorq", 0, node.links.link.error_queue_length),
    ]
    if acknowledged:
        queues.append(QueueStatistics("rsqueue", unacknowledged, queue.resend_limit, queue.forgotten))
    return Statistics(
        runtime=measure_runtime(node, uptime),
        internal=_internal(node),
        external=_external(node),
        expect_internal=_internal_expectations(node.expectations),
        expect_external=_external_expectations(node.expectations),
        traffic_bytes=node.internal.traffic_bytes,
        traffic_packets=node.internal.traffic_packets,
        network=_network(node),
        links=[_link(state) for state in node.links.links],
        nodes=_nodes(node.session, now),
        queue_nodes=queue.waiting + unacknowledged,
        queues=queues,
        resend_queue=[
            QueuedMessage(sequence, flags if flags else None)
            for sequence, flags in queue.list_resend(_RESEND_QUEUE_SHOWN)
        ]
        if acknowledged
        else None,
    )


def names_of_nodes(session: Session) -> dict[int, str]:
    """Where the other nodes send from, by number in the external cache: of several addresses the last."""
    return {peer.owner: str(name) for name, peer in session.peers.items()}


def _nodes(session: Session, now: float) -> list[NodeStatistics]:
    names = names_of_nodes(session)
    return [
        NodeStatistics(
            name=names[peer.owner],
            node_id=peer.node,
            silent=peer.silent,
            unheard=int(now - peer.last_heard),
            flows=session.external.count_of(peer.owner),
            taken_over=session.external.beneath_of(peer.owner),
            received=peer.received,
            lost=peer.lost,
            before=peer.before,
        )
        for peer in session.nodes
    ]


def _internal(node: Node) -> CacheStatistics | BypassStatistics:
    if not isinstance(node.internal, Bypass):
        return measure_cache("internal", node.internal)
    return BypassStatistics(node.internal.begun, node.internal.changed, node.internal.ended_flows)


def _external(node: Node) -> CacheStatistics | InjectStatistics:
    if node.injection is None:
        return measure_cache("external", node.external)
    counters = node.injection.cache.counters
    return InjectStatistics(
        created=counters.created,
        create_failed=counters.create_failed,
        updated=counters.updated,
        update_failed=counters.update_failed,
        destroyed=counters.destroyed,
        destroy_failed=counters.destroy_failed,
    )


def measure_cache(name: str, cache: InternalCache | ExternalCache) -> CacheStatistics:
    """Under the name that the C daemon gives the cache."""
    return _measured(name, len(cache), len(cache.table), cache.counters)


def _internal_expectations(expectations: Expectations | None) -> CacheStatistics | None:
    if expectations is None:
        return None
    cache = expectations.internal
    return _measured("internal", len(cache), cache.table.expectations, cache.counters)


def _external_expectations(expectations: Expectations | None) -> CacheStatistics | None:
    if expectations is None:
        return None
    cache = expectations.external
    return _measured("external", len(cache), len(cache), cache.counters)


def _measured(name: str, active: int, total: int, counters: Counters) -> CacheStatistics:
    return CacheStatistics(
        name,
        active=active,
        total=total,
        created=counters.created,
        updated=counters.updated,
        destroyed=counters.destroyed,
        no_memory=counters.update_failed,
        no_space=counters.create_failed,
        destroy_not_found=counters.destroy_failed,
    )


def _network(node: Node) -> NetworkStatistics:
    session, errors = node.session, node.session.errors
    payload = node.external.malformed
    if node.expectations is not None:
        payload += node.expectations.external.malformed
    malformed = (
        errors.wrong_version
        + errors.malformed_header
        + errors.bad_type
        + errors.truncated
        + errors.bad_size
        + payload
    )
    return NetworkStatistics(
        malformed=malformed,
        wrong_version=errors.wrong_version,
        malformed_header=errors.malformed_header,
        malformed_payload=payload,
        bad_type=errors.bad_type,
        truncated=errors.truncated,
        bad_size=errors.bad_size,
        lost=session.messages_lost,
        before=session.messages_before,
    )


def _link(state: LinkState) -> LinkStatistics:
    traffic = state.traffic
    return LinkStatistics(
        _TRANSPORTS[state.link.transport],
        state.link.interface,
        status=state.status.value,
        active=state.active,
        bytes_sent=traffic.bytes_sent,
        bytes_received=traffic.bytes_received,
        packets_sent=traffic.packets_sent,
        packets_received=traffic.packets_received,
        send_errors=traffic.send_errors,
        receive_errors=traffic.receive_errors + traffic.strangers,
        server_connected=traffic.server_connected,
        client_connected=traffic.client_connected,
    )


class FollowsKernel(Protocol):
    """A daemon of any mode: what follows the kernel, and what answers clients."""

    @property
    def internal(self) -> InternalCache: ...

    @property
    def follower(self) -> KernelFollower: ...

    @property
    def kernel(self) -> KernelCommands: ...

    @property
    def control(self) -> ControlServer: ...


def measure_runtime(node: FollowsKernel, uptime: int) -> RuntimeStatistics:
    """`uptime` in seconds."""
    follower = node.follower
    return RuntimeStatistics(
        uptime=uptime,
        events_received=follower.events_received,
        events_filtered=node.internal.filtered,
        events_unknown=node.internal.malformed,
        catch_failed=follower.failures,
        overruns=follower.overruns,
        flushes=node.kernel.flushes,
        resyncs=follower.resyncs,
        buffer_size=follower.receive_buffer,
        local_read_failed=node.control.failed_reads,
        local_unknown_request=node.control.unknown_requests,
    )
