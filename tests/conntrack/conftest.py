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
    """Compares all cases that this session asks about."""
    callspecs = [getattr(item, "callspec", None) for item in request.session.items]
    values = [callspec.params.get("case") for callspec in callspecs if callspec is not None]
    made = Pool(conntrack_bed, [value for value in values if isinstance(value, Case)])
    yield made
    made.close()
