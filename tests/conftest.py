# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures `bed` and `field`, and the right to make network namespaces, for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from testbed import PrivilegeError, Testbed, require_root

if TYPE_CHECKING:
    from tests.peer.nodes import Field

pytest_plugins = ["testbed.pytest_plugin"]

# A property is not false because the machine is busy.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """Two namespaces and their link, for the pairs of a module; skips, with the reason, where it must."""
    from tests.peer.nodes import Field

    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as bed:
        yield Field(bed)
