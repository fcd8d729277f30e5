# SPDX-License-Identifier: GPL-2.0-or-later
"""Three firewalls behind routing that spreads connections as it likes, and changes its mind."""

from __future__ import annotations

import pytest

from testbed import Testbed
from tests.contrib.routers import COUNT, Routers

CONNECTIONS = 48
ALL = range(COUNT)


def ways(there: set[int], back: set[int]) -> list[list[bool]]:
    """Which firewall carries packets, to the server and to the client."""
    return [[index in there, index in back] for index in ALL]


@pytest.mark.alone
def test_connections_go_by_whichever_node_routing_takes(
    bed: Testbed, capsys: pytest.CaptureFixture[str]
) -> None:
    routers = Routers(bed, CONNECTIONS)
    routers.wait_everywhere()
    assert routers.carrying("spread over all") == ways({0, 1, 2}, {0, 1, 2})
    for there, back in (((0,), (0,)), ((1, 2), (1, 2)), ((2,), (0, 1)), ((0, 1), (2,)), ((1,), (0,))):
        routers.route(there, back)
        routers.wait_flowing("on the new ways")
        assert routers.carrying(f"there by {there}, back by {back}") == ways(set(there), set(back))
    # One dies with packets of all connections on their way through it, and comes back with nothing.
    routers.route(ALL)
    routers.wait_flowing("spread over all again")
    routers.routers[0].dies()
    routers.route((1, 2))
    routers.wait_flowing("on two nodes")
    assert routers.carrying("on two nodes") == ways({1, 2}, {1, 2})
    for router in routers.routers[1:]:
        router.takes_over()
    routers.routers[0].returns()
    routers.wait_everywhere()
    routers.route((0,))
    routers.wait_flowing("on the one that has returned")
    assert routers.carrying("on the one that has returned") == ways({0}, {0})
    routers.route(ALL)
    routers.wait_flowing("on all at the end")
    ends = routers.finish()
    assert all(each.closed and not each.error for report in ends for each in report.connections)
    routers.wait_nowhere()
    with capsys.disabled():
        stall = max(each.longest_gap for report in ends for each in report.connections)
        print(
            f"\n{CONNECTIONS} of {CONNECTIONS} live, {routers.reroutes} reroutes, longest stall {stall:.2f} s"
        )
