# SPDX-License-Identifier: GPL-2.0-or-later
"""`PollSecs`: no events are followed, the kernel's table is read every so many seconds."""

from __future__ import annotations

import random
import re

from testbed import Configuration
from tests.peer.flows import batch_of, changed, name_of, varied_flows
from tests.peer.nodes import Field

FLOWS = 300


def poll(configuration: Configuration) -> None:
    configuration.general_lines = ["PollSecs 1"]


def test_what_begins_changes_and_ends_between_two_polls_is_replicated(field: Field) -> None:
    with field.pair("ours", "ours", "FTFW", "udp", poll).running() as pair:
        pair.sender.create(varied_flows(FLOWS))
        pair.wait_equal()
        dice = random.Random(1)
        with pair.sender.table() as table:
            flows = table.dump_batch()
            assert not table.update_batch(batch_of(changed(flows, index, dice) for index in range(FLOWS)))
            assert not table.delete_batch(batch_of(name_of(flows, index) for index in range(0, FLOWS, 3)))
        pair.wait_equal()
        runtime = pair.sender.daemon.client("-s", "runtime").stdout
        assert "running in polling mode" in pair.sender.daemon.log()
    counted = {name: int(number) for name, number in re.findall(r"\t(.*?):\s+(\d+)", runtime)}
    assert counted["events received"] == 0
    assert counted["resync with kernel table"] >= 3
