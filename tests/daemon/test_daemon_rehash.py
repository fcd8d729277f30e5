# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's hash table grows or shrinks while it is read: what was read then is not the table."""

from __future__ import annotations

import asyncio

import pytest

from pyconntrack.config import General, load
from pyconntrack.core.internal import InternalCache
from pyconntrack.daemon import follower
from pyconntrack.daemon.log import Log
from pyconntrack.kernel import dump
from tests.peer.flows import plain_tcp_flows
from tests.peer.nodes import Field, Node

FEW = 500


@pytest.fixture
def node(field: Field) -> Node:
    made = field.pair("ours", "ours", "FTFW", "udp").sender
    made.flush_kernel()
    made.create(plain_tcp_flows(FEW))
    return made


def test_table_is_read_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = [1024, 2048, 2048, 2048]
    monkeypatch.setattr(dump, "hash_buckets", lambda: buckets.pop(0))
    with node.table() as table:
        assert len(table.dump_batch()) == FEW
    assert not buckets


def test_cache_keeps_what_such_a_dump_did_not_name(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    general = load(str(node.daemon.configuration_file)).settings.general
    assert asyncio.run(entries_after_rehash(node, general, monkeypatch)) == (2 * FEW, FEW)


async def entries_after_rehash(
    node: Node, general: General, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """With flows that the dumps do not name: entries after a dump under a rehash, and after a sound one."""
    cache = InternalCache()
    cache.begin_resync()
    cache.merge_batch(plain_tcp_flows(FEW, first=10 * FEW), 0)
    cache.end_resync()
    counts = []
    with node.namespace.entered():
        following = follower.KernelFollower(cache, general, Log(console=False), lambda: None)
        try:
            for buckets in ([1024, 2048], [2048, 2048]):
                monkeypatch.setattr(follower, "hash_buckets", lambda known=buckets: known.pop(0))
                await following.resync()
                counts.append(len(cache))
        finally:
            following.stop()
    return counts[0], counts[1]
