# SPDX-License-Identifier: GPL-2.0-or-later
"""The tools, and a pool in which the cases of the session are compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import PrivilegeError, Testbed, require_root
from tests.conntrack.cases import Case
from tests.conntrack.pool import Pool


@pytest.fixture(scope="package")
def conntrack_bed() -> Iterator[Testbed]:
    """A test bed for all tests of this directory; skips, with the reason, where it must."""
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as made:
        yield made


@pytest.fixture(scope="package")
def pool(conntrack_bed: Testbed, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Compares all cases that this session asks about, ahead of the tests.

    Among several workers of pytest-xdist none knows which of them it will be given: each compares when asked.
    """
    made = Pool(conntrack_bed, [] if hasattr(request.config, "workerinput") else _cases(request.session))
    yield made
    made.close()


def _cases(session: pytest.Session) -> list[Case]:
    callspecs = [getattr(item, "callspec", None) for item in session.items]
    values = [callspec.params.get("case") for callspec in callspecs if callspec is not None]
    return [value for value in values if isinstance(value, Case)]
