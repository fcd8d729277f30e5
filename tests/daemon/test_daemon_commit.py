# SPDX-License-Identifier: GPL-2.0-or-later
"""A commit in odd circumstances: flows that exist, masters, and what the kernel refuses, with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed import wait_until
from tests.peer.flows import ASSURED, Values, batch_of, name_of, plain_tcp_flows, varied_flows
from tests.peer.nodes import Field, Node, Pair

FEW = 1_000


@pytest.fixture
def pair(field: Field) -> Iterator[Pair]:
    with field.pair("ours", "ours", "FTFW", "udp").running() as running:
        running.receiver.daemon.log_file.write_text("")
        yield running


def tcp(last: int, port: int, **more: Any) -> Values:
    """A flow 10.0.0.LAST > 172.16.0.2:PORT."""
    original = (2, 6, bytes([10, 0, 0, last]), bytes([172, 16, 0, 2]), 2000, port, 0, 0, 0)
    return {"original": original, "status": ASSURED, "timeout": 3000, "tcp_state": 3, **more}


def texts(node: Node) -> list[str]:
    return [line.split(") ", 1)[1] for line in node.daemon.log_file.read_text().splitlines()]


def test_commit_twice_and_over_flows_that_differ(pair: Pair) -> None:
    pair.sender.create(varied_flows(FEW))
    pair.wait_equal()
    pair.check_commit()
    pair.check_commit()
    with pair.receiver.table() as table:
        flows = table.dump_batch()
        assert not table.update_batch(
            batch_of({**name_of(flows, i), "timeout": 50, "mark": 0xD1FF} for i in range(0, FEW, 2))
        )
    pair.check_commit()
    assert sum(f"Committed {FEW} new entries" in text for text in texts(pair.receiver)) == 3
    assert not [text for text in texts(pair.receiver) if "ERROR" in text]


def test_masters_are_there_before_the_flows_that_they_expect(pair: Pair) -> None:
    """Each master stands behind its flows in the cache, so that only an order of the commit's own helps."""
    control = [tcp(number, 21, helper_name="ftp") for number in range(1, 101)]
    data = [tcp(number, 20, master=flow["original"]) for number, flow in enumerate(control, 1)]
    pair.sender.create(batch_of(control))
    pair.sender.create(batch_of(data))
    pair.wait_equal()
    with pair.sender.table() as table:
        # The same masters again, later: their entries are now younger than those of their flows.
        assert not table.delete_batch(batch_of({"original": flow["original"]} for flow in control))
    pair.sender.create(batch_of(control))
    pair.wait_equal()
    for _ in range(2):
        pair.commit()
        assert texts(pair.receiver)[-2] == f"[notice] Committed {2 * len(control)} new entries"
        masters = {bytes(record["master"]["source"][:4]) for record in pair.receiver.kernel()}
        assert len(masters - {bytes(4)}) == len(control)


def test_what_the_kernel_refuses_is_told_by_reason_and_the_rest_committed(pair: Pair) -> None:
    pair.sender.create(plain_tcp_flows(FEW))
    orphans = [tcp(number, 22, helper_name="ftp") for number in range(201, 204)]
    pair.sender.create(batch_of(orphans))
    pair.sender.create(batch_of(tcp(number, 23, master=orphans[0]["original"]) for number in range(201, 206)))
    # At the receiver, another flow has what their sources are translated to.
    translated = {"source_nat_address": bytes([192, 0, 2, 9]), "source_nat_port": 3000}
    pair.sender.create(batch_of(tcp(number, 30 + number, **translated) for number in range(1, 3)))
    other = [
        (2, 6, bytes([192, 0, 2, 9]), bytes([172, 16, 0, 2]), 3000, 30 + number, 0, 0, 0) for number in (1, 2)
    ]
    pair.receiver.create(batch_of({**tcp(0, 0), "original": original} for original in other))
    pair.wait_equal()
    with pair.sender.table() as table:
        assert not table.delete_batch(batch_of({"original": flow["original"]} for flow in orphans))
    pair.wait_equal()
    pair.commit()
    assert texts(pair.receiver)[:-1] == [
        "[notice] committing all external caches",
        f"[notice] Committed {FEW} new entries",
        "[notice] 7 entries can't be committed",
        "[ERROR] commit: 5 times ENOENT, the master, or the helper, is not in the kernel",
        "[ERROR] commit: 2 times EEXIST, another flow has the same reply tuple",
    ]
    wait_until(
        lambda: pair.receiver.active("internal") == FEW + 2, 10.0, "the events of the commit", pair.logs
    )
