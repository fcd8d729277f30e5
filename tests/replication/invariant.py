# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold when all is quiet."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from itertools import permutations
from typing import Any

from tests.core.support_flows import FlowTuple
from tests.core.support_wire import cache_of, flow_body, read_table
from tests.replication.node import Node, Settings

# Acknowledgements are acknowledged in turn, so a few wait at any time, for each other node.
CONTROLS_WAITING = 18


class DivergenceError(AssertionError):
    """Two things that must be equal are not."""

    def __init__(self, run: str, settings: Settings, problems: list[str]) -> None:
        super().__init__(
            "\n".join([f"python -m tests.replication.simulate {run} --verbose", str(settings), *problems])
        )


def pairs(nodes: Mapping[str, Node]) -> list[tuple[Node, Node]]:
    """Each node as a sender, with each other one."""
    return list(permutations(nodes.values(), 2))


def converged(nodes: Mapping[str, Node]) -> bool:
    for node in nodes.values():
        if node.busy or len(node.internal) != len(node.kernel.flows):
            return False
        if node.external.sweeps or _claims(node) != sum(
            len(other.internal) for other in nodes.values() if other is not node
        ):
            return False
    return all(_followed(sender, receiver) for sender, receiver in pairs(nodes))


def _claims(node: Node) -> int:
    return len(node.external) + node.external.claims


def _followed(sender: Node, receiver: Node) -> bool:
    """Whether the receiver has of the sender what the sender has."""
    peer = receiver.session.peers.get(sender.address)
    if peer is None:
        return len(sender.internal) == 0
    external, internal = receiver.external, sender.internal
    return (external.count_of(peer.owner), external.digest_of(peer.owner)) == (
        len(internal),
        internal.digest,
    )


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
    """What the one says of the other."""
    what = f"{receiver.name}: external cache, of {sender.name}"
    if _followed(sender, receiver):
        return []
    peer = receiver.session.peers.get(sender.address)
    if peer is None:
        return [f"{what}: it was never heard"]
    external = receiver.external
    return [
        f"{what}: {external.count_of(peer.owner)} claims of {len(sender.internal)}, or its books are wrong"
    ]


def check_entries(receiver: Node, senders: list[Node]) -> list[str]:
    """The entries that are shown: of each flow one, as one of its nodes has it."""
    what = f"{receiver.name}: external cache"
    said: dict[str, dict[bytes, str]] = {}
    for sender in senders:
        for record, text in read_records(sender.internal.table).items():
            said.setdefault(name_of(text), {})[record] = text
    shown = read_records(receiver.external.table)
    expected: dict[bytes, str] = {}
    names = {name_of(text): record for record, text in shown.items()}
    for name, records in said.items():
        record = names.get(name, b"")
        if record not in records:
            record = next(iter(records))
        expected[record] = records[record]
    problems = difference(what, expected, shown)
    if _claims(receiver) != sum(len(sender.internal) for sender in senders):
        problems.append(f"{what}: {receiver.external.claims} claims beside {len(receiver.external)} entries")
    return problems


def name_of(text: str) -> str:
    """The original tuple and zone of a flow, of its description."""
    values = ast.literal_eval(text)
    return f"{values['original']} {values.get('zone', 0)}"


def read_records(table: Any) -> dict[bytes, str]:
    batch = read_table(table)
    view = memoryview(batch)
    data, size = bytes(view), view.itemsize
    return {data[i * size : (i + 1) * size]: str(batch.unpack(i)) for i in range(len(batch))}


def difference(what: str, expected: dict[bytes, str], found: dict[bytes, str]) -> list[str]:
    lines = [f"{what}: lacks {text}" for record, text in expected.items() if record not in found]
    lines += [f"{what}: has   {text}" for record, text in found.items() if record not in expected]
    return lines
