# SPDX-License-Identifier: GPL-2.0-or-later
"""A fresh network namespace for each test."""

from __future__ import annotations

import pytest

from testbed import Namespace, Testbed


@pytest.fixture
def namespace(bed: Testbed) -> Namespace:
    return bed.namespace("nfct")
