# SPDX-License-Identifier: GPL-2.0-or-later
"""A fresh network namespace for each test, and its table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyconntrack import ConntrackTable
from testbed import Testbed
from testbed.namespace import Namespace


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("kernel")


@pytest.fixture
def table(namespace: Namespace) -> Iterator[ConntrackTable]:
    with ConntrackTable(namespace.name) as made:
        yield made
