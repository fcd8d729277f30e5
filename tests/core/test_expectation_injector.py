# SPDX-License-Identifier: GPL-2.0-or-later
"""Other nodes' expectations on their way straight into a kernel, a batch at a time."""

from __future__ import annotations

from pyconntrack import ConntrackTable, ExpectationTable
from pyconntrack.core.expectation_cache import ExternalExpectations
from pyconntrack.core.expectation_commit import ExpectationInjector
from pyconntrack.core.expectation_wire import encode
from pyconntrack.kernel.socket import ConntrackSocket
from testbed import Testbed
from tests.core.support_expectation_wire import DESTROY, NEW
from tests.peer.expectations import varied

# More than one batch takes.
MANY = 400


class Standby:
    """A kernel with the masters of expectations, and what another node tells of these."""

    def __init__(self) -> None:
        masters, self.told = varied(MANY)
        with ConntrackTable() as table:
            assert not table.create_batch(masters)
        self.expectations = ExternalExpectations()
        self.injector = ExpectationInjector(self.expectations)
        self.requests = ConntrackSocket(receive_buffer=self.injector.receive_buffer)

    def tell(self, kind: int) -> None:
        for index in range(len(self.told)):
            self.expectations.apply(kind, encode(self.told, index), 0, 0)

    def step(self) -> None:
        self.injector.step(self.requests.fileno(), 0)

    def finish(self) -> None:
        for _ in range(100):
            if not self.expectations.waiting and not len(self.expectations.ended):
                return
            self.step()
        raise AssertionError(f"{self.expectations.waiting} wait, {len(self.expectations.ended)} stay")

    @property
    def expected(self) -> int:
        """How many the kernel expects."""
        with ExpectationTable() as table:
            return table.count()


def test_a_step_is_one_batch_of_each(bed: Testbed) -> None:
    with bed.namespace("standby").entered():
        standby = Standby()
        standby.tell(NEW)
        standby.step()
        assert 0 < standby.expected < MANY
        standby.finish()
        assert standby.expected == MANY
        standby.tell(DESTROY)
        standby.step()
        assert 0 < standby.expected < MANY
        standby.finish()
        assert standby.expected == 0


def test_what_is_expected_anew_comes_behind_its_end(bed: Testbed) -> None:
    with bed.namespace("standby").entered():
        standby = Standby()
        standby.tell(NEW)
        standby.finish()
        standby.tell(DESTROY)
        standby.tell(NEW)
        standby.finish()
        assert standby.expected == MANY
        assert standby.injector.failures == {}
