# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold when all is quiet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.core.support_flows import FlowTuple
from tests.core.support_wire import cache_of, flow_body, read_table, records
from tests.replication.node import Node, Settings

# Acknowledgements are acknowledged in turn, so a few wait at any time.
CONTROLS_WAITING = 6


class DivergenceError(AssertionError):
    """Two things that must be equal are not."""

    def __init__(self, seed: int, mode: str, digests: bool, settings: Settings, problems: list[str]) -> None:
        command = f"python -m tests.replication.simulate --seed {seed} --mode {mode}"
        if not digests:
            command += " --no-digests"
        super().__init__("\n".join([f"{command} --verbose", str(settings), *problems]))


def converged(nodes: Mapping[str, Node]) -> bool:
    left, right = nodes["left"], nodes["right"]
    if left.busy or right.busy:
        return False
    if len(left.internal) != len(right.external) or len(right.internal) != len(left.external):
        return False
    if len(left.internal) != len(left.kernel.flows) or len(right.internal) != len(right.kernel.flows):
        return False
    return _equal(left, right) and _equal(right, left)


def _equal(sender: Node, receiver: Node) -> bool:
    return records(read_table(sender.internal.table)) == records(read_table(receiver.external.table))


def expected_bodies(node: Node, problems: list[str]) -> list[bytes]:
    """What the internal cache should hold, by the kernel's state and what was told of it."""
    batch = read_table(node.internal.table)
    entries: dict[tuple[FlowTuple, int], dict[str, Any]] = {}
    for index in range(len(batch)):
        entry = batch.unpack(index)
        _, protocol, source, destination, source_port, destination_port, icmp_id, kind, code = entry[
            "original"
        ]
        flow_tuple = FlowTuple(
            source, destination, protocol, (source_port, destination_port), (kind, code, icmp_id)
        )
        entries[flow_tuple, entry.get("zone", 0)] = entry
    bodies = []
    for key, flow in node.kernel.flows.items():
        held: dict[str, Any] = entries.pop(key, {})
        timeout = held.get("timeout")
        if node.settings.timeouts and timeout not in flow.told_timeouts:
            problems.append(f"{node.name}: timeout {timeout} of {key}, told were {flow.told_timeouts}")
        # An event leaves a mark of zero out, a dump does not: both are right.
        bodies.append(flow_body(flow, timeout, "mark" in held, node.settings.window_scale))
    problems += [f"{node.name}: the kernel has no flow {key}" for key in entries]
    return bodies


def check_node(node: Node) -> list[str]:
    """The internal cache against the kernel, and its books."""
    problems: list[str] = []
    internal, queue = node.internal, node.internal.queue
    if node.busy:
        problems.append(f"{node.name}: events wait or a dump is under way")
    copy = cache_of(expected_bodies(node, problems))
    if not copy.settle(0, len(internal), internal.digest):
        problems.append(
            f"{node.name}: {len(internal)} entries with another digest than the {len(copy)} of the kernel"
        )
    problems += difference(
        f"{node.name}: internal cache", read_records(copy.table), read_records(internal.table)
    )
    if queue.waiting:
        problems.append(f"{node.name}: {queue.waiting} messages in the sending queue")
    if queue.unacknowledged > CONTROLS_WAITING:
        problems.append(f"{node.name}: {queue.unacknowledged} messages without an acknowledgement")
    if len(internal.table) > len(internal) + CONTROLS_WAITING:
        problems.append(f"{node.name}: {len(internal.table)} entries in the table of {len(internal)} flows")
    for name, counters, count in (
        ("internal", internal.counters, len(internal)),
        ("external", node.external.counters, len(node.external)),
    ):
        if counters.created - counters.destroyed != count:
            problems.append(f"{node.name}: {name}: {counters.created} - {counters.destroyed} is not {count}")
    return problems


def check_pair(sender: Node, receiver: Node) -> list[str]:
    """The external cache of the one against the internal cache of the other."""
    what = f"{receiver.name}: external cache"
    problems = difference(what, read_records(sender.internal.table), read_records(receiver.external.table))
    peer = receiver.session.peers.get(sender.name)
    if peer is None:
        return [*problems, f"{what}: {sender.name} was never heard"]
    internal = sender.internal
    if not receiver.external.settle(peer.owner, len(internal), internal.digest):
        problems.append(f"{what}: its books are wrong")
    return problems


def read_records(table: Any) -> dict[bytes, str]:
    batch = read_table(table)
    view = memoryview(batch)
    data, size = bytes(view), view.itemsize
    return {data[i * size : (i + 1) * size]: str(batch.unpack(i)) for i in range(len(batch))}


def difference(what: str, expected: dict[bytes, str], found: dict[bytes, str]) -> list[str]:
    lines = [f"{what}: lacks {text}" for record, text in expected.items() if record not in found]
    lines += [f"{what}: has   {text}" for record, text in found.items() if record not in expected]
    return lines
