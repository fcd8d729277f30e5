# SPDX-License-Identifier: GPL-2.0-or-later
"""One pair of namespaces for the tests of a module, fresh daemons for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import PrivilegeError, Testbed, require_root
from tests.peer.nodes import Field


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """Namespaces and link; skips, with the reason, where they cannot be made."""
    try:
        require_root()
    except PrivilegeError as error:
        pytest.skip(str(error))
    with Testbed() as bed:
        yield Field(bed)
