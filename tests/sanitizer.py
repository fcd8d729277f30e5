# SPDX-License-Identifier: GPL-2.0-or-later
"""For pytest on a sanitized core (scripts/sanitized): at the end of each process, look for lost memory."""

from __future__ import annotations

import ctypes
import os

import pytest

import pyconntrack


def pytest_configure() -> None:
    if not pyconntrack.__file__.startswith(os.environ["PYTHONPATH"]):
        raise pytest.UsageError(f"{pyconntrack.__file__} is not the sanitized one")


def pytest_unconfigure() -> None:
    # What it finds stands in the report. Without the sanitizer there is no such function, which must fail.
    ctypes.CDLL(None)["__lsan_do_recoverable_leak_check"]()
