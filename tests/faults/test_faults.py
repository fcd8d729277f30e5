# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever happens to a daemon: afterwards it is alive, equal to its peer, and its log says what happened.

The faults mostly wait for something, so several are struck at a time, each on a pair of daemons of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeGuard

import pytest

from testbed import Configuration, PrivilegeError, Testbed, require_root
from testbed.configuration import Mode
from tests.faults import faults
from tests.faults.faulty import FaultySystem
from tests.faults.scene import Scene
from tests.peer.nodes import Field, Node, Transport

AT_A_TIME = 4


@dataclass
class Fault:
    """One row of the table."""

    strike: Callable[[Scene], None]
    mode: Mode = "FTFW"
    transport: Transport = "udp"
    configure: Callable[[Configuration], None] = lambda configuration: None
    prepare: Callable[[Node], None] = lambda node: None
    """What is done to the first node before it starts."""


def followed(configuration: Configuration) -> None:
    """Of a peer that was asked for its table, a difference is repaired from then on."""
    configuration.mode_lines = ["StartupResync yes"]


# The longest ones first.
TABLE = {
    "10 s of SIGSTOP": Fault(faults.stop_process),
    "full disk under the log": Fault(faults.fill_disk_under_log, prepare=faults.log_on_small_disk),
    "no buffers for sending, NOTRACK": Fault(faults.have_no_room_to_send, "NOTRACK", configure=followed),
    "clock set back, killed": Fault(faults.set_clock_back_and_kill),
    "10,000 control connections": Fault(faults.connect_ten_thousand_times),
    "netlink overrun": Fault(faults.overrun_netlink, configure=faults.with_small_buffers),
    "no buffers for sending": Fault(faults.have_no_room_to_send),
    "own firewall rule": Fault(faults.drop_by_own_ruleset),
    "vanished interface, UDP": Fault(faults.lose_interface),
    "vanished interface, TCP": Fault(faults.lose_interface, transport="tcp"),
    "vanished interface, multicast": Fault(faults.lose_interface, transport="multicast"),
    "rubbish": Fault(faults.send_rubbish),
    "rubbish, NOTRACK": Fault(faults.send_rubbish, "NOTRACK", configure=followed),
    "old sequence numbers": Fault(faults.send_old_numbers),
    "stranger": Fault(faults.send_as_stranger),
    "clock set back": Fault(faults.set_clock_back),
    "clock set back, NOTRACK": Fault(faults.set_clock_back, "NOTRACK", configure=followed),
}


def strike(fault: Fault) -> None:
    """Two daemons in step, the fault, and two daemons in step again."""
    with Testbed() as bed:
        field = Field(bed)
        pair = field.pair("ours", "ours", fault.mode, fault.transport, fault.configure)
        system = FaultySystem(pair.sender.namespace.directory)
        daemon = pair.sender.daemon
        daemon.command = ["env", *system.variables, *daemon.command]
        fault.prepare(pair.sender)
        with pair.running():
            scene = Scene(field, pair, system)
            scene.change()
            scene.wait_equal()
            fault.strike(scene)
            scene.change()
            scene.wait_equal()
            scene.check_alive()


@pytest.fixture(scope="module")
def struck(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """Each fault of the tests that run, under way."""
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    chosen = [str(item.callspec.params["name"]) for item in request.session.items if _is_of_table(item)]
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        yield {name: threads.submit(strike, TABLE[name]) for name in chosen}


def _is_of_table(item: pytest.Item) -> TypeGuard[pytest.Function]:
    return isinstance(item, pytest.Function) and item.function is test_after_the_fault_all_is_well_and_told


@pytest.mark.parametrize("name", TABLE)
def test_after_the_fault_all_is_well_and_told(name: str, struck: dict[str, Future[None]]) -> None:
    struck[name].result()
