# SPDX-License-Identifier: GPL-2.0-or-later
"""The scene of a module's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import PrivilegeError, Testbed, require_root
from tests.doctor.scene import Scene


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Two namespaces and their link; skips, with the reason, where they cannot be made."""
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as bed:
        yield Scene(bed)
